"""Decides what every clip of a corpus holds: by drawing, from a manifest, or from a published recipe."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from pydantic.dataclasses import dataclass

from clotho_long.core.annotations import write_queries
from clotho_long.core.errors import ManifestError
from clotho_long.core.files import fingerprint
from clotho_long.core.jsonl import write_records
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
            [_tour(item) for item in backgrounds if item.split == split],
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
        notes=tuple(
            f"{item.background_id} lasts {item.length_s:.0f} s, less than one clip: not used"
            for item in backgrounds
            if spec.num_clips(item.length_s) == 0
        ),
    )
    made_by = {"preset": preset, "seed": seed, "max_clips": max_clips, "settings": to_plain(spec)}
    write_plan(corpus, recipes_of, captions_of(foregrounds), made_by=made_by)
    return counts


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
            start_s=k * spec.clip_interval_s,
            seed=seed,
        )
        for tour in sorted(tours, key=lambda tour: tour.background_id)
        for k in range(spec.num_clips(tour.length_s))
    ]


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
) -> None:
    """Write recipes, annotations and the page that says what made them."""
    for split, recipes in recipes_of.items():
        write_records(corpus.recipes_file(split), recipes, ClipRecipe)
        write_queries(corpus.annotations_file(split), queries_of(recipes, captions))
    corpus.update_page(
        plan={
            **made_by,
            "clips": {split: len(recipes) for split, recipes in recipes_of.items()},
            "queries": {split: sum(len(r.events) for r in recipes) for split, recipes in recipes_of.items()},
            "fingerprint": fingerprint(
                [repr(recipe) for recipes in recipes_of.values() for recipe in recipes]
            ),
        }
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


def _tour(item: Background) -> Tour:
    return Tour(background_id=item.background_id, length_s=item.length_s)
