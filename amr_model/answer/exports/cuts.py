"""`--cut`: the sound of each moment, as a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from amr_model.answer.exports.naming import file_stem
from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.io import Waveform, probe, stream_mono, write_audio
from clotho_long.core.units import Hertz, Seconds

if TYPE_CHECKING:
    from amr_model.answer.retriever import Answer
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

    The recording is read once, and no more of it is held than what is cut. A file's name says where the
    moment lies, without its padding.

    Args:
        pad_s: seconds before and after each moment that are cut with it, as far as the recording goes.

    Raises:
        AudioError: the recording cannot be read.
    """
    choice = sound or SoundChoice()
    rate_hz = probe(answer.recording, track=choice.track).sample_rate_hz
    edges = [
        # what is read may be longer than the duration that was noted, never longer than what is there
        (max(onset_s - pad_s, 0.0), max(min(offset_s + pad_s, answer.duration_s), offset_s))
        for onset_s, offset_s, _ in answer.moments
    ]
    pieces: list[list[Waveform]] = [[] for _ in edges]
    start = 0
    for block in stream_mono(answer.recording, channels=choice.channels, track=choice.track):
        for piece, moment in zip(pieces, edges, strict=True):
            low, high = (round(edge * rate_hz) - start for edge in moment)
            if low < len(block) and high > 0:
                piece.append(block[max(low, 0) : high].copy())
        start += len(block)
    return [
        _write_cut(folder, f"{prefix}{file_stem(answer.recording)}", rank, moment, piece, rate_hz)
        for rank, (moment, piece) in enumerate(zip(answer.moments, pieces, strict=True), start=1)
        if piece
    ]


def _write_cut(
    folder: Path, stem: str, rank: int, moment: ScoredMoment, pieces: list[Waveform], rate_hz: Hertz
) -> Path:
    path = folder / f"{stem}-{rank:02d}-{moment.onset_s:g}-{moment.offset_s:g}s.wav"
    write_audio(path, np.concatenate(pieces), rate_hz)
    return path
