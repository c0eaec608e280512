"""What a folder of features looks like: how much rows share, and how, and how fast, they vary.

To compare encoders, corpora and simulations. Rows are scaled to unit length first, as networks read them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import FeatureError
from clotho_long.features.files import (
    AUDIO_FOLDER,
    AUDIO_KEY,
    TEXT_FOLDER,
    TEXT_KEY,
    Features,
    read_features,
)

LAGS_S = (1, 2, 3, 5, 10, 20)
DIRECTIONS = (1, 5, 20, 50)

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStatistics:
    """Of all rows of some recordings; mean and variances are of rows at unit length."""

    recordings: int
    rows: int
    row_norm: float  # mean, before scaling
    row_norm_spread: float  # standard deviation
    mean_squared: float  # squared length of the mean over all rows
    variance_between: float  # of recordings' means around it
    variance_within: float  # of rows around their recording's mean, mean over recordings
    autocorrelation: tuple[float, ...]  # within a recording, at LAGS_S rows; mean over recordings
    participation: (
        float  # (sum of eigenvalues)^2 / sum of squares of the covariance within: effective directions
    )
    direction_shares: tuple[float, ...]  # of the variance within, in the first DIRECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStatistics:
    """Of the token states of some queries, at unit length."""

    queries: int
    tokens: int
    mean_squared: float  # squared length of the mean over all tokens
    first_cosine: float  # mean over pairs of different queries, of their first tokens
    last_cosine: float  # of their last tokens


def audio_statistics(recordings: Sequence[Features]) -> AudioStatistics:
    """The statistics of recordings, each [row, dim].

    Raises:
        FeatureError: there are fewer than two recordings, a row is zero, or no recording is longer than the
            largest lag.
    """
    if len(recordings) < 2:
        raise FeatureError(f"{len(recordings)} recordings, at least two are needed", "features")
    norms = np.concatenate([np.linalg.norm(rows, axis=1) for rows in recordings])
    scaled = [_unit_rows(rows) for rows in recordings]
    long_enough = [rows for rows in scaled if len(rows) > max(LAGS_S)]
    if not long_enough:
        raise FeatureError(f"no recording has more than {max(LAGS_S)} rows", "features")
    everything = np.concatenate(scaled)
    mean = everything.mean(axis=0)
    means = np.stack([rows.mean(axis=0) for rows in scaled])
    around = np.concatenate([rows - rows.mean(axis=0) for rows in scaled])
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(around.T)))[::-1]
    total = eigenvalues.sum()
    return AudioStatistics(
        recordings=len(recordings),
        rows=len(everything),
        row_norm=float(norms.mean()),
        row_norm_spread=float(norms.std()),
        mean_squared=float(mean @ mean),
        variance_between=float(
            np.average(((means - mean) ** 2).sum(axis=1), weights=[len(rows) for rows in scaled])
        ),
        variance_within=float(np.mean([rows.var(axis=0).sum() for rows in scaled])),
        autocorrelation=tuple(
            float(np.mean([_autocorrelation(rows, lag) for rows in long_enough])) for lag in LAGS_S
        ),
        participation=float(total**2 / (eigenvalues**2).sum()),
        direction_shares=tuple(float(eigenvalues[:count].sum() / total) for count in DIRECTIONS),
    )


def mean_statistics(groups: Sequence[AudioStatistics]) -> AudioStatistics:
    """The mean over groups of recordings: some figures depend on how many are taken together."""
    figures = {
        field.name: np.mean([getattr(group, field.name) for group in groups], axis=0).tolist()
        for field in dataclasses.fields(AudioStatistics)
    }
    counts = {name: round(figures.pop(name)) for name in ("recordings", "rows")}
    return AudioStatistics(**counts, **figures)


def text_statistics(queries: Sequence[Features]) -> TextStatistics:
    """The statistics of queries, each [token, dim].

    Raises:
        FeatureError: there are fewer than two queries, or a state is zero.
    """
    if len(queries) < 2:
        raise FeatureError(f"{len(queries)} queries, at least two are needed", "features")
    scaled = [_unit_rows(states) for states in queries]
    everything = np.concatenate(scaled)
    mean = everything.mean(axis=0)
    return TextStatistics(
        queries=len(queries),
        tokens=len(everything),
        mean_squared=float(mean @ mean),
        first_cosine=_cosine_of_pairs(np.stack([states[0] for states in scaled])),
        last_cosine=_cosine_of_pairs(np.stack([states[-1] for states in scaled])),
    )


def read_folder(features_dir: Path) -> tuple[list[Features], list[Features]]:
    """The audio and the text features of a folder in the layout of `files`, in the order of their names.

    Raises:
        FeatureError: a file is malformed, or there is no audio.
    """
    audio = [
        read_features(path, AUDIO_KEY)[0] for path in sorted((features_dir / AUDIO_FOLDER).glob("*.npz"))
    ]
    text = [read_features(path, TEXT_KEY)[0] for path in sorted((features_dir / TEXT_FOLDER).glob("*.npz"))]
    if not audio:
        raise FeatureError(
            f"holds no {AUDIO_FOLDER}/*.npz", features_dir, "give the folder that holds `clap/`"
        )
    return audio, text


def _unit_rows(rows: Features) -> Matrix:
    exact = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    if not len(exact) or not (norms > 0).all():
        raise FeatureError("a row is zero, or there is none", "features", "leave silent recordings out")
    scaled: Matrix = exact / norms
    return scaled


def _autocorrelation(rows: Matrix, lag: int) -> float:
    """How alike rows `lag` apart are, around the recording's mean: 1 the same, 0 unrelated."""
    around = rows - rows.mean(axis=0)
    power = float((around**2).sum(axis=1).mean())
    return float((around[:-lag] * around[lag:]).sum(axis=1).mean()) / power if power > 0 else 0.0


def _cosine_of_pairs(states: Matrix) -> float:
    cosines = states @ states.T
    return float(cosines[np.triu_indices(len(states), 1)].mean())
