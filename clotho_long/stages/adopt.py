"""Takes recipes that others drew: our manifests, and the published recipe files of Clotho-Moment."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from clotho_long.core.errors import ManifestError
from clotho_long.core.files import fingerprint_file
from clotho_long.core.jsonl import read_records
from clotho_long.core.records import SPLITS, Query
from clotho_long.corpus import Corpus
from clotho_long.recipe.records import ClipRecipe, Event
from clotho_long.recipe.spec import CLOTHO_MOMENT, LENGTH_TOLERANCE_S
from clotho_long.sources.records import Background, Foreground, composed
from clotho_long.stages.plan import (
    QID_DIGITS,
    PlanCounts,
    captions_of,
    query_of,
    refuse_repeated,
    tour_of,
    write_plan,
    write_recipes_and_queries,
)

NUM_DIFFERENCES_SHOWN = 20
# Where the released annotations begin to count; the published recipe files may each count from 0.
RELEASED_FROM = {"train": 0, "valid": 32_694, "test": 37_612}


def plan_from_manifest(corpus: Corpus, manifest: Path, *, allow_differences: bool = False) -> PlanCounts:
    """Take the recipes of a manifest for a scanned corpus; captions and trim onsets come from its sources.

    Args:
        allow_differences: leave out the clips whose sources are missing or of another length; qids stay.

    Raises:
        ManifestError: the manifest is unreadable, or the user's sources are not those it was made for.
    """
    foregrounds = {(item.split, item.event_id): item for item in corpus.foregrounds()}
    backgrounds = {(item.split, item.background_id): item for item in corpus.backgrounds()}
    taken: dict[str, list[ClipRecipe]] = {}
    differences: dict[str, None] = {}  # in the order in which they were met
    for split, path in _recipe_files(manifest):
        taken[split] = []
        recipes = list(read_records(path, ClipRecipe))
        if not recipes:
            raise ManifestError("holds no recipe", path, "get the manifest again")
        for recipe in recipes:
            _refuse_other_split(recipe, split, path)
            found = list(_differences(recipe, foregrounds, backgrounds))
            if found:
                differences.update(dict.fromkeys(found))
            else:
                taken[split].append(_completed(recipe, foregrounds))
    notes = tuple(differences)
    if notes and not allow_differences:
        shown = "; ".join(notes[:NUM_DIFFERENCES_SHOWN])
        more = (
            f"; and {len(notes) - NUM_DIFFERENCES_SHOWN} more" if len(notes) > NUM_DIFFERENCES_SHOWN else ""
        )
        raise ManifestError(
            f"{len(notes)} sources differ from the manifest's: {shown}{more}",
            manifest,
            "get the data sets as published, or leave those clips out with --allow-differences "
            "(in a pipeline --set allow_differences=true)",
        )
    made_by = {"manifest": manifest.name, "manifest_fingerprint": _manifest_fingerprint(manifest)}
    refuse_repeated(taken, manifest)
    kept_aside = write_plan(corpus, taken, captions_of(foregrounds.values()), made_by=made_by)
    return _counts(taken, notes + kept_aside)


def import_recipes(corpus: Corpus, files: Iterable[Path]) -> PlanCounts:
    """Turn published `recipe_{train,valid,test}.json` into our recipes and annotations.

    Where the corpus was scanned, trim onsets and caption numbers are looked up, so that it can be rendered.

    Raises:
        ManifestError: a file is no published recipe, or does not say its split in its name.
    """
    foregrounds = {}
    if corpus.foregrounds_file.is_file():
        foregrounds = {(item.split, item.event_id): item for item in corpus.foregrounds()}
    paths = _by_split(files)
    imported: dict[str, list[ClipRecipe]] = {}
    queries: dict[str, list[Query]] = {}
    notes: list[str] = []
    for split, path in paths.items():
        imported[split], queries[split] = [], []
        published = list(read_published(path, split))
        if not published:
            raise ManifestError("holds no clip", path, "use the published recipe file")
        shift = _shift(split, [recipe for recipe, _ in published])
        if shift:
            notes.append(f"{path.name} counts its qids from 0: numbered from {shift} on, as released")
        for recipe, captions in published:
            known = _with_captions(_completed(_shifted(recipe, shift), foregrounds), captions, foregrounds)
            imported[split].append(known)
            queries[split] += [
                query_of(known, event, text) for event, text in zip(known.events, captions, strict=True)
            ]
    refuse_repeated(imported, ", ".join(map(str, paths.values())))
    made_by = {"imported": [path.name for path in paths.values()]}
    kept_aside = write_recipes_and_queries(corpus, imported, queries, made_by=made_by)
    return _counts(imported, (*notes, *kept_aside))


def _by_split(files: Iterable[Path]) -> dict[str, Path]:
    """The file of each split, in the splits' order."""
    found: dict[str, Path] = {}
    for path in files:
        split = _split_in_name(path)
        if split in found:
            raise ManifestError(f"is of split {split}, as is {found[split]}", path, "give one of them")
        found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def _shift(split: str, recipes: Sequence[ClipRecipe]) -> int:
    """What to add to a file's qids so that they are those of the released annotations and features."""
    qids = [int(event.qid) for recipe in recipes for event in recipe.events]
    return RELEASED_FROM[split] if qids and min(qids) == 0 else 0


def _shifted(recipe: ClipRecipe, shift: int) -> ClipRecipe:
    events = tuple(
        dataclasses.replace(event, qid=f"{int(event.qid) + shift:0{QID_DIGITS}d}") for event in recipe.events
    )
    return dataclasses.replace(recipe, events=events)


def read_published(path: Path, split: str) -> Iterator[tuple[ClipRecipe, tuple[str, ...]]]:
    """Yield each clip of a published recipe file, with the captions of its events.

    Only the base names of the authors' paths matter: `.../bg/Venice/5.0_65.0.wav`, `.../fg/dog.wav`.
    """
    try:
        clips = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError("no such file", path, "check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(f"cannot be read as JSON ({error})", path, "check the file") from None
    if not isinstance(clips, list):
        raise ManifestError("is not a list of clips", path, "use the published recipe file")
    for number, clip in enumerate(clips):
        try:
            yield _clip_from_published(clip, split), tuple(str(event["caption"]) for event in clip["fg"])
        except (AttributeError, KeyError, TypeError, ValueError, ManifestError) as error:
            raise ManifestError(
                f"clip {number}: {_complaint(error)}", path, "use the published recipe file"
            ) from None


def _complaint(error: Exception) -> str:
    if isinstance(error, ManifestError):
        return error.problem
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"is malformed ({'.'.join(map(str, first['loc']))}: {first['msg']})"
    return f"is malformed ({error!r})"


def _clip_from_published(clip: dict[str, Any], split: str) -> ClipRecipe:
    background = PurePosixPath(clip["bg"]["path"])
    start_s, end_s = (float(part) for part in background.stem.split("_"))
    return ClipRecipe(
        recording_id=clip["name"],
        split=split,
        background_id=background.parent.name,
        start_s=start_s,
        duration_s=end_s - start_s,
        background_db=clip["bg"]["dB"],
        sample_rate_hz=CLOTHO_MOMENT.sample_rate_hz,
        events=tuple(
            Event(
                qid=f"{event['qid']:0{QID_DIGITS}d}",
                event_id=composed(PurePosixPath(event["path"]).name.removesuffix(".wav")),
                trim_onset_s=None,
                duration_s=event["duration"],
                caption_index=None,
                foreground_db=event["dB"],
                starts_s=(event["start_time"],),
            )
            for event in clip["fg"]
        ),
    )


def _split_in_name(path: Path) -> str:
    for split in SPLITS:
        if split in path.name:
            return split
    raise ManifestError(
        "does not say its split", path, "name it recipe_train.json, recipe_valid.json or recipe_test.json"
    )


def _completed(recipe: ClipRecipe, foregrounds: dict[tuple[str, str], Foreground]) -> ClipRecipe:
    """The recipe with the trim onsets of the sources at hand."""
    events = tuple(
        dataclasses.replace(event, trim_onset_s=foregrounds[recipe.split, event.event_id].onset_s)
        if (recipe.split, event.event_id) in foregrounds
        else event
        for event in recipe.events
    )
    return dataclasses.replace(recipe, events=events)


def _with_captions(
    recipe: ClipRecipe, captions: tuple[str, ...], foregrounds: dict[tuple[str, str], Foreground]
) -> ClipRecipe:
    """The recipe with the number of each caption among its event's, where the event is at hand and has it."""
    numbered = []
    for event, caption in zip(recipe.events, captions, strict=True):
        source = foregrounds.get((recipe.split, event.event_id))
        known = source is not None and caption in source.captions
        index = source.captions.index(caption) if source is not None and known else None
        numbered.append(dataclasses.replace(event, caption_index=index))
    return dataclasses.replace(recipe, events=tuple(numbered))


def _differences(
    recipe: ClipRecipe,
    foregrounds: dict[tuple[str, str], Foreground],
    backgrounds: dict[tuple[str, str], Background],
) -> Iterator[str]:
    """What keeps this machine's sources from giving the recipe's mixture."""
    tour = backgrounds.get((recipe.split, recipe.background_id))
    end_s = recipe.start_s + recipe.duration_s
    if tour is None:
        yield f"recording {recipe.background_id!r} ({recipe.split}) is missing"
    elif tour.length_s < end_s - LENGTH_TOLERANCE_S:
        yield f"recording {recipe.background_id!r} lasts {tour.length_s:.5f} s, {end_s:g} s are needed"
    elif tour_of(tour).is_silent(recipe.start_s, end_s):
        yield f"recording {recipe.background_id!r} is silent from {recipe.start_s:g} to {end_s:g} s"
    for event in recipe.events:
        source = foregrounds.get((recipe.split, event.event_id))
        if source is None:
            yield f"event {event.event_id!r} ({recipe.split}) is missing"
        elif source.duration_s != event.trimmed_s:
            yield f"{source.file} lasts {source.duration_s} s after trimming, not {event.trimmed_s:g} s"


def _refuse_other_split(recipe: ClipRecipe, split: str, path: Path) -> None:
    if recipe.split != split:
        raise ManifestError(
            f"holds {recipe.recording_id!r} of split {recipe.split}",
            path,
            "move it to its split's file",
        )


def _recipe_files(manifest: Path) -> list[tuple[str, Path]]:
    files = [(split, manifest / "recipes" / f"{split}.jsonl.gz") for split in SPLITS]
    present = [(split, path) for split, path in files if path.is_file()]
    if not present:
        raise ManifestError(
            "holds no recipes/{train,valid,test}.jsonl.gz", manifest, "give a folder of manifests/"
        )
    return present


def _manifest_fingerprint(manifest: Path) -> dict[str, str]:
    return {split: fingerprint_file(path) for split, path in _recipe_files(manifest)}


def _counts(recipes_of: dict[str, list[ClipRecipe]], notes: tuple[str, ...]) -> PlanCounts:
    return PlanCounts(
        clips={split: len(recipes) for split, recipes in recipes_of.items()},
        queries={split: sum(len(r.events) for r in recipes) for split, recipes in recipes_of.items()},
        empty_clips={split: sum(not r.events for r in recipes) for split, recipes in recipes_of.items()},
        notes=notes,
    )
