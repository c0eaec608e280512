"""Looks for everything that is wrong with a corpus, and goes on after each finding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clotho_long.audio.io import probe_length
from clotho_long.core.annotations import query_from_json
from clotho_long.core.errors import ClothoLongError, FeatureError, ManifestError
from clotho_long.core.jsonl import read_lines
from clotho_long.core.records import SPLITS, Query
from clotho_long.corpus import Corpus
from clotho_long.features.files import (
    AUDIO_FOLDER,
    AUDIO_KEY,
    TEXT_FOLDER,
    TEXT_KEY,
    audio_file,
    read_features,
    text_file,
)
from clotho_long.recipe.records import ClipRecipe

# Annotations carry one decimal, so a moment may pass its recording by half of the last one.
ROUNDING_S = 0.05 + 1e-9
# Raised when more is checked than before: pipelines then check anew.
CHECK_VERSION = 1


def check(corpus: Corpus) -> Iterator[str]:
    """Yield every problem as `FILE[:LINE]: what is wrong`; nothing means that the corpus is whole.

    Looks at the annotations (schema, unique qids, windows in order and inside), the recipes (that annotations
    say what they say), rendered audio (rate, length) and features (present, shape, finite, one encoder).
    """
    seen: dict[str, str] = {}
    splits = [split for split in SPLITS if corpus.annotations_file(split).is_file()]
    if not splits:
        yield f"{corpus.root / 'text'}: holds no annotations; run `clotho-long plan`"
    for split in splits:
        queries: list[tuple[str, Query]] = []
        yield from _annotations(corpus.annotations_file(split), seen, queries)
        yield from _recipes(corpus, split, [query for _, query in queries])
        yield from _audio(corpus, split)
        yield from _features(corpus, queries)
    yield from _encoders(corpus)


def _annotations(path: Path, seen: dict[str, str], queries: list[tuple[str, Query]]) -> Iterator[str]:
    """Problems of one annotation file; what can be read is appended to `queries` with its place."""
    try:
        lines = list(read_lines(path))
    except ManifestError as error:
        yield str(error)
        return
    for where, value in lines:
        try:
            query = query_from_json(value)
        except (ClothoLongError, ValueError, TypeError, KeyError, AttributeError) as error:
            yield f"{where}: malformed annotation ({' '.join(str(error).split())})"
            continue
        if query.qid in seen:
            yield f"{where}: qid {query.qid} is used before, at {seen[query.qid]}"
        seen[query.qid] = where
        queries.append((where, query))
        yield from (f"{where}: {problem}" for problem in _moments(query))


def _moments(query: Query) -> Iterator[str]:
    if not query.query.strip():
        yield "the query is empty"
    if not query.moments:
        yield "no window answers the query"
    previous_s = 0.0
    for moment in query.moments:
        window = f"window [{moment.onset_s:g}, {moment.offset_s:g}]"
        if moment.duration_s == 0:
            yield f"{window} is empty"
        if moment.offset_s > query.duration_s + ROUNDING_S:
            yield f"{window} is past duration {query.duration_s:g}"
        if moment.onset_s < previous_s - 2 * ROUNDING_S:
            yield f"{window} starts before the one before it ends"
        previous_s = moment.offset_s


def _recipes(corpus: Corpus, split: str, queries: list[Query]) -> Iterator[str]:
    path = corpus.recipes_file(split)
    if not path.is_file():
        yield f"{path}: no such file, but there are annotations; run `clotho-long plan`"
        return
    try:
        recipes = list(corpus.recipes(split))
    except ManifestError as error:
        yield str(error)
        return
    by_qid = {query.qid: query for query in queries}
    ids: set[str] = set()
    for recipe in recipes:
        if recipe.recording_id in ids:
            yield f"{path}: recording {recipe.recording_id} has two recipes"
        ids.add(recipe.recording_id)
        for event in recipe.events:
            query = by_qid.pop(event.qid, None)
            if query is None:
                yield f"{path}: qid {event.qid} of {recipe.recording_id} has no annotation"
            elif (problem := _disagreement(query, recipe, event.starts_s)) is not None:
                yield f"{corpus.annotations_file(split)}: qid {event.qid} {problem}"
    for qid in by_qid:
        yield f"{corpus.annotations_file(split)}: qid {qid} is in no recipe"


def _disagreement(query: Query, recipe: ClipRecipe, starts_s: tuple[float, ...]) -> str | None:
    if query.recording_id != recipe.recording_id:
        return f"is asked of {query.recording_id}, its recipe is {recipe.recording_id}"
    onsets_s = [moment.onset_s for moment in query.moments]
    if len(onsets_s) != len(starts_s) or not np.allclose(onsets_s, starts_s, rtol=0, atol=ROUNDING_S):
        return "has windows that are not where its recipe puts the event"
    return None


def _audio(corpus: Corpus, split: str) -> Iterator[str]:
    """Problems of the rendered clips, if any were rendered."""
    folder = corpus.audio_dir(split)
    files = {path.stem: path for path in sorted(folder.glob("*")) if path.suffix in (".wav", ".flac")}
    if not files:
        return
    num_missing = 0
    for recipe in corpus.recipes(split):
        path = files.pop(recipe.recording_id, None)
        if path is None:
            num_missing += 1
            continue
        try:
            rate_hz, num_samples = probe_length(path)
        except ClothoLongError as error:
            yield str(error)
            continue
        wanted = round(recipe.duration_s * recipe.sample_rate_hz)
        if (rate_hz, num_samples) != (recipe.sample_rate_hz, wanted):
            yield f"{path}: {num_samples} samples at {rate_hz} Hz, not {wanted} at {recipe.sample_rate_hz}"
    if num_missing:
        yield f"{folder}: {num_missing} clips are not rendered; run `clotho-long render` again"
    for path in files.values():
        yield f"{path}: is in no recipe"


def _features(corpus: Corpus, queries: list[tuple[str, Query]]) -> Iterator[str]:
    """Problems of the extracted features, if any were extracted."""
    if not corpus.features_dir.is_dir():
        return
    for recording_id, duration_s in dict.fromkeys((q.recording_id, q.duration_s) for _, q in queries):
        # half a second more or less: the window conventions differ by one window
        yield from _matrix(
            audio_file(corpus.features_dir, recording_id), AUDIO_KEY, num_rows=duration_s + 0.5
        )
    for _, query in queries:
        yield from _matrix(text_file(corpus.features_dir, query.qid), TEXT_KEY, num_rows=None)


def _matrix(path: Path, key: str, *, num_rows: float | None) -> Iterator[str]:
    try:
        rows, _ = read_features(path, key)
    except FeatureError as error:
        yield str(error)
        return
    if rows.size == 0:
        yield f"{path}: is empty"
    elif not np.isfinite(rows).all():
        yield f"{path}: row {int(np.argmin(np.isfinite(rows).all(axis=1)))} holds NaN or infinite values"
    if num_rows is not None and abs(len(rows) - num_rows) > 1:
        yield f"{path}: {len(rows)} windows for a recording of {num_rows - 0.5:g} s"


def _encoders(corpus: Corpus) -> Iterator[str]:
    """All files of a folder must come from one encoder and have one width."""
    for folder, key in ((AUDIO_FOLDER, AUDIO_KEY), (TEXT_FOLDER, TEXT_KEY)):
        first: tuple[str, int] | None = None
        for path in sorted((corpus.features_dir / folder).glob("*.npz")):
            try:
                rows, made_by = read_features(path, key)
            except FeatureError:
                continue  # said where its recording or query was checked
            encoder = {} if made_by is None else {k: v for k, v in made_by.items() if k != "source"}
            this = (json.dumps(encoder, sort_keys=True), rows.shape[1])
            first = first or this
            if this != first:
                yield f"{path}: made by {this[0]}, {this[1]} wide; others here by {first[0]}, {first[1]} wide"
