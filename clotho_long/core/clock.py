"""Times as people read them: on a clock, and as round marks along an axis."""

from __future__ import annotations

from clotho_long.core.units import Seconds

TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MAX_TICKS = 12


def clock(time_s: Seconds) -> str:
    """Minutes and seconds, with hours where there are any: 4:05, 1:02:03; a tenth only if there is one."""
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{hours}:{minutes:02d}:{seconds}" if hours else f"{minutes}:{seconds}"


def ticks(duration_s: Seconds, *, start_s: Seconds = 0.0) -> list[Seconds]:
    """Round times along a recording, or a part that begins at `start_s`, at most a dozen steps apart."""
    step_s = next((step for step in TICK_STEPS_S if duration_s / step <= MAX_TICKS), None)
    if step_s is None:
        step_s = 3600 * -(-int(duration_s) // (3600 * MAX_TICKS))
    first = -int(-start_s // step_s) * step_s
    return [float(at) for at in range(first, int(start_s + duration_s) + 1, step_s)]


def clock_fields(time_ms: int) -> tuple[int, int, int, int]:
    """Hours, minutes, seconds and milliseconds, for formats that spell all four."""
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return (*divmod(minutes, 60), seconds, milliseconds)
