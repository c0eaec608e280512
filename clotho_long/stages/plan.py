"""Decides what every clip of a corpus holds: by drawing, from a manifest, or from a published recipe."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from pydantic.dataclasses import dataclass

from clotho_long.core.annotations import dump_queries, write_queries
from clotho_long.core.errors import ManifestError
from clotho_long.core.files import fingerprint
from clotho_long.core.jsonl import dump_records, write_records
from clotho_long.core.records import SPLITS, Moment, Query
from clotho_long.core.settings import to_plain
from clotho_long.corpus import Corpus
from clotho_long.recipe.records import ClipRecipe, Event
from clotho_long.recipe.sample import Candidate, sample_clip
from clotho_long.recipe.spec import MixtureSpec
from clotho_long.sources.records import Background, Foreground

QID_DIGITS = 5
# Raised when the same sources and settings give another plan: pipelines then plan anew.
PLAN_VERSION = 1

Captions: TypeAlias = dict[tuple[str, str], tuple[str, ...]]  # of (split, event_id), as the csv lists them


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCounts:
    """What a plan holds, by split, and what was left out of it."""

    clips: dict[str, int]
    queries: dict[str, int]
    empty_clips: dict[str, int]  # drawn without an event
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """A recording that clips are cut from."""

    background_id: str
    length_s: float
    silences_s: tuple[tuple[float, float], ...] = ()

    def is_silent(self, start_s: float, end_s: float) -> bool:
        """Whether nothing at all sounds in a cut, so that no level can be set against it."""
        return any(start <= start_s and end_s <= end for start, end in self.silences_s)


def plan(
    corpus: Corpus, spec: MixtureSpec, *, preset: str, seed: int, max_clips: int | None = None
) -> PlanCounts:
    """Draw the recipes of a scanned corpus and write them with their annotations.

    Args:
        max_clips: keep at most this many clips of each split, spread evenly over its recordings.

    Raises:
        ManifestError: the corpus was not scanned, or no clip can be cut from it.
    """
    foregrounds, backgrounds = corpus.foregrounds(), corpus.backgrounds()
    drawn = {
        split: sample_split(
            spec,
            [_candidate(item) for item in foregrounds if item.split == split],
            [tour_of(item) for item in backgrounds if item.split == split],
            split=split,
            seed=seed,
        )
        for split in SPLITS
    }
    if not any(drawn.values()):
        longest = max((item.length_s for item in backgrounds), default=0.0)
        raise ManifestError(
            f"no clip of {spec.clip_duration_s:g} s can be cut: the longest recording has {longest:.0f} s",
            corpus.backgrounds_file,
            "use longer recordings, or --set clip_duration=SECONDS",
        )
    kept = {split: _thinned(_wanted(spec, recipes), max_clips) for split, recipes in drawn.items()}
    recipes_of = number_queries(kept)
    counts = PlanCounts(
        clips={split: len(recipes) for split, recipes in recipes_of.items()},
        queries={split: sum(len(r.events) for r in recipes) for split, recipes in recipes_of.items()},
        empty_clips={split: sum(not r.events for r in recipes) for split, recipes in drawn.items()},
        notes=tuple(note for item in backgrounds for note in _left_out(spec, tour_of(item))),
    )
    made_by = {"preset": preset, "seed": seed, "max_clips": max_clips, "settings": to_plain(spec)}
    kept_aside = write_plan(corpus, recipes_of, captions_of(foregrounds), made_by=made_by)
    return dataclasses.replace(counts, notes=(*counts.notes, *kept_aside))


def _left_out(spec: MixtureSpec, tour: Tour) -> Iterator[str]:
    """What of a tour cannot be used."""
    if (num_clips := spec.num_clips(tour.length_s)) == 0:
        yield f"{tour.background_id} lasts {tour.length_s:.0f} s, less than one clip: not used"
    elif num_silent := num_clips - len(list(_starts(spec, tour))):
        yield f"{tour.background_id} is silent in {num_silent} of {num_clips} clips: left out"


def captions_of(foregrounds: Iterable[Foreground]) -> Captions:
    """The captions of every event, as the csv lists them."""
    return {(item.split, item.event_id): item.captions for item in foregrounds}


def sample_split(
    spec: MixtureSpec, candidates: Sequence[Candidate], tours: Sequence[Tour], *, split: str, seed: int
) -> list[ClipRecipe]:
    """Draw every clip of a split, tours and events in the order of their names, without qids.

    A split without events or without a tour that is long enough has no clips.
    """
    ordered = sorted(candidates, key=lambda candidate: candidate.event_id)
    if not ordered:
        return []
    return [
        sample_clip(
            spec,
            ordered,
            split=split,
            background_id=tour.background_id,
            start_s=start_s,
            seed=seed,
        )
        for tour in sorted(tours, key=lambda tour: tour.background_id)
        for start_s in _starts(spec, tour)
    ]


def _starts(spec: MixtureSpec, tour: Tour) -> Iterator[float]:
    """Where clips can be cut from a tour."""
    for k in range(spec.num_clips(tour.length_s)):
        start_s = k * spec.clip_interval_s
        if not tour.is_silent(start_s, start_s + spec.clip_duration_s):
            yield start_s


def number_queries(recipes_of: dict[str, list[ClipRecipe]]) -> dict[str, list[ClipRecipe]]:
    """Give every event its qid: five digits, counting over the splits in their order."""
    numbers = itertools.count()
    return {
        split: [_with_qids(recipe, numbers) for recipe in recipes_of[split]]
        for split in SPLITS
        if split in recipes_of
    }


def write_plan(
    corpus: Corpus,
    recipes_of: dict[str, list[ClipRecipe]],
    captions: Captions,
    *,
    made_by: Mapping[str, object],
) -> tuple[str, ...]:
    """Write recipes, annotations and the page that says what made them; notes tell of an older plan.

    Raises:
        ManifestError: a caption is missing.
    """
    queries = {split: list(queries_of(recipes, captions)) for split, recipes in recipes_of.items()}
    return write_recipes_and_queries(corpus, recipes_of, queries, made_by=made_by)


def write_recipes_and_queries(
    corpus: Corpus,
    recipes_of: dict[str, list[ClipRecipe]],
    queries_of_split: dict[str, list[Query]],
    *,
    made_by: Mapping[str, object],
) -> tuple[str, ...]:
    """`write_plan` where the queries are at hand.

    An older plan that differs is set aside with all its splits: half of one and half of another is no corpus.
    """
    identity = plan_fingerprint(recipe for recipes in recipes_of.values() for recipe in recipes)
    notes = _set_older_plan_aside(corpus, recipes_of, queries_of_split)
    for split, recipes in recipes_of.items():
        write_records(corpus.recipes_file(split), recipes, ClipRecipe)
        write_queries(corpus.annotations_file(split), queries_of_split[split])
    corpus.update_page(
        plan={
            **made_by,
            "clips": {split: len(recipes) for split, recipes in recipes_of.items()},
            "queries": {split: len(queries) for split, queries in queries_of_split.items()},
            "scan_fingerprint": _scan_fingerprint(corpus),
            "fingerprint": identity,
        }
    )
    return notes


def plan_fingerprint(recipes: Iterable[ClipRecipe]) -> str:
    """Identifies what is planned, over all splits in their order."""
    return fingerprint([repr(recipe) for recipe in recipes])


def _scan_fingerprint(corpus: Corpus) -> str | None:
    """Identifies the sources that a plan is made for; None without a scan, or one whose page was lost."""
    try:
        found: str | None = corpus.section("scan").get("fingerprint")
    except ManifestError:
        return None
    return found


def refuse_repeated(recipes_of: Mapping[str, Sequence[ClipRecipe]], where: object) -> None:
    """A clip's id and a query's qid name files: each is there once in a corpus.

    Raises:
        ManifestError: one stands twice, in what comes from `where`.
    """
    recipes = [recipe for recipes in recipes_of.values() for recipe in recipes]
    ids = Counter(recipe.recording_id for recipe in recipes)
    qids = Counter(event.qid for recipe in recipes for event in recipe.events)
    for what, counts in (("clip", ids), ("qid", qids)):
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise ManifestError(
                f"{what} {repeated[0]!r} stands {counts[repeated[0]]} times ({len(repeated)} such)",
                where,
                "give each its own",
            )


def _set_older_plan_aside(
    corpus: Corpus, recipes_of: dict[str, list[ClipRecipe]], queries_of_split: dict[str, list[Query]]
) -> tuple[str, ...]:
    """Move the recipes and annotations of another plan to where nothing takes them for the new one's."""
    there = [
        file
        for split in SPLITS
        for file in (corpus.recipes_file(split), corpus.annotations_file(split))
        if file.is_file()
    ]
    new = {corpus.recipes_file(s): dump_records(recipes, ClipRecipe) for s, recipes in recipes_of.items()}
    new |= {corpus.annotations_file(s): dump_queries(queries) for s, queries in queries_of_split.items()}
    if not there or (set(there) == set(new) and all(path.read_bytes() == new[path] for path in there)):
        return ()
    folder = corpus.set_aside(*there)
    return (
        f"the plan that was there is now in {folder}; audio and features that were made from it stay: "
        "`clotho-long check` names them",
    )


def queries_of(recipes: Iterable[ClipRecipe], captions: Captions) -> Iterator[Query]:
    """One query for each event of each recipe, with a moment for every occurrence."""
    for recipe in recipes:
        for event in recipe.events:
            texts = captions.get((recipe.split, event.event_id), ())
            if event.caption_index is None or not texts[event.caption_index : event.caption_index + 1]:
                raise ManifestError(
                    f"event {event.event_id!r} has no caption {event.caption_index}",
                    fix="use the captions that the recipes were made for",
                )
            yield query_of(recipe, event, texts[event.caption_index])


def query_of(recipe: ClipRecipe, event: Event, caption: str) -> Query:
    """The query of one event: its caption, answered wherever the event sounds."""
    return Query(
        qid=event.qid,
        query=caption,
        recording_id=recipe.recording_id,
        duration_s=recipe.duration_s,
        moments=tuple(
            Moment(onset_s=start_s, offset_s=start_s + event.duration_s) for start_s in event.starts_s
        ),
        foreground_db=event.foreground_db,
    )


def _wanted(spec: MixtureSpec, recipes: list[ClipRecipe]) -> list[ClipRecipe]:
    return recipes if spec.keep_empty_clips else [recipe for recipe in recipes if recipe.events]


def _thinned(recipes: list[ClipRecipe], limit: int | None) -> list[ClipRecipe]:
    """At most `limit` of them, evenly spread."""
    if limit is None or len(recipes) <= limit:
        return recipes
    return [recipes[index * len(recipes) // limit] for index in range(limit)]


def _with_qids(recipe: ClipRecipe, numbers: Iterator[int]) -> ClipRecipe:
    events = tuple(
        dataclasses.replace(event, qid=f"{next(numbers):0{QID_DIGITS}d}") for event in recipe.events
    )
    return dataclasses.replace(recipe, events=events)


def _candidate(item: Foreground) -> Candidate:
    return Candidate(
        event_id=item.event_id,
        trim_onset_s=item.onset_s,
        duration_s=item.duration_s,
        caption_indices=tuple(index for index, caption in enumerate(item.captions) if caption),
    )


def tour_of(item: Background) -> Tour:
    """A scanned recording as what clips are cut from."""
    return Tour(background_id=item.background_id, length_s=item.length_s, silences_s=item.silences_s)
