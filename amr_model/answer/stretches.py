"""A long recording in overlapping chunks, and one answer from the answers of all of them.

A network is asked about stretches of the length that it learnt on. What it says of a place hangs on the
stretch around it, so every place is asked about in several chunks, and their windows are put together as in
weighted boxes fusion (Solovyev et al., 2021): edges are means weighted by score, and a score is the mean over
the chunks that hold the window whole, 0 from one that does not see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic.dataclasses import dataclass

from clotho_long.core.predictions import RankedWindow
from clotho_long.core.units import Seconds

VIEWS = 3  # chunks that hold a place, away from both ends of the recording
SAME_MOMENT_IOU = 0.5  # windows of different chunks that overlap at least so much mean the same
DUPLICATE_IOU = 0.7  # answers that overlap more are one


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkAnswer:
    """What the network says of one chunk, in seconds of the recording."""

    onset_s: Seconds  # of the chunk; minus infinity where the recording begins
    offset_s: Seconds  # plus infinity where it ends
    windows: tuple[RankedWindow, ...]


def chunk_starts(num_rows: int, size: int) -> list[int]:
    """First rows of overlapping chunks of `size` rows; the last one ends with the recording."""
    if num_rows <= size:
        return [0]
    return [*range(0, num_rows - size, max(1, size // VIEWS)), num_rows - size]


def merge(chunks: Sequence[ChunkAnswer], *, grid_s: Seconds, num_windows: int) -> tuple[RankedWindow, ...]:
    """The windows of all chunks as one answer, best first.

    Args:
        chunks: in order of time.
        grid_s: edges are rounded to multiples of it.
    """
    found = [window for place in range(len(chunks)) for window in _in_the_light_of_others(chunks, place)]
    found.sort(key=lambda window: -window[2])  # stable: of equals the earlier chunk's
    kept: list[RankedWindow] = []
    for onset_s, offset_s, score in found:
        window = (_rounded(onset_s, grid_s), _rounded(offset_s, grid_s), round(score, 4))
        if all(iou(window, better) <= DUPLICATE_IOU for better in kept):
            kept.append(window)
        if len(kept) == num_windows:
            break
    return tuple(kept)


def _in_the_light_of_others(chunks: Sequence[ChunkAnswer], place: int) -> list[RankedWindow]:
    """The windows of one chunk, each put together with what the chunks that hold it whole say of it."""
    own = chunks[place]
    near = [chunk for chunk in chunks if chunk.onset_s < own.offset_s and chunk.offset_s > own.onset_s]
    result = []
    for window in own.windows:
        views = [chunk for chunk in near if _holds(chunk, window)]
        if not views:  # too long for any of them
            result.append(window)
        elif _holds(own, window):  # else it may be part of a moment that one of the others holds
            result.append(_fused(window, views))
    return result


def _holds(chunk: ChunkAnswer, window: RankedWindow) -> bool:
    """Whether a window lies inside a chunk and touches no border beyond which it might go on."""
    return chunk.onset_s < window[0] and window[1] < chunk.offset_s


def _fused(window: RankedWindow, views: Sequence[ChunkAnswer]) -> RankedWindow:
    """The mean over the chunks of the best window of each that means the same."""
    same = []
    for chunk in views:
        theirs = [other for other in chunk.windows if _holds(chunk, other)]
        agreeing = [other for other in theirs if iou(window, other) >= SAME_MOMENT_IOU]
        if agreeing:
            same.append(max(agreeing, key=lambda other: other[2]))
    total = sum(score for *_, score in same)
    if total == 0:
        return window
    onset_s, offset_s = (sum(other[edge] * other[2] for other in same) / total for edge in (0, 1))
    return onset_s, offset_s, total / len(views)


def iou(one: RankedWindow, other: RankedWindow) -> float:
    """How much of what two windows cover both cover."""
    both = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, both) / (max(one[1], other[1]) - min(one[0], other[0]))


def _rounded(time_s: Seconds, grid_s: Seconds) -> Seconds:
    # halves upwards: to even, a window of one step could vanish; the last bits of a mean decide nothing
    return math.floor(round(time_s / grid_s, 6) + 0.5) * grid_s
