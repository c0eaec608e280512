"""Mixes events into a background, exactly as Clotho-Moment was published. Pure: arrays in, array out.

After Lighthouse-Wrapper (fdce40e), `6_create_dataset.py`. An event's level is that of its peak over the RMS
of the background *before* the background is itself turned down, so it is not a signal-to-noise ratio.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from clotho_long.audio.io import Waveform
from clotho_long.core.errors import AudioError
from clotho_long.core.units import Decibels, gain_from_db

# Small enough that a block of float32 and its copies stay in the processor's cache.
BLOCK_SAMPLES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class PlacedEvent:
    """One event of a mixture, with every place where it sounds."""

    event_id: str
    waveform: Waveform  # trimmed, mono, at the mixture's rate
    foreground_db: Decibels
    start_samples: tuple[int, ...]


def mix(
    background: Waveform, events: Iterable[PlacedEvent], *, background_db: Decibels, where: str
) -> Waveform:
    """The mixture, float32 [sample], peak 1. `background` is not changed.

    b = background; P = mean(b^2); b *= 10^(background_db/20); each event f, divided by its peak and times
    10^(foreground_db/20) sqrt(P), is added from its start on; what would pass the end is cut; b /= max|b|.

    Raises:
        AudioError: the background or an event is silent, so the levels mean nothing.
    """
    power = mean_power(background)
    if power == 0:
        raise AudioError("the background is silent there", where, "leave this clip out of the plan")
    mixture = background * np.float32(gain_from_db(background_db))
    for event in events:
        peak = peak_of(event.waveform)
        if peak == 0:
            raise AudioError(f"event {event.event_id!r} is silent", where, "leave it out of the sources")
        weight = gain_from_db(event.foreground_db) * power**0.5
        scaled = (event.waveform / np.float32(peak)) * np.float32(weight)
        for start in event.start_samples:
            target = mixture[start : start + len(scaled)]
            target += scaled[: len(target)]
    mixture *= np.float32(1 / peak_of(mixture))
    return mixture


def mean_power(waveform: Waveform) -> float:
    """Mean square of a waveform, rounded to float32.

    Summed in float64 and then rounded, so that the order in which a processor's vector unit adds does not
    reach the mixture: the same recipe gives the same bytes on another machine.
    """
    total = 0.0
    for start in range(0, len(waveform), BLOCK_SAMPLES):
        block = waveform[start : start + BLOCK_SAMPLES].astype(np.float64)
        total += float(block @ block)
    return float(np.float32(total / len(waveform)))


def peak_of(waveform: Waveform) -> float:
    """Largest magnitude of a waveform."""
    return float(max(waveform.max(), -waveform.min()))
