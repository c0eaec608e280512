"""Units as types, and the only conversions between them."""

from __future__ import annotations

from typing import TypeAlias

Seconds: TypeAlias = float
Decibels: TypeAlias = float
Hertz: TypeAlias = int


def gain_from_db(level_db: Decibels) -> float:
    """Linear amplitude factor of a level: 20 dB -> 10.0."""
    return float(10.0 ** (level_db / 20.0))


def power_ratio_from_db(level_db: Decibels) -> float:
    """Linear power factor of a level: 10 dB -> 10.0."""
    return float(10.0 ** (level_db / 10.0))


def samples_from_seconds(time_s: Seconds, sample_rate_hz: Hertz) -> int:
    """Index of the sample in which `time_s` (>= 0) falls, i.e. truncated as the published mixer does."""
    return int(time_s * sample_rate_hz)
