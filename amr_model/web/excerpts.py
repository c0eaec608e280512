"""Moments of a ranking with some seconds around them: their sound, their spectrogram, their curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from amr_model.answer.exports.cuts import padded, sound_of_moments
from amr_model.answer.exports.naming import file_stem
from amr_model.answer.readout import ReadoutConfig, sigmoid
from amr_model.answer.retriever import Answer
from amr_model.index.catalog import Catalog
from amr_model.index.search import Hit, Ranking
from amr_model.web.telling import Tell, watching
from clotho_long.audio.io import write_audio
from clotho_long.audio.spectrogram import spectrogram, to_png
from clotho_long.core.errors import AudioError
from clotho_long.core.files import atomic_path
from clotho_long.core.units import Seconds

MOVED = "Its file was moved or removed since it was indexed, so it cannot be heard here."
CHANGED = "Its file was changed since it was indexed: what is heard may be something else."
UNREADABLE = "Its file cannot be read any more."

Place = tuple[int, int]  # of a moment: the number of its ranking, its rank, both from 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A ranking, and how the curves that it was read off are to be understood."""

    ranking: Ranking
    readout: ReadoutConfig
    row_s: Seconds
    by_sound: bool = False  # a sound was given, no sentence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A moment with some seconds around it, as files of a search."""

    sound: Path
    picture: Path  # its spectrogram
    start_s: Seconds  # in the recording
    end_s: Seconds
    curve: tuple[float, ...]  # in [0, 1], how surely each second is part of an answer
    edges: tuple[float, ...]  # where each begins, and where the last one ends, as shares of the excerpt


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A moment of a ranking, as it is shown."""

    hit: Hit
    name: str  # of the recording
    excerpt: Excerpt | None  # None: it cannot be heard
    remark: str = ""  # what is wrong with its file


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Excerpts:
    """Cuts moments out of recordings, each of which is read once, and draws them."""

    catalog: Catalog
    names: Mapping[Path, str]  # of the recordings
    folder: Path  # where sounds and pictures are written
    pad_s: Seconds  # before and after each moment
    tell: Tell

    def of(self, answered: Sequence[Answered]) -> list[tuple[Shown, ...]]:
        """Every moment of every ranking."""
        of_recording: dict[Path, dict[Place, Hit]] = {}
        for number, one in enumerate(answered):
            for rank, hit in enumerate(one.ranking.hits):
                of_recording.setdefault(hit.recording, {})[number, rank] = hit
        shown: dict[Place, Shown] = {}
        watch = watching(self.tell)
        groups = watch(of_recording.items(), total=len(of_recording), label="cutting", unit="recording")
        for recording, hits in groups:
            shown |= self._of_recording(recording, hits, answered)
        return [
            tuple(shown[number, rank] for rank in range(len(one.ranking.hits)))
            for number, one in enumerate(answered)
        ]

    def _of_recording(
        self, recording: Path, hits: Mapping[Place, Hit], answered: Sequence[Answered]
    ) -> dict[Place, Shown]:
        sounds = {
            (number, rank): self.folder / f"{number + 1:02d}-{rank + 1:02d}-{file_stem(recording)}"
            f"-{hit.moment.onset_s:g}-{hit.moment.offset_s:g}s.wav"
            for (number, rank), hit in hits.items()
        }
        remark = self._cut(recording, hits, sounds)
        return {
            place: Shown(
                hit=hit,
                name=self.names[recording],
                excerpt=self._excerpt(hit, sounds[place], answered[place[0]])
                if sounds[place].exists()
                else None,
                remark=remark,
            )
            for place, hit in hits.items()
        }

    def _cut(self, recording: Path, hits: Mapping[Place, Hit], sounds: Mapping[Place, Path]) -> str:
        """Write the sound of moments, as far as it is there; returns what is wrong with their file."""
        known = self.catalog.entries[recording]
        answer = Answer(
            recording=recording,
            query="",
            duration_s=known.duration_s,
            moments=tuple(hit.moment for hit in hits.values()),
        )
        try:
            now = recording.stat()
            rate_hz, pieces = sound_of_moments(answer, sound=self.catalog.hearing.sound, pad_s=self.pad_s)
        except FileNotFoundError:
            return MOVED
        except (OSError, AudioError):
            return UNREADABLE
        for piece, sound in zip(pieces, sounds.values(), strict=True):
            if len(piece):
                write_audio(sound, piece, rate_hz)
        same = known.state is None or known.state[:2] == (now.st_size, now.st_mtime_ns)
        return "" if same else CHANGED

    def _excerpt(self, hit: Hit, sound: Path, answered: Answered) -> Excerpt:
        start_s, end_s = padded(hit.moment, hit.duration_s, self.pad_s)
        picture = sound.with_suffix(".png")
        with atomic_path(picture) as part:
            part.write_bytes(to_png(spectrogram(sound)))
        curve, edges = _piece_of_curve(hit, answered, start_s, end_s)
        return Excerpt(sound=sound, picture=picture, start_s=start_s, end_s=end_s, curve=curve, edges=edges)


def _piece_of_curve(
    hit: Hit, answered: Answered, start_s: Seconds, end_s: Seconds
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The values of an excerpt's seconds, in [0, 1], and their edges as shares of it."""
    if hit.curve is None:
        return (), ()
    row_s, readout = answered.row_s, answered.readout
    first, last = int(start_s / row_s), min(int(np.ceil(end_s / row_s)), len(hit.curve))
    logits = hit.curve[first:last].astype(np.float64)
    values = sigmoid((logits - readout.shift) / readout.temperature)
    sides = np.clip(np.arange(first, last + 1) * row_s, start_s, end_s)
    return tuple(values.tolist()), tuple(((sides - start_s) / (end_s - start_s)).tolist())
