"""Writes the mixtures of a corpus as audio files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from clotho_long.audio.io import write_blocks
from clotho_long.core.errors import AudioError, ManifestError
from clotho_long.core.jsonl import read_lines, write_lines
from clotho_long.core.work import Watch, Workers, unwatched
from clotho_long.corpus import Corpus
from clotho_long.stages.mixtures import MixtureTask, mixture_blocks, mixture_tasks

AudioFormat = Literal["wav", "flac"]
JOURNAL = "rendered.jsonl"  # in the folder of a split: which recipe each finished file was made from


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
    journals = {split: _Journal(corpus.audio_dir(split)) for split in splits}
    waiting = [
        task
        for task in tasks
        if not journals[task.mixture.recipe.split].is_done(
            task.path, task.mixture.fingerprint, overwrite=overwrite
        )
    ]
    problems = []
    workers = Workers(jobs=jobs, scheduler=scheduler, watch=watch)
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


class _Journal:
    """Which files of a folder are finished, and from which recipe; a line is added as each one is done."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._made_from = dict(self._read())
        self.settle()

    def is_done(self, path: Path, fingerprint: str, *, overwrite: bool) -> bool:
        """Whether the file is there and was made from this recipe.

        Raises:
            ManifestError: it was made from another one, and may not be overwritten.
        """
        if not path.is_file() or path.name not in self._made_from:
            return False
        if self._made_from[path.name] == fingerprint:
            return True
        if not overwrite:
            raise ManifestError(
                "was rendered from another recipe or other sources",
                path,
                "render with --overwrite, or to a new corpus",
            )
        return False

    def add(self, path: Path, fingerprint: str) -> None:
        self._made_from[path.name] = fingerprint
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_journal_line(path.name, fingerprint)) + "\n")

    def settle(self) -> None:
        """Write the journal anew, by name: without the order in which workers ended, or a torn line."""
        if self._made_from:
            write_lines(
                self._path, (_journal_line(name, self._made_from[name]) for name in sorted(self._made_from))
            )

    def _read(self) -> Iterator[tuple[str, str]]:
        if not self._path.is_file():
            return
        try:
            for _, line in read_lines(self._path):
                yield line["file"], line["made_from"]
        except ManifestError:
            # the run was killed while it added the last line: that one file is rendered again
            return


def _journal_line(name: str, fingerprint: str) -> dict[str, str]:
    return {"file": name, "made_from": fingerprint}
