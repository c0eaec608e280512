"""An encoder that hears nothing and has MS-CLAP's widths: for benchmarks of what comes after an encoder."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.vector_stores import Vectors, drawn
from clotho_long.features import encoder as encoders

NAME = "stand-in"
DIM, SPACE_DIM = 768, 1024
TOKENS = 8  # of a sentence


@dataclasses.dataclass(frozen=True)
class StandIn:
    """An encoder that hears nothing; the tokens of a sentence are rows as a recording could hold them."""

    name: str = NAME
    sample_rate_hz: int = 32_000
    window_samples: int = 32_000
    dim: int = DIM
    device: str = "cpu"

    def provenance(self) -> dict[str, Any]:
        """Facts that decide the numbers."""
        return {"name": self.name, "version": 1}

    def encode_windows(self, windows: Vectors) -> Vectors:
        """Never called: features are drawn."""
        raise NotImplementedError

    def encode_texts(self, texts: Sequence[str]) -> list[Vectors]:
        """[token, dim] of each text, the same in every process."""
        return [next(drawn(TOKENS, DIM, seed=zlib.crc32(text.encode()))) for text in texts]

    def shared_space(self) -> Space:
        """Angles in it are those of the rows."""
        return Space()


class Space:
    """Rows turned into a wider space."""

    dim = SPACE_DIM

    def project_rows(self, rows: Vectors) -> Vectors:
        """[row, DIM] -> [row, SPACE_DIM], each of unit length."""
        turned: Vectors = rows @ _axes()
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        return turned

    def project_texts(self, states: Sequence[Vectors]) -> Vectors:
        """[text, SPACE_DIM], as the first token says."""
        return self.project_rows(np.stack([state[0] for state in states]))


@functools.lru_cache
def _axes() -> Vectors:
    """[DIM, SPACE_DIM], orthonormal rows."""
    square = np.random.default_rng(98).standard_normal((SPACE_DIM, DIM))
    return np.ascontiguousarray(np.linalg.qr(square)[0].T, dtype=np.float32)


def load(*, weights: Path | None, device: str, precision: str) -> StandIn:
    """What the name of the encoder stands for."""
    return StandIn()


def install() -> None:
    """Let this process find it by its name."""
    point = EntryPoint(NAME, f"{__name__}:load", encoders.ENTRY_POINT_GROUP)
    encoders.BUILT_IN = (*encoders.BUILT_IN, point)
