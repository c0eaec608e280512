"""Moments read off a curve: one number a second in, scored moments out.

Whatever says for every second of a recording how well it answers can be read: the saliency of a network, the
similarity of an encoder's audio and text, a sound event detector, or the mean of several of them. After the
segmentations of sound event detection, with several thresholds as DCASE systems pool them; that a moment
retriever's saliency read so beats its own windows is Komatsu and Munakata's finding (arXiv 2610.05737, 2026).

    z            one logit a row
    r            sigmoid((z - shift) / temperature), smoothed over a few rows
    segments     for each threshold, runs of r above it: entered high, left low, short gaps closed
    score        the mean of r inside, or a logistic function of a few statistics of the segment
    moments      best first, none a repetition of a better one

Pure numpy, nothing of a network. All curves of a call are worked on at once, laid end to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ConfigError
from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds

Curve = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

STATISTICS = ("mean", "contrast", "maximum", "log_length")  # of a segment, in the order of `ScoreWeights`
LOGIT_BOUND = 30.0  # beyond it a sigmoid is 0 or 1 to thirteen digits


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWeights:
    """A segment's score: sigmoid(intercept + sum of weight times statistic). `answer.calibrate` fits them."""

    intercept: float
    mean: float  # of the smoothed r inside, as a logit
    contrast: float  # the same less that of the rows just outside
    maximum: float  # of the smoothed r inside, as a logit
    log_length: float  # of the length in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutConfig:
    """How a curve is read. The defaults suit a curve that nobody calibrated: only its shape is trusted."""

    temperature: float = 1.0  # what a logit is divided by; calibration sets it
    shift: float = 0.0  # logit that means 0.5; learning with weighted positives moves it
    smooth_rows: int = 3  # a second alone is often noise; CASTELLA's median moment lasts 4 s
    smooth: Literal["mean", "median"] = "mean"  # a median keeps edges, and loses moments of one row
    # Shares of the curve's maximum. Several, because no share fits steep and flat events alike; the score
    # decides between nested segments. Half of the maximum alone is the common choice.
    relative: tuple[float, ...] = (0.3, 0.5, 0.7)
    # Probabilities. For calibrated curves only: what lies above means the same in every recording.
    absolute: tuple[float, ...] = ()
    leave: float = 1.0  # a run goes on down to this share of its threshold; below 1 is hysteresis
    close_gap_rows: int = 1  # an event that pauses for a second is one moment
    context_rows: int = 5  # on either side, what the contrast compares with
    weights: ScoreWeights | None = None  # none: a segment scores its mean, in [0, 1]
    nms_iou: float = 0.7  # segments that overlap a better one more are repetitions of it
    # union: overlap is the IoU. shorter: the share of the shorter one, so that none lies in another
    overlap: Literal["union", "shorter"] = "union"
    num_moments: int | None = 10  # of one curve; what the metrics look at
    min_score: float = 0.0  # moments below are no answers

    def __post_init__(self) -> None:
        _require(self.temperature > 0, "temperature must be positive")
        for name in ("smooth_rows", "context_rows"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1")
        _require(self.close_gap_rows >= 0, "close_gap_rows must not be negative")
        _require(bool(self.relative or self.absolute), "some threshold is needed, relative or absolute")
        _require(all(0 < t <= 1 for t in (*self.relative, *self.absolute)), "thresholds must lie in (0, 1]")
        _require(0 < self.leave <= 1, "leave must lie in (0, 1]")
        _require(0 <= self.nms_iou <= 1, "nms_iou must lie in [0, 1]")
        _require(self.num_moments is None or self.num_moments >= 1, "num_moments must be at least 1")


@dataclass(frozen=True, slots=True, config={"arbitrary_types_allowed": True})
class Segments:
    """Runs of rows of several curves, with what they look like; one entry a segment in every array."""

    curve: Integers  # which one it lies in
    start: Integers  # first row
    end: Integers  # row after the last
    statistics: Floats  # [segment, statistic], see STATISTICS
    mean: Floats  # of r inside, in [0, 1]

    def of_curve(self, place: int) -> slice:
        """The entries of one curve: segments come curve by curve."""
        first, last = np.searchsorted(self.curve, (place, place + 1))
        return slice(int(first), int(last))


def read_out(
    curves: Sequence[Curve],
    config: ReadoutConfig,
    *,
    row_s: Seconds,
    proposals: Sequence[Floats] = (),
) -> list[tuple[ScoredMoment, ...]]:
    """The moments of each curve, best first, in seconds from its start.

    Args:
        curves: logits, [row] each; lengths may differ, and an empty curve holds no moment.
        row_s: seconds from one row to the next.
        proposals: for each curve [moment, 2] onset and offset in seconds, found by somebody else: they join
            as candidates, and the curve scores them as it scores its own.

    Raises:
        ConfigError: a curve holds a number that is not finite.
    """
    segments = find_segments(curves, config, row_s=row_s, proposals=proposals)
    scores = segment_scores(segments, config.weights)
    return [
        _ranked(segments, scores, segments.of_curve(place), config, row_s) for place in range(len(curves))
    ]


def find_segments(
    curves: Sequence[Curve],
    config: ReadoutConfig,
    *,
    row_s: Seconds,
    proposals: Sequence[Floats] = (),
) -> Segments:
    """Candidates of every threshold, curve by curve, each once; what `read_out` scores and ranks."""
    lengths = np.array([len(curve) for curve in curves], dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(lengths)])
    r = smoothed_probability(curves, config)
    owner = np.repeat(np.arange(len(curves)), lengths)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for threshold in _thresholds(r, owner, begins, config):
        found.append(_runs(r, owner, threshold, config))
    for place, spans in enumerate(proposals):
        found.append(begins[place] + _rows_of(spans, int(lengths[place]), row_s))
    runs = np.unique(np.concatenate(found), axis=0)  # sorted by start, so curve by curve
    start, end = runs.T
    curve = owner[start] if len(runs) else np.zeros(0, dtype=np.int64)
    statistics, mean = _statistics(r, runs, begins[curve], begins[curve + 1], config.context_rows, row_s)
    return Segments(curve, start - begins[curve], end - begins[curve], statistics, mean)


def segment_scores(segments: Segments, weights: ScoreWeights | None) -> Floats:
    """[segment] in [0, 1]."""
    if weights is None:
        return segments.mean
    sizes = np.array([getattr(weights, name) for name in STATISTICS])
    return sigmoid(weights.intercept + segments.statistics @ sizes)


def smoothed_probability(curves: Sequence[Curve], config: ReadoutConfig) -> Floats:
    """[row of all curves, end to end] r, smoothed within each curve; edges use the rows that there are."""
    smooth = [_smooth(np.asarray(curve, dtype=np.float64), config) for curve in curves]
    return np.concatenate(smooth) if smooth else np.zeros(0)


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + exp(-z)), without overflow."""
    result: Floats = 1.0 / (1.0 + np.exp(-np.clip(z, -500, 500)))
    return result


def logit(r: Floats) -> Floats:
    """The inverse of `sigmoid`, bounded."""
    floor = np.exp(-LOGIT_BOUND)
    inside = np.clip(r, floor, 1 - 1e-13)
    result: Floats = np.log(inside) - np.log1p(-inside)
    return result


def distinct(spans: Floats, *, limit: int | None, most: float, overlap: str) -> list[int]:
    """Which of [segment, 2] spans stay, best first: each that overlaps no better one by more."""
    kept: list[int] = []
    starts, ends = np.empty(len(spans)), np.empty(len(spans))
    for place, (start, end) in enumerate(spans.tolist()):
        count = len(kept)
        inter = np.minimum(ends[:count], end) - np.maximum(starts[:count], start)
        lengths = ends[:count] - starts[:count]
        shared = np.minimum(lengths, end - start) if overlap == "shorter" else lengths + end - start - inter
        if not (inter > most * shared).any():
            starts[count], ends[count] = start, end
            kept.append(place)
            if len(kept) == limit:
                break
    return kept


def _ranked(
    segments: Segments, scores: Floats, members: slice, config: ReadoutConfig, row_s: Seconds
) -> tuple[ScoredMoment, ...]:
    """The moments of one curve."""
    score = scores[members]
    spans = np.stack([segments.start[members], segments.end[members]], axis=1).astype(np.float64)
    # of equal scores (but for rounding) the longer one, then the earlier
    order = np.lexsort((spans[:, 0], spans[:, 0] - spans[:, 1], -np.round(score, 9)))
    order = order[score[order] >= config.min_score]
    kept = distinct(spans[order], limit=config.num_moments, most=config.nms_iou, overlap=config.overlap)
    return tuple(
        ScoredMoment(float(spans[at, 0] * row_s), float(spans[at, 1] * row_s), round(float(score[at]), 4))
        for at in order[kept]
    )


def _smooth(z: Floats, config: ReadoutConfig) -> Floats:
    """[row] r of one curve."""
    if not np.isfinite(z).all():
        raise ConfigError("holds a number that is not finite", "curve", "check the model and its features")
    r = sigmoid((z - config.shift) / config.temperature)
    if config.smooth_rows == 1 or len(r) == 0:
        return r
    before = (config.smooth_rows - 1) // 2
    padded = np.pad(r, (before, config.smooth_rows - 1 - before), constant_values=np.nan)
    windows = sliding_window_view(padded, config.smooth_rows)
    middle: Floats = np.nanmean(windows, axis=1) if config.smooth == "mean" else np.nanmedian(windows, axis=1)
    return middle


def _thresholds(r: Floats, owner: Integers, begins: Integers, config: ReadoutConfig) -> list[Floats]:
    """[row] of each threshold, which differs from curve to curve where it is relative."""
    if len(r) == 0:
        return []
    full = begins[:-1] < begins[1:]
    highest = np.zeros(len(full))
    highest[full] = np.maximum.reduceat(r, begins[:-1][full])
    levels = [share * highest for share in config.relative]
    levels += [np.full(len(full), value) for value in config.absolute]
    return [level[owner] for level in levels]


def _runs(r: Floats, owner: Integers, threshold: Floats, config: ReadoutConfig) -> Integers:
    """[run, 2] first row and row after the last, of all curves laid end to end."""
    # the last bits of a smoothed curve decide nothing
    low = r >= config.leave * threshold - 1e-12
    fresh = np.concatenate([[True], owner[1:] != owner[:-1]])  # a curve's first row: no run goes on into it
    starts = np.flatnonzero(low & (fresh | ~np.concatenate([[False], low[:-1]])))
    lasts = np.flatnonzero(low & np.concatenate([fresh[1:] | ~low[1:], [True]]))
    if len(starts) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    apart = (starts[1:] - lasts[:-1] - 1 > config.close_gap_rows) | (owner[starts[1:]] != owner[lasts[:-1]])
    starts, ends = starts[np.r_[True, apart]], lasts[np.r_[apart, True]] + 1
    entered = np.concatenate([[0], np.cumsum(r >= threshold - 1e-12)])
    runs: Integers = np.stack([starts, ends], axis=1)[entered[ends] > entered[starts]]
    return runs


def _rows_of(spans: Floats, num_rows: int, row_s: Seconds) -> Integers:
    """[moment, 2] first row and row after the last; those of which no row is left are left out."""
    rows = np.clip(np.rint(np.reshape(spans, (-1, 2)) / row_s), 0, num_rows).astype(np.int64)
    left: Integers = rows[rows[:, 1] > rows[:, 0]]
    return left


def _statistics(
    r: Floats, runs: Integers, first: Integers, last: Integers, context: int, row_s: Seconds
) -> tuple[Floats, Floats]:
    """[segment, statistic], and [segment] mean of r; `first` and `last` bound each segment's own curve."""
    if len(runs) == 0:
        return np.zeros((0, len(STATISTICS))), np.zeros(0)
    start, end = runs.T
    sums = np.concatenate([[0.0], np.cumsum(r)])
    mean = np.clip((sums[end] - sums[start]) / (end - start), 0.0, 1.0)
    left, right = np.maximum(start - context, first), np.minimum(end + context, last)
    around = (sums[start] - sums[left]) + (sums[right] - sums[end])
    outside = around / np.maximum((start - left) + (right - end), 1)
    # maxima between neighbouring edges, of which the even ones are segments; one more row bounds the last
    edges = np.stack([start, end], axis=1).ravel()
    highest = np.maximum.reduceat(np.append(r, 0.0), edges)[::2]
    inside = logit(mean)
    columns = (
        inside,
        inside - logit(np.clip(outside, 0.0, 1.0)),
        logit(highest),
        np.log((end - start) * row_s),
    )
    return np.stack(columns, axis=1), mean


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConfigError(otherwise, "readout")
