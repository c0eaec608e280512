"""Where the sound of an event file is: the trimming that Clotho-Moment was published with.

After Lighthouse-Wrapper (fdce40e), `4_clip_fg.py`; checked against the trimmed durations that it publishes.
"""

from __future__ import annotations

import numpy as np

from clotho_long.audio.io import Waveform
from clotho_long.core.units import Decibels, Hertz, power_ratio_from_db

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
