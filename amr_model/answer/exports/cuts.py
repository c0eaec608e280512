"""`--cut`: the sound of each moment, as a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amr_model.answer.exports.naming import file_stem
from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.io import Waveform, read_parts, write_audio
from clotho_long.core.units import Hertz, Seconds

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer
    from clotho_long.core.records import ScoredMoment


def cut_moments(
    answer: Answer,
    folder: Path,
    *,
    prefix: str = "",
    sound: SoundChoice | None = None,
    pad_s: Seconds = 0.0,
) -> list[Path]:
    """Write each moment of an answer as a mono wav at the recording's own rate; returns the files.

    The recording is read once at most, and no more of it is held than what is cut. A file's name says where
    the moment lies, without its padding.

    Args:
        pad_s: seconds before and after each moment that are cut with it, as far as the recording goes.

    Raises:
        AudioError: the recording cannot be read.
    """
    rate_hz, pieces = sound_of_moments(answer, sound=sound, pad_s=pad_s)
    return [
        _write_cut(folder, f"{prefix}{file_stem(answer.recording)}", rank, moment, piece, rate_hz)
        for rank, (moment, piece) in enumerate(zip(answer.moments, pieces, strict=True), start=1)
        if len(piece)
    ]


def sound_of_moments(
    answer: Answer, *, sound: SoundChoice | None = None, pad_s: Seconds = 0.0
) -> tuple[Hertz, list[Waveform]]:
    """The rate of a recording, and the sound of each moment of an answer, [sample], mono.

    A moment that lies beyond the end of the file, which must have changed, has no samples. Arguments and
    errors as `cut_moments`.
    """
    parts = [padded(moment, answer.duration_s, pad_s) for moment in answer.moments]
    return read_parts(answer.recording, parts, sound=sound)


def padded(moment: ScoredMoment, duration_s: Seconds, pad_s: Seconds) -> tuple[Seconds, Seconds]:
    """From when to when a moment is cut, with `pad_s` before and after it as far as the recording goes."""
    # what is read may be longer than the duration that was noted, never longer than what is there
    return max(moment.onset_s - pad_s, 0.0), max(min(moment.offset_s + pad_s, duration_s), moment.offset_s)


def _write_cut(
    folder: Path, stem: str, rank: int, moment: ScoredMoment, piece: Waveform, rate_hz: Hertz
) -> Path:
    path = folder / f"{stem}-{rank:02d}-{moment.onset_s:g}-{moment.offset_s:g}s.wav"
    write_audio(path, piece, rate_hz)
    return path
