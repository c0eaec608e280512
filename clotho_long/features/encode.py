"""Features of many recordings and sentences: what is to do, who does it, and what came of it.

On a processor, workers take whole recordings: each mixes or decodes, encodes on one thread and writes its
file. On a GPU, one process encodes while threads prepare the windows of the recordings that follow. Which
windows or sentences an encoder gets together, and on how many threads it runs, never depends on the number of
workers or on what was done before: so neither do the bytes of the files.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from clotho_long.core.errors import AudioError, FeatureError, ManifestError
from clotho_long.core.records import Query, Sentence
from clotho_long.core.units import Hertz
from clotho_long.core.work import Workers, one_thread
from clotho_long.features.encoder import Encoder
from clotho_long.features.extract import (
    PIECE_WINDOWS,
    EncoderChoice,
    MadeBy,
    WindowChoice,
    encode_piece,
    encode_texts,
    pieces_of,
)
from clotho_long.features.files import Features, write_features
from clotho_long.features.pack import FeatureFolder
from clotho_long.features.provenance import audio_note, is_done, refuse_other_makers, text_note
from clotho_long.features.windows import Waveform, Windows

TEXTS_AT_A_TIME = 64


class Sound(Protocol):
    """Something that can be heard at any rate, in any process."""

    def blocks(self, sample_rate_hz: Hertz) -> Iterable[Waveform]:
        """The sound, mono in [-1, 1], block by block."""
        ...

    def identity(self) -> MadeBy:
        """JSON-like facts that change when the sound does."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A sound and the id that its features get."""

    recording_id: str
    sound: Sound


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why an item (a recording id, a path) was left out."""

    item: str
    reason: str

    def __str__(self) -> str:
        return f"{self.item}: {self.reason}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EncodeCounts:
    """What a run wrote, found already done, and could not do."""

    written: int
    done_before: int
    problems: tuple[Problem, ...]

    def __add__(self, other: EncodeCounts) -> EncodeCounts:
        return EncodeCounts(
            written=self.written + other.written,
            done_before=self.done_before + other.done_before,
            problems=self.problems + other.problems,
        )


def encode_recordings(
    recordings: Sequence[Recording],
    features_dir: Path,
    *,
    encoder: EncoderChoice,
    windows: WindowChoice,
    overwrite: bool = False,
    workers: Workers,
) -> EncodeCounts:
    """Write `features_dir/clap/ID.npz` of every recording; what is there already, made by just this, stays.

    A recording that cannot be used is counted with its reason and the others are done.

    Raises:
        ConfigError: there is no such encoder.
        FeatureError: the weights do not fit, or files in the folder were made otherwise.
        ManifestError: an id is no file name, or stands twice.
    """
    folder = FeatureFolder(features_dir=features_dir, kind="audio")
    job = _AudioJob(folder=folder, encoder=encoder, windows=windows)
    ids = [recording.recording_id for recording in recordings]
    _refuse_bad_ids(ids, folder)
    refuse_other_makers(folder, audio_note(encoder, windows, {}), replaced=set(ids))
    waiting: list[Recording] = []
    problems: list[Problem] = []
    for recording in recordings:
        try:
            # whether a sound is the same costs reading it: nobody needs to know before there are features
            note = job.note(recording) if folder.file(recording.recording_id).exists() else None
        except AudioError as error:
            problems.append(Problem(item=recording.recording_id, reason=str(error)))
            continue
        if note is None or not is_done(folder, recording.recording_id, note, overwrite=overwrite):
            waiting.append(recording)
    num_done = len(recordings) - len(waiting) - len(problems)
    results: Iterable[Problem | None]
    if _works_alone(encoder.load(), workers):
        ahead = job.encode_while_others_prepare(waiting, num_threads=workers.jobs)
        results = list(workers.watch(ahead, total=len(waiting), label="encoding", unit="recording"))
    elif len(waiting) == 1:
        results = [job.encode_with_shared_pieces(waiting[0], workers)]
    else:
        results = workers.share(job, waiting, unit="recording")
    failed = [problem for problem in results if problem is not None]
    return EncodeCounts(
        written=len(waiting) - len(failed),
        done_before=num_done,
        problems=tuple(sorted(problems + failed, key=str)),
    )


def encode_queries(
    queries: Sequence[Query | Sentence],
    features_dir: Path,
    *,
    encoder: EncoderChoice,
    wanted: Iterable[str] | None = None,
    overwrite: bool = False,
    workers: Workers,
) -> EncodeCounts:
    """Write `features_dir/clap_text/qidQID.npz` of every query; what is there already stays.

    Args:
        queries: all of a file. They are encoded in groups that its order alone decides.
        wanted: write only these qids; the rest of a group is encoded for the sake of equal bytes.

    Raises:
        ConfigError, FeatureError, ManifestError: as `encode_recordings`.
    """
    folder = FeatureFolder(features_dir=features_dir, kind="text")
    qids = [query.qid for query in queries]
    _refuse_bad_ids(qids, folder)
    refuse_other_makers(folder, text_note(encoder, ""), replaced=set(qids))
    chosen = set(qids if wanted is None else wanted)
    waiting = {
        query.qid
        for query in queries
        if query.qid in chosen
        and not is_done(folder, query.qid, text_note(encoder, query.query), overwrite=overwrite)
    }
    job = _TextJob(folder=folder, encoder=encoder, waiting=frozenset(waiting))
    groups = [tuple(queries[at : at + TEXTS_AT_A_TIME]) for at in range(0, len(queries), TEXTS_AT_A_TIME)]
    groups = [group for group in groups if any(query.qid in waiting for query in group)]
    if _works_alone(encoder.load(), workers):
        workers = dataclasses.replace(workers, jobs=1)
    workers.share(job, groups, unit=f"{TEXTS_AT_A_TIME} queries")
    return EncodeCounts(written=len(waiting), done_before=len(chosen) - len(waiting), problems=())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _AudioJob:
    """What is done with every recording; returns what is wrong with it, if anything is."""

    folder: FeatureFolder
    encoder: EncoderChoice
    windows: WindowChoice

    def __call__(self, recording: Recording) -> Problem | None:
        return self._finish(recording, map(self.encode, self._pieces(recording)))

    def encode(self, piece: Windows) -> Features:
        encoder = self.encoder.load()
        with one_thread():
            return encode_piece(piece, encoder)

    def encode_with_shared_pieces(self, recording: Recording, workers: Workers) -> Problem | None:
        """The same for a recording that is alone: its pieces are shared among the workers."""
        unit = f"{PIECE_WINDOWS} windows"
        return self._finish(
            recording, workers.share_in_order(self.encode, self._pieces(recording), unit=unit)
        )

    def encode_while_others_prepare(
        self, recordings: Iterable[Recording], *, num_threads: int
    ) -> Iterator[Problem | None]:
        """The same for each recording in turn, while `num_threads` prepare the windows of those after it."""
        waiting = iter(recordings)
        with ThreadPoolExecutor(num_threads) as pool:
            started = deque((r, _Ahead(self._pieces(r), pool)) for r in islice(waiting, num_threads + 1))
            while started:
                recording, pieces = started.popleft()
                yield self._finish(recording, map(self.encode, pieces))
                started.extend((r, _Ahead(self._pieces(r), pool)) for r in islice(waiting, 1))

    def note(self, recording: Recording) -> MadeBy:
        return audio_note(self.encoder, self.windows, recording.sound.identity())

    def _pieces(self, recording: Recording) -> Iterator[Windows]:
        encoder = self.encoder.load()
        return pieces_of(recording.sound.blocks(encoder.sample_rate_hz), encoder, self.windows)

    def _finish(self, recording: Recording, rows: Iterable[Features]) -> Problem | None:
        try:
            matrix = np.concatenate(list(rows))
            note = self.note(recording)
        except (AudioError, FeatureError) as error:
            return Problem(item=recording.recording_id, reason=str(error))
        write_features(self.folder.file(recording.recording_id), matrix, self.folder.key, note)
        return None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _TextJob:
    """What is done with every group of queries."""

    folder: FeatureFolder
    encoder: EncoderChoice
    waiting: frozenset[str]

    def __call__(self, group: tuple[Query | Sentence, ...]) -> None:
        encoder = self.encoder.load()
        with one_thread():
            matrices = encode_texts([query.query for query in group], encoder)
        for query, rows in zip(group, matrices, strict=True):
            if query.qid in self.waiting:
                path = self.folder.file(query.qid)
                write_features(path, rows, self.folder.key, text_note(self.encoder, query.query))


class _Ahead(Iterable[Windows]):
    """The pieces of one recording, of which a pool prepares the next while one is used."""

    def __init__(self, pieces: Iterator[Windows], pool: ThreadPoolExecutor) -> None:
        self._pieces, self._pool = pieces, pool
        self._next = self._prepare()

    def __iter__(self) -> Iterator[Windows]:
        while (piece := self._next.result()) is not None:
            self._next = self._prepare()
            yield piece

    def _prepare(self) -> Future[Windows | None]:
        return self._pool.submit(next, self._pieces, None)


def _works_alone(encoder: Encoder, workers: Workers) -> bool:
    """Whether this process encodes by itself: on a GPU, several would only fight for it."""
    return workers.scheduler is None and not str(encoder.device).startswith("cpu")


def _refuse_bad_ids(ids: Sequence[str], folder: FeatureFolder) -> None:
    """An id becomes a file's name: it must not lead elsewhere, hide the file, or stand for two things."""
    for item, count in Counter(ids).items():
        if count > 1:
            raise ManifestError(f"{item!r} stands {count} times", folder.path, "give each item its own id")
        if not item or item[0] == "." or "/" in item or "\\" in item or "\0" in item:
            raise ManifestError(f"{item!r} cannot name a file", folder.path, "rename the item")
