"""Moments of a ranking with some seconds around them: their sound, their spectrogram, their curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from amr_model.answer.answers import Answer
from amr_model.answer.exports.cuts import padded, sound_of_moments
from amr_model.answer.exports.naming import file_stem
from amr_model.answer.readout import ReadoutConfig, sigmoid
from amr_model.answer.stretches import UNHEARD, Curve
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
SHORTER = "Its file was changed since it was indexed: it ends before the moment."
UNREADABLE = "Its file cannot be read any more."

STEADY_SHARE = 0.1  # of an excerpt: nine tenths of it may be one event, which is to be seen still
FLAT = 1e-6  # logits between which a curve does not move

Place = tuple[int, int]  # of a moment: the number of its ranking, its rank, both from 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A ranking, and how the curves of its recordings are to be understood."""

    ranking: Ranking
    readout: ReadoutConfig | None  # None: a decoder answered, and the curve beside it means nothing sure
    row_s: Seconds
    by_sound: bool = False  # a sound was given, no sentence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A moment with some seconds around it, as files of a search."""

    sound: Path
    picture: Path  # its spectrogram
    start_s: Seconds  # in the recording
    end_s: Seconds
    curve: tuple[float, ...]  # of its seconds, see `heights`
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
        wrong = self._cut(recording, hits, sounds)

        def shown(place: Place, hit: Hit) -> Shown:
            name, sound = self.names[recording], sounds[place]
            if not sound.exists():
                remark = SHORTER if wrong in ("", CHANGED) else wrong
                return Shown(hit=hit, name=name, excerpt=None, remark=remark)
            excerpt = self._excerpt(hit, sound, answered[place[0]])
            return Shown(hit=hit, name=name, excerpt=excerpt, remark=wrong)

        return {place: shown(place, hit) for place, hit in hits.items()}

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
            part.write_bytes(to_png(spectrogram(sound), steady_share=STEADY_SHARE))
        curve, edges = _piece_of_curve(hit, answered, start_s, end_s)
        return Excerpt(sound=sound, picture=picture, start_s=start_s, end_s=end_s, curve=curve, edges=edges)


def _piece_of_curve(
    hit: Hit, answered: Answered, start_s: Seconds, end_s: Seconds
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The values of an excerpt's seconds, in [0, 1], and their edges as shares of it."""
    if hit.curve is None:
        return (), ()
    row_s = answered.row_s
    first, last = int(start_s / row_s), min(int(np.ceil(end_s / row_s)), len(hit.curve))
    values = heights(hit.curve, answered.readout)[first:last]
    sides = np.clip(np.arange(first, last + 1) * row_s, start_s, end_s)
    return tuple(values.tolist()), tuple(((sides - start_s) / (end_s - start_s)).tolist())


def heights(curve: Curve, readout: ReadoutConfig | None) -> npt.NDArray[np.float64]:
    """A recording's curve as it is drawn, [row] in [0, 1]: how sure the read-out is of each row.

    Args:
        readout: None where moments were not read off the curve. Such a curve says where there is more and
            where less, so it fills the height from its lowest value in the recording to its highest one.
    """
    logits = curve.astype(np.float64)
    if readout is not None:
        return sigmoid((logits - readout.shift) / readout.temperature)
    heard = logits[logits > UNHEARD]
    low, high = (heard.min(), heard.max()) if len(heard) else (0.0, 0.0)
    scaled: npt.NDArray[np.float64] = np.clip((logits - low) / max(high - low, FLAT), 0.0, 1.0)
    return scaled
