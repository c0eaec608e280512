"""What may happen in a clip: distributions and ranges, the two published presets, and one of short moments.

After the Clotho-Moment generator (Lighthouse-Wrapper fdce40e, `config.yaml`) and the report on
Clotho-Moment-Long; what both leave open is marked as our choice.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ConfigError
from clotho_long.core.records import FINITE
from clotho_long.core.settings import require_range
from clotho_long.core.units import Hertz, Seconds
from clotho_long.recipe.records import MAX_LEVEL_DB

# Ids of clips carry one decimal of their start.
MIN_CLIP_INTERVAL_S = 0.1
# Forgives lengths that were written with few digits; a sample at 32 kHz is thirty times as long.
LENGTH_TOLERANCE_S = 1e-6

LONGEST_CLIP_S: Seconds = 1e6
MAX_RATE_HZ: Hertz = 768_000
MAX_RECURRENCES = 1000


@dataclass(frozen=True, slots=True, config=FINITE)
class Uniform:
    """Every value of [low, high] alike."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ConfigError(f"uniform from {self.low:g} to {self.high:g} has no end")
        if not self.low <= self.high:
            raise ConfigError(f"uniform from {self.low:g} to {self.high:g} is empty", fix="swap the two")

    def sample(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True, config=FINITE)
class Exponential:
    """Gaps of a memoryless process, by their mean."""

    mean: float

    def __post_init__(self) -> None:
        if not 0 < self.mean < math.inf:
            raise ConfigError(f"mean {self.mean:g} of an exponential is not positive and finite")

    def sample(self, rng: np.random.Generator, size: int) -> list[float]:
        return [float(value) for value in rng.exponential(self.mean, size)]


@dataclass(frozen=True, slots=True, kw_only=True, config=FINITE)
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
        require_range(self, ("clip_duration_s",), above=True, high=LONGEST_CLIP_S)
        require_range(self, ("clip_interval_s",), high=LONGEST_CLIP_S)
        if self.clip_interval_s < MIN_CLIP_INTERVAL_S:
            raise ConfigError(
                f"clip_interval_s {self.clip_interval_s:g} is below {MIN_CLIP_INTERVAL_S:g}: two clips would "
                "have one name"
            )
        require_range(self, ("sample_rate_hz",), low=1, high=MAX_RATE_HZ)
        for name, levels in (("foreground_db", self.foreground_db), ("background_db", self.background_db)):
            if max(-levels.low, levels.high) > MAX_LEVEL_DB:
                raise ConfigError(f"{name} is beyond {MAX_LEVEL_DB:g} dB")
        if not 0 <= self.recurrence_probability <= 1:
            raise ConfigError(f"recurrence_probability {self.recurrence_probability:g} is not in [0, 1]")
        if self.recurrence_probability > 0 and not self.recurrence_counts:
            raise ConfigError("recurrence_counts is empty while recurrence_probability is not 0")
        if not all(1 <= count <= MAX_RECURRENCES for count in self.recurrence_counts):
            raise ConfigError(f"recurrence_counts must be whole numbers from 1 to {MAX_RECURRENCES}")

    @model_serializer(mode="wrap")
    def _without_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As manifests of whole events were written, before events could be cut."""
        plain: dict[str, Any] = serialise(self)
        if self.event_lengths is None:
            del plain["event_lengths"]
        return plain

    def num_clips(self, background_length_s: Seconds) -> int:
        """How many clips fit: clip k is [k interval, k interval + duration), inside the recording."""
        room_s = background_length_s - self.clip_duration_s + LENGTH_TOLERANCE_S
        return int(room_s / self.clip_interval_s) + 1 if room_s >= 0 else 0


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
