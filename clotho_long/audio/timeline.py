"""Where decoded sound lies in time: holes become silence, so that a second in is a second in a player."""

from __future__ import annotations

import dataclasses

from clotho_long.core.units import Hertz, Seconds

# Containers round their time stamps, and clocks of cameras drift: less than this is no hole.
TOLERANCE_S = 0.1
# A clock that jumps further, or back, was set or started again (links of a chained Ogg, joined broadcasts).
LONGEST_HOLE_S = 3600.0
LARGEST_STEP_BACK_S = 1.0


@dataclasses.dataclass(slots=True, kw_only=True)
class Timeline:
    """Counts what was taken of a stream and says how much silence belongs before the next frame."""

    rate_hz: Hertz
    origin_s: Seconds | None  # time stamp at which a player starts to count; None: that of the first frame
    end_s: Seconds | None  # how long the container says that it is; None: it does not
    position: float = 0.0  # samples at `rate_hz` so far
    silence_samples: int = 0

    def silence_before(self, stamp_s: Seconds | None) -> int:
        """Samples of silence that belong before a frame with this time stamp; they count as taken."""
        if stamp_s is None:
            return 0
        if self.origin_s is None:
            self.origin_s = stamp_s - self.position / self.rate_hz
        here_s = self.position / self.rate_hz
        hole_s = stamp_s - self.origin_s - here_s
        longest_s = LONGEST_HOLE_S if self.end_s is None else min(LONGEST_HOLE_S, self.end_s - here_s)
        if hole_s > longest_s + TOLERANCE_S or hole_s < -LARGEST_STEP_BACK_S:
            self.origin_s = stamp_s - here_s
            return 0
        if hole_s <= TOLERANCE_S:
            return 0
        num_samples = round(hole_s * self.rate_hz)
        self.position += num_samples
        self.silence_samples += num_samples
        return num_samples

    def advance(self, num_samples: int, rate_hz: Hertz) -> None:
        """Count a frame, at the rate that it has."""
        self.position += num_samples * self.rate_hz / rate_hz
