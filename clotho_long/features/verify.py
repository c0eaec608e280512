"""Two encoders on the same sound and sentences: how far their numbers are apart, and how fast each is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic.dataclasses import dataclass

from clotho_long.audio.io import stream_mono
from clotho_long.core.errors import ConfigError
from clotho_long.features.encoder import Encoder, Matrix
from clotho_long.features.extract import WindowChoice, pieces_of
from clotho_long.features.windows import Windows

Result = TypeVar("Result")

SENTENCES = (
    "A dog barks twice, then a door slams.",
    "Rain falls on a tin roof while people talk in the distance",
    "Ein Straßenbahnwagen fährt vorbei – quietschend!",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How one encoder's rows compare with another's."""

    rows: int
    relative: float  # |difference| / |reference| over all rows
    cosine: float  # the smallest over the rows
    centred_cosine: float  # the same after removing the mean row, which all rows share: the honest one
    seconds: float  # of the encoder that is judged
    reference_seconds: float

    @property
    def speed(self) -> float:
        """How many times as fast as the reference."""
        return self.reference_seconds / max(self.seconds, 1e-9)


def compare_encoders(
    recording: Path, judged: Encoder, reference: Encoder, *, max_windows: int
) -> dict[str, Agreement]:
    """The agreement of two encoders on the first windows of a recording (`audio`) and on sentences (`text`).

    Raises:
        ConfigError: the two do not hear the same windows.
        AudioError: the recording cannot be read.
    """
    if (judged.sample_rate_hz, judged.window_samples) != (reference.sample_rate_hz, reference.window_samples):
        raise ConfigError(f"{judged.name} and {reference.name} hear different windows", "--encoder")
    windows = _first_windows(recording, judged, max_windows)
    return {
        "audio": _agreement(
            lambda: judged.encode_windows(windows), lambda: reference.encode_windows(windows)
        ),
        "text": _agreement(
            lambda: np.concatenate(judged.encode_texts(SENTENCES)),
            lambda: np.concatenate(reference.encode_texts(SENTENCES)),
        ),
    }


def agreement_of(rows: Matrix, reference: Matrix) -> tuple[float, float, float]:
    """Relative deviation, smallest cosine, and smallest cosine after removing the reference's mean row."""
    ours, theirs = rows.astype(np.float64), reference.astype(np.float64)
    relative = float(np.linalg.norm(ours - theirs)) / max(float(np.linalg.norm(theirs)), 1e-30)
    mean = theirs.mean(axis=0)
    return relative, _smallest_cosine(ours, theirs), _smallest_cosine(ours - mean, theirs - mean)


def _first_windows(recording: Path, encoder: Encoder, max_windows: int) -> Windows:
    blocks = stream_mono(recording, encoder.sample_rate_hz)
    pieces = pieces_of(blocks, encoder, WindowChoice(max_s=float(max_windows)))
    return np.concatenate(list(pieces))[:max_windows]


def _agreement(judged: Callable[[], Matrix], reference: Callable[[], Matrix]) -> Agreement:
    judged()  # towers are built when they are first used
    rows, seconds = _timed(judged)
    expected, reference_seconds = _timed(reference)
    relative, cosine, centred = agreement_of(rows, expected)
    return Agreement(
        rows=len(rows),
        relative=relative,
        cosine=cosine,
        centred_cosine=centred,
        seconds=seconds,
        reference_seconds=reference_seconds,
    )


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _smallest_cosine(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    # a row that is the mean itself has no direction to compare
    return float(np.where(norms > 0, (a * b).sum(axis=1) / np.maximum(norms, 1e-30), 1.0).min())
