"""Where the sound of an event file is: the trimming that Clotho-Moment was published with, and cuts of it.

Trimming is after Lighthouse-Wrapper (fdce40e), `4_clip_fg.py`; checked against the trimmed durations that it
publishes.
"""

from __future__ import annotations

import numpy as np

from clotho_long.audio.io import Waveform
from clotho_long.core.units import Decibels, Hertz, Seconds, power_ratio_from_db, samples_from_seconds

LOUDEST_STEP_S = 0.1  # a stretch may start at multiples of it
FADE_S = 0.02  # at both ends of a cut: long enough not to click, short enough to keep an onset
TRIM_DB = 5.0  # a second is active if its mean power is less than this below that of the whole file


def active_seconds(
    waveform: Waveform, sample_rate_hz: Hertz, *, trim_db: Decibels = TRIM_DB
) -> tuple[int, int]:
    """[onset, offset) of the event in whole seconds; an incomplete last second is ignored.

    Onset is the first second whose mean power is strictly above the file's mean power less `trim_db`, offset
    the end of the last one. With no such second the event is everything, [0, whole seconds).
    """
    num_seconds = len(waveform) // sample_rate_hz
    power = np.square(waveform, dtype=np.float64)
    threshold = power.mean() * power_ratio_from_db(-trim_db)
    per_second = power[: num_seconds * sample_rate_hz].reshape(num_seconds, sample_rate_hz).mean(axis=1)
    active = np.flatnonzero(per_second > threshold)
    if active.size == 0:
        return 0, num_seconds
    return int(active[0]), int(active[-1]) + 1


def loudest_stretch(waveform: Waveform, sample_rate_hz: Hertz, duration_s: Seconds) -> slice:
    """The samples of the stretch of `duration_s` with the most energy; of equals the first.

    It starts at a multiple of LOUDEST_STEP_S. All of the waveform if that is not longer.
    """
    length = min(samples_from_seconds(duration_s, sample_rate_hz), len(waveform))
    step = max(1, samples_from_seconds(LOUDEST_STEP_S, sample_rate_hz))
    starts = np.arange(0, len(waveform) - length + 1, step)
    edges = np.unique(np.concatenate([starts, starts + length]))
    power = np.square(waveform[: edges[-1]], dtype=np.float64)
    # sums between edges in float32: the order in which a processor's vector unit adds must not choose
    between = np.add.reduceat(power, edges[:-1]).astype(np.float32) if len(edges) > 1 else power[:0]
    until = np.concatenate([[0.0], np.cumsum(between, dtype=np.float64)])
    energy = until[np.searchsorted(edges, starts + length)] - until[np.searchsorted(edges, starts)]
    best = int(starts[np.argmax(energy)])
    return slice(best, best + length)


def faded(waveform: Waveform, sample_rate_hz: Hertz) -> Waveform:
    """A copy whose ends rise and fall over FADE_S, as half a period of a cosine."""
    length = min(samples_from_seconds(FADE_S, sample_rate_hz), len(waveform) // 2)
    rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / max(length, 1))).astype(np.float32)
    result = waveform.copy()
    result[:length] *= rise
    result[len(result) - length :] *= rise[::-1]
    return result
