"""Writes the mixtures of a corpus as audio files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from clotho_long.audio.io import probe_length, write_blocks
from clotho_long.core.errors import AudioError, ManifestError
from clotho_long.core.files import tidied
from clotho_long.core.jsonl import scan_lines, write_lines
from clotho_long.core.units import samples_from_seconds
from clotho_long.core.work import Watch, Workers, unwatched
from clotho_long.corpus import Corpus
from clotho_long.recipe.records import ClipRecipe
from clotho_long.stages.mixtures import MixtureTask, mixture_blocks, mixture_tasks

AudioFormat = Literal["wav", "flac"]
JOURNAL = "rendered.jsonl"  # in the folder of a split: which recipe each finished file was made from
RENDERED_SUFFIXES = ("wav", "flac")  # in the order of preference where both are there
OVERWRITE = "run `clotho-long render --overwrite`"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderCounts:
    """What a run wrote, found already done, and could not render (`problem` lines)."""

    written: int
    done_before: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RenderTask:
    mixture: MixtureTask
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendered:
    path: Path
    fingerprint: str
    problem: str | None = None


def render(
    corpus: Corpus,
    *,
    splits: tuple[str, ...],
    audio_format: AudioFormat = "wav",
    limit: int | None = None,
    only: tuple[str, ...] = (),
    overwrite: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
    watch: Watch = unwatched,
) -> RenderCounts:
    """Render the clips of the splits; what is on disk already, from the same recipe, is left alone.

    A clip that cannot be rendered is counted with its reason and the others are written.

    Args:
        limit: at most this many clips of each split, the first ones.
        only: these recordings alone.
        overwrite: replace files that were made from another recipe instead of refusing.
        scheduler: address of a Dask scheduler whose workers see the same files; instead of `jobs` processes.

    Raises:
        ManifestError: there is no plan, no such recording, or a file was made from another recipe.
    """
    if not splits:
        raise ManifestError("holds no recipes", corpus.root, "run `clotho-long plan` first")
    corpus.refuse_stale_plan()
    tasks = []
    for split in splits:
        chosen = [
            task for task in mixture_tasks(corpus, [split]) if not only or task.recipe.recording_id in only
        ]
        tasks += [
            _RenderTask(mixture=task, path=corpus.audio_file(split, task.recipe.recording_id, audio_format))
            for task in chosen[:limit]
        ]
    if unknown := set(only) - {task.mixture.recipe.recording_id for task in tasks}:
        raise ManifestError(f"no recipe is called {min(unknown)!r}", corpus.root / "recipes", "check --only")
    journals = {split: Journal(corpus.audio_dir(split)) for split in splits}
    for journal in journals.values():
        journal.settle()  # a torn last line must not swallow the next one
    waiting = [
        task for task in tasks if not _is_done(task, journals[task.mixture.recipe.split], overwrite=overwrite)
    ]
    problems = []
    workers = Workers(jobs=jobs, scheduler=scheduler, watch=watch)
    with tidied(corpus.root):
        for result in workers.each(_render_one, waiting, label="rendering", unit="clip"):
            if result.problem is None:
                journals[result.path.parent.name].add(result.path, result.fingerprint)
            else:
                problems.append(result.problem)
    for journal in journals.values():
        journal.settle()
    return RenderCounts(
        written=len(waiting) - len(problems),
        done_before=len(tasks) - len(waiting),
        problems=tuple(sorted(problems)),
    )


def _render_one(task: _RenderTask) -> _Rendered:
    fingerprint = task.mixture.fingerprint
    try:
        write_blocks(task.path, mixture_blocks(task.mixture), task.mixture.recipe.sample_rate_hz)
    except AudioError as error:
        return _Rendered(path=task.path, fingerprint=fingerprint, problem=str(error))
    return _Rendered(path=task.path, fingerprint=fingerprint)


def _is_done(task: _RenderTask, journal: Journal, *, overwrite: bool) -> bool:
    """Whether the file is there, whole, and was made from this recipe.

    Raises:
        ManifestError: it was made from another one, and may not be overwritten.
    """
    if not task.path.is_file() or (made_from := journal.made_from(task.path)) is None:
        return False
    if made_from == task.mixture.fingerprint:
        return damage(task.path, task.mixture.recipe, journal) is None
    if not overwrite:
        raise ManifestError("was rendered from another recipe or other sources", task.path, OVERWRITE)
    return False


def damage(path: Path, recipe: ClipRecipe, journal: Journal) -> str | None:
    """What a rendered file's header or size says is wrong with it; None if nothing is."""
    try:
        rate_hz, num_samples = probe_length(path)
    except AudioError as error:
        return error.problem
    wanted = samples_from_seconds(recipe.duration_s, recipe.sample_rate_hz)
    if (rate_hz, num_samples) != (recipe.sample_rate_hz, wanted):
        return f"{num_samples} samples at {rate_hz} Hz, not {wanted} at {recipe.sample_rate_hz}"
    written, there = journal.num_bytes(path), path.stat().st_size
    return f"is damaged: {there} of {written} bytes are there" if written not in (None, there) else None


class Journal:
    """Which files of a folder are finished, and from which recipe; a line is added as each one is done."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        # a line that is torn or malformed vouches for nothing: that one file is rendered again
        self._lines = {line["file"]: line for line in self._read() if _is_line(line)}

    def made_from(self, path: Path) -> str | None:
        """The fingerprint of the mixture that a file holds; None if no finished run vouches for the file."""
        line = self._lines.get(path.name)
        return None if line is None else line["made_from"]

    def num_bytes(self, path: Path) -> int | None:
        """The size that a file had when it was finished, where that was noted."""
        num_bytes = self._lines.get(path.name, {}).get("bytes")
        return num_bytes if isinstance(num_bytes, int) else None

    def add(self, path: Path, fingerprint: str) -> None:
        line = {"file": path.name, "made_from": fingerprint, "bytes": path.stat().st_size}
        self._lines[path.name] = line
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def settle(self) -> None:
        """Write the journal anew, by name: without the order in which workers ended, or a torn line."""
        if self._lines:
            write_lines(self._path, (self._lines[name] for name in sorted(self._lines)))

    def _read(self) -> Iterator[Any]:
        if self._path.is_file():
            yield from (line for _, line in scan_lines(self._path))


def _is_line(line: Any) -> bool:
    return isinstance(line, dict) and all(isinstance(line.get(key), str) for key in ("file", "made_from"))
