"""A long recording in overlapping stretches, and one answer from what is said of all of them.

A network is asked about stretches of the length that it learnt on. What it says of a place depends on the
stretch around it, so every place is asked about in several. Their curves are joined into one (`join`), and a
decoder's windows are put together as in weighted boxes fusion (Solovyev et al., 2021): edges are means
weighted by score, and a score is the mean over the stretches that hold the window whole, 0 from one that does
not see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic.dataclasses import dataclass

from amr_model.answer.readout import distinct
from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds

Curve = npt.NDArray[np.float32]

VIEWS = 3  # stretches that hold a place, away from both ends of the recording
SAME_MOMENT_IOU = 0.5  # windows of different stretches that overlap at least so much mean the same
DUPLICATE_IOU = 0.7  # answers that overlap more are one
UNHEARD = -1000.0  # the logit of a row that no stretch reaches: it answers nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchAnswer:
    """What the network says of one stretch, in seconds of the recording."""

    onset_s: Seconds  # of the stretch; minus infinity where the recording begins
    offset_s: Seconds  # plus infinity where it ends
    moments: tuple[ScoredMoment, ...]


def stretch_starts(num_rows: int, size: int, *, views: int = VIEWS) -> list[int]:
    """First rows of stretches of `size` rows, the last of which ends with the recording.

    Args:
        views: how many of them hold a place; with more than one they overlap.
    """
    if num_rows <= size:
        return [0]
    return [*range(0, num_rows - size, max(1, size // views)), num_rows - size]


def stretches_with(starts: Sequence[int], size: int, rows: npt.NDArray[np.int64]) -> list[int]:
    """Those of the stretches that hold one of `rows`, in order of time."""
    begins = np.asarray(starts)[:, None]
    holding = ((begins <= rows) & (rows < begins + size)).any(axis=1)
    return [start for start, holds in zip(starts, holding.tolist(), strict=True) if holds]


def join(curves: Sequence[Curve], starts: Sequence[int], num_rows: int) -> Curve:
    """[row] one curve of the whole recording: the mean of what the stretches say of a row.

    A stretch is trusted most in its middle, where it sees both sides of a moment, and hardly at its ends: the
    weights are a triangle. So no border is left, at which a moment would be cut. Where only one stretch
    reaches, at both ends of the recording, it is taken as it is.

    Args:
        curves: of each stretch, [row].
        starts: first row of each stretch. Rows that none of them covers are `UNHEARD`.
    """
    total, weight = np.zeros(num_rows), np.zeros(num_rows)
    for start, curve in zip(starts, curves, strict=True):
        ramp = np.arange(1, len(curve) + 1)
        trust = np.minimum(ramp, ramp[::-1]).astype(np.float64)
        total[start : start + len(curve)] += trust * curve
        weight[start : start + len(curve)] += trust
    joined = np.full(num_rows, UNHEARD, dtype=np.float32)
    heard = weight > 0
    joined[heard] = total[heard] / weight[heard]
    return joined


def merge(
    stretches: Sequence[StretchAnswer], *, grid_s: Seconds, num_moments: int | None
) -> tuple[ScoredMoment, ...]:
    """The windows of all stretches as one answer, best first.

    Args:
        stretches: in order of time.
        grid_s: edges are rounded to multiples of it.
    """
    found = [window for place in range(len(stretches)) for window in _with_other_views(stretches, place)]
    found.sort(key=lambda window: -window.score)  # stable: of equals the earlier stretch's
    rounded = [
        ScoredMoment(_rounded(onset_s, grid_s), _rounded(offset_s, grid_s), round(score, 4))
        for onset_s, offset_s, score in found
    ]
    spans = np.array([moment[:2] for moment in rounded]).reshape(-1, 2)
    kept = distinct(spans, limit=num_moments, most=DUPLICATE_IOU, overlap="union")
    return tuple(rounded[place] for place in kept)


def _with_other_views(stretches: Sequence[StretchAnswer], place: int) -> list[ScoredMoment]:
    """The windows of one stretch, each put together with what the stretches that hold it whole say of it."""
    own = stretches[place]
    near = [
        stretch for stretch in stretches if stretch.onset_s < own.offset_s and stretch.offset_s > own.onset_s
    ]
    result = []
    for window in own.moments:
        views = [stretch for stretch in near if _holds(stretch, window)]
        if not views:  # too long for any of them
            result.append(window)
        elif _holds(own, window):  # else it may be part of a moment that one of the others holds
            result.append(_fused(window, views))
    return result


def _holds(stretch: StretchAnswer, window: ScoredMoment) -> bool:
    """Whether a window lies inside a stretch and touches no border beyond which it might go on."""
    return stretch.onset_s < window.onset_s and window.offset_s < stretch.offset_s


def _fused(window: ScoredMoment, views: Sequence[StretchAnswer]) -> ScoredMoment:
    """The mean over the stretches of the best window of each that means the same."""
    same = []
    for stretch in views:
        theirs = [other for other in stretch.moments if _holds(stretch, other)]
        agreeing = [other for other in theirs if iou(window, other) >= SAME_MOMENT_IOU]
        if agreeing:
            same.append(max(agreeing, key=lambda other: other.score))
    total = sum(other.score for other in same)
    if total == 0:
        return window
    onset_s = sum(other.onset_s * other.score for other in same) / total
    offset_s = sum(other.offset_s * other.score for other in same) / total
    return ScoredMoment(onset_s, offset_s, total / len(views))


def iou(one: ScoredMoment, other: ScoredMoment) -> float:
    """How much of what two windows cover both cover."""
    both = min(one.offset_s, other.offset_s) - max(one.onset_s, other.onset_s)
    return max(0.0, both) / (max(one.offset_s, other.offset_s) - min(one.onset_s, other.onset_s))


def _rounded(time_s: Seconds, grid_s: Seconds) -> Seconds:
    # halves upwards: to even, a window of one step could vanish; the last bits of a mean decide nothing
    return math.floor(round(time_s / grid_s, 6) + 0.5) * grid_s
