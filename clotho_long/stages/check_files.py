"""What `check` says of the files that were made of a plan: rendered audio and features, each read once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import FeatureError
from clotho_long.core.records import SPLITS, Query
from clotho_long.core.work import Workers
from clotho_long.corpus import Corpus
from clotho_long.features.extract import MadeBy
from clotho_long.features.files import AUDIO_KEY, TEXT_KEY, audio_file, read_features, text_file
from clotho_long.features.pack import FeatureFolder, Kind
from clotho_long.features.provenance import TOLD
from clotho_long.recipe.records import ClipRecipe
from clotho_long.stages.extract import rendered_source
from clotho_long.stages.mixtures import MixtureTask
from clotho_long.stages.render import OVERWRITE, RENDERED_SUFFIXES, Journal, damage

EXTRACT = "run `clotho-long extract`"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matrix:
    """A feature file, and what it should hold."""

    path: Path
    key: str
    duration_s: float | None  # of audio: one row a second, more or less by the window convention
    sources: tuple[MadeBy, ...]  # what it may have been made of; empty: nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What came of reading one file."""

    path: Path
    problems: tuple[str, ...]
    maker: str | None = None  # encoder and width, which all files of a folder share


def check_files(
    corpus: Corpus,
    recipes: Mapping[str, Sequence[ClipRecipe]],
    queries: Sequence[Query],
    tasks: Mapping[str, MixtureTask],
    *,
    workers: Workers,
) -> Iterator[str]:
    """Yield the problems of audio and features.

    Args:
        recipes: of each split.
        tasks: by recording id, where the sources are known: what a file should have been made of.
    """
    for split in SPLITS:
        yield from _audio(corpus, split, recipes.get(split, ()), tasks)
    if corpus.features_dir.is_dir():
        every = [recipe for several in recipes.values() for recipe in several]
        lengths_s = {recipe.recording_id: recipe.duration_s for recipe in every}
        lengths_s |= {query.recording_id: query.duration_s for query in queries}
        audio = [
            _Matrix(
                path=audio_file(corpus.features_dir, recording_id),
                key=AUDIO_KEY,
                duration_s=duration_s,
                sources=_audio_sources(tasks.get(recording_id)),
            )
            for recording_id, duration_s in lengths_s.items()
        ]
        texts = {query.qid: query.query for query in queries}
        text = [
            _Matrix(
                path=text_file(corpus.features_dir, qid),
                key=TEXT_KEY,
                duration_s=None,
                sources=({"query": query},),
            )
            for qid, query in texts.items()
        ]
        yield from _folder(corpus, "audio", audio, workers)
        yield from _folder(corpus, "text", text, workers)


def _audio(
    corpus: Corpus, split: str, recipes: Sequence[ClipRecipe], tasks: Mapping[str, MixtureTask]
) -> Iterator[str]:
    """Problems of the rendered clips, if any were rendered; only headers and sizes are read."""
    folder = corpus.audio_dir(split)
    # a leading dot marks a file that is still being written, or whose writer was killed
    files = {
        path.name: path
        for suffix in RENDERED_SUFFIXES
        for path in sorted(folder.glob(f"*.{suffix}"))
        if path.name[0] != "."
    }
    if not files:
        return
    journal = Journal(folder)
    num_missing = 0
    for recipe in recipes:
        names = [f"{recipe.recording_id}.{suffix}" for suffix in RENDERED_SUFFIXES]
        there = [path for path in (files.pop(name, None) for name in names) if path is not None]
        num_missing += not there
        for path in there:
            if (problem := _rendered(path, recipe, journal, tasks.get(recipe.recording_id))) is not None:
                yield f"{path}: {problem}"
    if num_missing:
        yield f"{folder}: {num_missing} clips are not rendered; run `clotho-long render` again"
    for path in files.values():
        yield f"{path}: is in no recipe; remove it"


def _rendered(path: Path, recipe: ClipRecipe, journal: Journal, task: MixtureTask | None) -> str | None:
    made_from = journal.made_from(path)
    if made_from is None:
        return "no finished run of `render` vouches for it; run `clotho-long render` again"
    if task is not None and made_from != task.fingerprint:
        return f"was rendered from another recipe or other sources; {OVERWRITE}"
    if (problem := damage(path, recipe, journal)) is not None:
        return f"{problem}; run `clotho-long render` again"
    return None


def _audio_sources(task: MixtureTask | None) -> tuple[MadeBy, ...]:
    """What features of a clip may have been made of: its recipe, in memory or rendered."""
    return () if task is None else ({"recipe": task.fingerprint}, rendered_source(task.fingerprint))


def _folder(corpus: Corpus, kind: Kind, matrices: Sequence[_Matrix], workers: Workers) -> Iterator[str]:
    """Problems of the audio or text features: of each file, of those that lack, of those too many."""
    folder = FeatureFolder(features_dir=corpus.features_dir, kind=kind)
    left = {folder.file(item) for item in folder.items()}
    there = [matrix for matrix in matrices if matrix.path in left]
    if missing := [matrix.path for matrix in matrices if matrix.path not in left]:
        yield f"{missing[0]}: no such feature file, as {len(missing)} of {len(matrices)}; {EXTRACT}"
    looks = workers.each(_look, there, label=f"checking {kind}", unit="file")
    yield from _problems(sorted(looks, key=lambda look: look.path))
    for path in sorted(left - {matrix.path for matrix in matrices}):
        yield f"{path}: is of nothing in this corpus; remove it"


def _problems(looks: Iterable[_Look]) -> Iterator[str]:
    """What was found in each file, and which were not made as the first one was."""
    maker: str | None = None
    for look in looks:
        yield from (f"{look.path}: {problem}" for problem in look.problems)
        maker = maker or look.maker
        if look.maker not in (None, maker):
            yield f"{look.path}: made by {look.maker}; others here by {maker}; {EXTRACT} --overwrite"


def _look(matrix: _Matrix) -> _Look:
    try:
        rows, made_by = read_features(matrix.path, matrix.key)
    except FeatureError as error:
        return _Look(path=matrix.path, problems=(f"{error.problem}; {error.fix}",))
    except Exception as error:  # whatever a damaged archive makes its reader raise, the others are looked at
        problem = f"cannot be read ({error}); delete it and {EXTRACT}"
        return _Look(path=matrix.path, problems=(problem,))
    facts: dict[str, Any] = made_by if isinstance(made_by, dict) else {}
    encoder = {key: value for key, value in facts.items() if key not in ("source", *TOLD)}
    return _Look(
        path=matrix.path,
        problems=tuple(_faults(matrix, rows, facts.get("source"))),
        maker=f"{json.dumps(encoder, sort_keys=True)}, {rows.shape[1]} wide",
    )


def _faults(matrix: _Matrix, rows: Any, source: object) -> Iterator[str]:
    again = f"delete it and {EXTRACT}"
    if rows.size == 0:
        yield f"is empty; {again}"
    elif not np.isfinite(rows).all():
        row = int(np.argmin(np.isfinite(rows).all(axis=1)))
        yield f"row {row} holds NaN or infinite values; {again}"
    # half a second more or less: the window conventions differ by one window
    if matrix.duration_s is not None and abs(len(rows) - matrix.duration_s - 0.5) > 1:
        yield f"{len(rows)} windows for a recording of {matrix.duration_s:g} s; {again}"
    # files by others do not say what they were made of
    if source is not None and matrix.sources and source not in matrix.sources:
        what = "query" if matrix.key == TEXT_KEY else "recipe, or other sources"
        yield f"was made of another {what}; {EXTRACT} --overwrite"
