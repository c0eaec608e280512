"""What may happen in a clip: distributions and ranges, the two published presets, and one of short moments.

After the Clotho-Moment generator (Lighthouse-Wrapper fdce40e, `config.yaml`) and the report on
Clotho-Moment-Long; what both leave open is marked as our choice.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ConfigError
from clotho_long.core.units import Hertz, Seconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every value of [low, high] alike."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigError(f"uniform from {self.low:g} to {self.high:g} is empty", fix="swap the two")

    def sample(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True)
class Exponential:
    """Gaps of a memoryless process, by their mean."""

    mean: float

    def __post_init__(self) -> None:
        if not self.mean > 0:
            raise ConfigError(f"mean {self.mean:g} of an exponential is not positive")

    def sample(self, rng: np.random.Generator, size: int) -> list[float]:
        return [float(value) for value in rng.exponential(self.mean, size)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSpec:
    """How clips are cut and what is drawn for each."""

    clip_duration_s: Seconds
    clip_interval_s: Seconds  # from the start of one clip to the start of the next
    gap_s: Exponential  # silence before an occurrence
    recurrence_probability: float  # that an event comes back
    recurrence_counts: tuple[int, ...]  # how many more times, each alike
    keep_empty_clips: bool  # clips without a query stay in the recipes, without annotation
    foreground_db: Uniform = Uniform(-5.0, 5.0)
    background_db: Uniform = Uniform(-25.0, -15.0)
    sample_rate_hz: Hertz = 32_000
    # lengths are drawn from there, and longer events cut to their loudest stretch; None: events stay whole
    event_lengths: Literal["castella"] | None = None

    def __post_init__(self) -> None:
        if not (self.clip_duration_s > 0 and self.clip_interval_s > 0 and self.sample_rate_hz > 0):
            raise ConfigError("clip_duration_s, clip_interval_s and sample_rate_hz must be positive")
        if not 0 <= self.recurrence_probability <= 1:
            raise ConfigError(f"recurrence_probability {self.recurrence_probability:g} is not in [0, 1]")
        if self.recurrence_probability > 0 and not self.recurrence_counts:
            raise ConfigError("recurrence_counts is empty while recurrence_probability is not 0")
        if any(count < 1 for count in self.recurrence_counts):
            raise ConfigError("recurrence_counts must be at least 1")

    @model_serializer(mode="wrap")
    def _without_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As manifests of whole events were written, before events could be cut."""
        plain: dict[str, Any] = serialise(self)
        if self.event_lengths is None:
            del plain["event_lengths"]
        return plain

    def num_clips(self, background_length_s: Seconds) -> int:
        """How many clips fit: clip k is [k interval, k interval + duration), inside the recording."""
        if background_length_s < self.clip_duration_s:
            return 0
        # a millionth of a second forgives lengths that were written with few digits
        return int((background_length_s - self.clip_duration_s) / self.clip_interval_s + 1e-6) + 1


CLOTHO_MOMENT_LONG = MixtureSpec(
    clip_duration_s=300.0,
    clip_interval_s=5.0,  # our choice: 7,252 candidate clips in train
    gap_s=Exponential(45.0),
    recurrence_probability=0.35,
    recurrence_counts=(2, 3, 4),
    keep_empty_clips=False,
)
CLOTHO_MOMENT = dataclasses.replace(
    CLOTHO_MOMENT_LONG,
    clip_duration_s=60.0,
    clip_interval_s=1.0,
    gap_s=Exponential(30.0),
    recurrence_probability=0.0,
    recurrence_counts=(),
    keep_empty_clips=True,
)
CLOTHO_MOMENT_SHORT = dataclasses.replace(CLOTHO_MOMENT_LONG, event_lengths="castella")
PRESETS = {
    "clotho-moment-long": CLOTHO_MOMENT_LONG,
    "clotho-moment-short": CLOTHO_MOMENT_SHORT,
    "clotho-moment": CLOTHO_MOMENT,
}
