"""One recording or some sentences -> rows, by an encoder that is loaded once in each process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import FeatureError
from clotho_long.core.units import Seconds
from clotho_long.features.encoder import Encoder, load_encoder
from clotho_long.features.files import Features
from clotho_long.features.windows import Convention, Waveform, WindowGrid, Windows, first_seconds

# A 300 s recording is one piece, so a GPU gets it as one batch; a longer one is encoded piece by piece.
PIECE_WINDOWS = 320

# Raised when the same sound or sentence gets other rows than before: pipelines then encode anew.
ENCODING_VERSION = 1

MadeBy = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderChoice:
    """Which encoder, as the command line names it; what a worker needs to load its own."""

    name: str
    weights: Path | None = None
    device: str = "auto"
    precision: str = "float32"

    def load(self) -> Encoder:
        """The encoder, loaded once in each process.

        Raises:
            ConfigError: there is no such encoder, or it lacks this device or precision.
            FeatureError: its weights are missing or do not fit.
        """
        return _loaded(self)

    def provenance(self) -> MadeBy:
        """What the encoder says made its numbers, asked once in each process: it may hash its weights."""
        return _provenance(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowChoice:
    """Where windows lie and how much of a recording is encoded."""

    convention: Convention = "aligned"
    max_s: Seconds | None = None  # only the start of longer recordings; None: all of them

    def grid(self, encoder: Encoder) -> WindowGrid:
        return WindowGrid(
            convention=self.convention,
            sample_rate_hz=encoder.sample_rate_hz,
            window_samples=encoder.window_samples,
        )


def pieces_of(blocks: Iterable[Waveform], encoder: Encoder, choice: WindowChoice) -> Iterator[Windows]:
    """The windows of a recording, whose blocks are at the encoder's rate, as the encoder is to get them."""
    grid = choice.grid(encoder)
    return grid.cut(first_seconds(blocks, grid.sample_rate_hz, choice.max_s), PIECE_WINDOWS)


def encode_piece(piece: Windows, encoder: Encoder) -> Features:
    """The features [window, dim] of one piece, float32.

    Raises:
        FeatureError: the encoder gave something else than finite rows of its width.
    """
    rows = encoder.encode_windows(piece)
    _refuse_bad_rows(rows, len(piece), encoder)
    return rows


def encode_texts(texts: Sequence[str], encoder: Encoder) -> list[Features]:
    """The token states [token, dim] of each text, float32.

    Raises:
        FeatureError: as `encode_piece`.
    """
    matrices = encoder.encode_texts(texts)
    for rows in matrices:
        _refuse_bad_rows(rows, len(rows), encoder)
    return matrices


@lru_cache(maxsize=1)
def _loaded(choice: EncoderChoice) -> Encoder:
    return load_encoder(choice.name, weights=choice.weights, device=choice.device, precision=choice.precision)


@lru_cache(maxsize=1)
def _provenance(choice: EncoderChoice) -> MadeBy:
    return choice.load().provenance()


def _refuse_bad_rows(rows: Features, num_rows: int, encoder: Encoder) -> None:
    if rows.shape != (num_rows, encoder.dim) or rows.dtype != np.float32:
        given = f"{rows.dtype} {rows.shape}, not float32 {(num_rows, encoder.dim)}"
    elif not np.isfinite(rows).all():
        given = f"values that are not finite in row {int(np.argmin(np.isfinite(rows).all(axis=1)))}"
    else:
        return
    raise FeatureError(f"{encoder.name} gave {given}", fix="check its weights")
