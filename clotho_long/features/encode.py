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

from clotho_long.audio.io import SoundStream
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
from clotho_long.features.provenance import (
    REPLACE,
    audio_note,
    earlier_note,
    is_done,
    refuse_other_maker,
    refuse_other_makers,
    text_note,
)
from clotho_long.features.windows import Waveform, Windows

TEXTS_AT_A_TIME = 64


class Sound(Protocol):
    """Something that can be heard at any rate, in any process."""

    def blocks(self, sample_rate_hz: Hertz) -> Iterable[Waveform]:
        """The sound, mono in [-1, 1], block by block."""
        ...

    def identity(self, earlier: MadeBy | None = None) -> MadeBy:
        """JSON-like facts that change when the sound does.

        `earlier` is the note of an earlier run: the answer is put as there, and equal if the sound is.
        """
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
    """What a run wrote, found already done, could not do, and did on the user's behalf."""

    written: int
    done_before: int
    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...] = ()

    def __add__(self, other: EncodeCounts) -> EncodeCounts:
        return EncodeCounts(
            written=self.written + other.written,
            done_before=self.done_before + other.done_before,
            problems=self.problems + other.problems,
            notices=self.notices + other.notices,
        )


def encode_recordings(
    recordings: Sequence[Recording],
    features_dir: Path,
    *,
    encoder: EncoderChoice,
    windows: WindowChoice,
    overwrite: bool = False,
    float16: bool = False,
    workers: Workers,
) -> EncodeCounts:
    """Write `features_dir/clap/ID.npz` of every recording; what is there already, made by just this, stays.

    A recording that cannot be used is counted with its reason and the others are done. With `float16` what is
    written takes half of the space.

    Raises:
        ConfigError: there is no such encoder.
        FeatureError: the weights do not fit, or files in the folder were made otherwise.
        ManifestError: an id is no file name, or stands twice.
    """
    folder = FeatureFolder(features_dir=features_dir, kind="audio")
    job = _AudioJob(folder=folder, encoder=encoder, windows=windows, float16=float16)
    ids = [recording.recording_id for recording in recordings]
    refuse_bad_ids(ids, folder)
    refuse_other_makers(folder, audio_note(encoder, windows, {}), replaced=set(ids))
    waiting, problems = job.waiting(recordings, overwrite=overwrite)
    num_done = len(recordings) - len(waiting) - len(problems)
    results: Iterable[_Outcome]
    if _works_alone(encoder.load(), workers):
        ahead = job.encode_while_others_prepare(waiting, num_threads=workers.jobs)
        results = list(workers.watch(ahead, total=len(waiting), label="encoding", unit="recording"))
    elif len(waiting) == 1:
        results = [job.encode_with_shared_pieces(waiting[0], workers)]
    else:
        results = workers.share(job, waiting, unit="recording")
    results = list(results)
    failed = [outcome.problem for outcome in results if outcome.problem is not None]
    noticed = [outcome.notice for outcome in results if outcome.notice is not None]
    return EncodeCounts(
        written=len(waiting) - len(failed),
        done_before=num_done,
        problems=tuple(sorted(problems + failed, key=str)),
        notices=tuple(sorted(noticed, key=str)),
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
    refuse_bad_ids(qids, folder)
    refuse_other_makers(folder, text_note(encoder, ""), replaced=set(qids))
    chosen = set(qids if wanted is None else wanted)
    waiting = {
        query.qid
        for query in queries
        if query.qid in chosen
        and not is_done(
            folder,
            query.qid,
            earlier_note(folder, query.qid),
            text_note(encoder, query.query),
            overwrite=overwrite,
        )
    }
    job = _TextJob(folder=folder, encoder=encoder, waiting=frozenset(waiting))
    groups = [tuple(queries[at : at + TEXTS_AT_A_TIME]) for at in range(0, len(queries), TEXTS_AT_A_TIME)]
    groups = [group for group in groups if any(query.qid in waiting for query in group)]
    if _works_alone(encoder.load(), workers):
        workers = dataclasses.replace(workers, jobs=1)
    workers.share(job, groups, unit=f"{TEXTS_AT_A_TIME} queries")
    return EncodeCounts(written=len(waiting), done_before=len(chosen) - len(waiting), problems=())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What is wrong with a recording, or what was done on the user's behalf, if anything."""

    problem: Problem | None = None
    notice: Problem | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _AudioJob:
    """What is done with every recording."""

    folder: FeatureFolder
    encoder: EncoderChoice
    windows: WindowChoice
    float16: bool = False

    def __call__(self, recording: Recording) -> _Outcome:
        heard = self._hear(recording)
        return self._finish(heard, map(self.encode, self._pieces(heard)))

    def waiting(
        self, recordings: Sequence[Recording], *, overwrite: bool
    ) -> tuple[list[Recording], list[Problem]]:
        """The recordings that have to be encoded, and those that cannot: one that changed is no other's loss.

        Raises:
            FeatureError: features that are there are of another encoder, or of other windows.
        """
        waiting, problems = [], []
        shared = audio_note(self.encoder, self.windows, {})
        for recording in recordings:
            item = recording.recording_id
            found = earlier_note(self.folder, item)
            if found is not None and not overwrite:
                refuse_other_maker(self.folder, item, found, shared, remedy=REPLACE)
            try:
                # whether a sound is the same costs reading it: nobody needs to know before there are features
                note = {} if found is None else self._note(recording, found)
                if not is_done(self.folder, item, found, note, overwrite=overwrite):
                    waiting.append(recording)
            except (AudioError, FeatureError) as error:
                problems.append(Problem(item=item, reason=str(error)))
        return waiting, problems

    def encode(self, piece: Windows) -> Features:
        encoder = self.encoder.load()
        with one_thread():
            return encode_piece(piece, encoder)

    def encode_with_shared_pieces(self, recording: Recording, workers: Workers) -> _Outcome:
        """The same for a recording that is alone: its pieces are shared among the workers."""
        unit = f"{PIECE_WINDOWS} windows"
        heard = self._hear(recording)
        return self._finish(heard, workers.share_in_order(self.encode, self._pieces(heard), unit=unit))

    def encode_while_others_prepare(
        self, recordings: Iterable[Recording], *, num_threads: int
    ) -> Iterator[_Outcome]:
        """The same for each recording in turn, while `num_threads` prepare the windows of those after it."""
        waiting = map(self._hear, recordings)
        with ThreadPoolExecutor(num_threads) as pool:
            started = deque((h, _Ahead(self._pieces(h), pool)) for h in islice(waiting, num_threads + 1))
            while started:
                heard, pieces = started.popleft()
                yield self._finish(heard, map(self.encode, pieces))
                started.extend((h, _Ahead(self._pieces(h), pool)) for h in islice(waiting, 1))

    def _note(self, recording: Recording, earlier: MadeBy | None = None) -> MadeBy:
        return audio_note(self.encoder, self.windows, recording.sound.identity(earlier))

    def _hear(self, recording: Recording) -> _Heard:
        return _Heard(recording, self.encoder.load().sample_rate_hz)

    def _pieces(self, heard: _Heard) -> Iterator[Windows]:
        return pieces_of(heard, self.encoder.load(), self.windows)

    def _finish(self, heard: _Heard, rows: Iterable[Features]) -> _Outcome:
        recording = heard.recording
        try:
            matrix = np.concatenate(list(rows))
            told = heard.told()
            note = self._note(recording)
        except (AudioError, FeatureError) as error:
            return _Outcome(problem=Problem(item=recording.recording_id, reason=str(error)))
        path = self.folder.file(recording.recording_id)
        write_features(path, matrix, self.folder.key, {**note, **told}, float16=self.float16)
        if not heard.notes:
            return _Outcome()
        return _Outcome(notice=Problem(item=recording.recording_id, reason=heard.notes))


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


class _Heard(Iterable[Waveform]):
    """A recording block by block, and what is known of it when it was heard to its end."""

    def __init__(self, recording: Recording, sample_rate_hz: Hertz) -> None:
        self.recording = recording
        self.notes = ""  # what was done on the user's behalf, in words
        self._rate_hz = sample_rate_hz
        self._blocks = recording.sound.blocks(sample_rate_hz)
        self._num_samples = 0
        self._ended = False

    def __iter__(self) -> Iterator[Waveform]:
        for block in self._blocks:
            self._num_samples += len(block)
            yield block
        self._ended = True

    def told(self) -> MadeBy:
        """What the note of the features tells beside what made them (`provenance.TOLD`).

        Raises:
            AudioError: the recording was changed while it was heard.
        """
        if isinstance(self._blocks, SoundStream):
            self.notes = str(self._blocks.notes or "")
            return self._blocks.told()
        return {"duration_s": self._num_samples / self._rate_hz} if self._ended else {}


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


def refuse_bad_ids(ids: Sequence[str], folder: FeatureFolder) -> None:
    """An id becomes a file's name: it must not lead elsewhere, hide the file, or stand for two things."""
    for item, count in Counter(ids).items():
        if count > 1:
            raise ManifestError(f"{item!r} stands {count} times", folder.path, "give each item its own id")
        if not item or item[0] == "." or "/" in item or "\\" in item or "\0" in item:
            raise ManifestError(f"{item!r} cannot name a file", folder.path, "rename the item")
