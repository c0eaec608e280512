"""How long moments are where people marked them: distributions that a corpus may follow."""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from clotho_long.core.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class Lengths:
    """A counted distribution of lengths."""

    values_s: npt.NDArray[np.float64]  # ascending
    counts: npt.NDArray[np.int64]

    def sample(self, rng: np.random.Generator) -> Seconds:
        """One length, as often as it was counted."""
        ends = self.counts.cumsum()
        return float(self.values_s[np.searchsorted(ends, rng.integers(ends[-1]), side="right")])

    def share_between(self, low_s: Seconds, high_s: Seconds) -> float:
        """The share of lengths in (low_s, high_s]."""
        inside = (self.values_s > low_s) & (self.values_s <= high_s)
        return float(self.counts[inside].sum() / self.counts.sum())


@functools.cache
def castella_lengths() -> Lengths:
    """Moments of CASTELLA's training split, in whole seconds as its annotators marked them."""
    file = resources.files("clotho_long.recipe") / "castella_moment_lengths.yml"
    counted = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Lengths(
        values_s=np.array(list(counted), dtype=np.float64),
        counts=np.array(list(counted.values()), dtype=np.int64),
    )
