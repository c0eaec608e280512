"""R1@IoU and mAP as the official evaluator computes them, for all queries at once.

After Lighthouse `training/standalone_eval/eval.py` and `utils.py` (d095eaa), which follow Moment-DETR and
ActivityNet: the same figures after rounding and the same per-query values to 1e-12. What differs by default,
and is the same again with `official=True`: a query without predictions is a miss, not left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ManifestError
from clotho_long.core.predictions import MAX_RANKED, Prediction
from clotho_long.core.records import Query

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
LENGTH_RANGE_S = (0.0, 1500.0)  # the official range; true moments of no length or above it do not count
QUERIES_AT_ONCE = (
    128  # small enough for the cache, and queries with few moments do not pad to those with many
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class QueryScores:
    """Scores of each query, unrounded; everything that is reported is a mean of these.

    `rank` counts the first ten listed moments, `moment` all true ones of all queries in one row.
    """

    qids: tuple[str, ...]
    average_precision: Floats  # [query, threshold]
    first_iou: Floats  # [query] first listed moment against its best moment
    predicted_ious: Floats  # [query, rank] each against its best moment, in the order listed; 0 where absent
    predicted_scores: Floats  # [query, rank] as written in the prediction; NaN where absent
    moment_query: Integers  # [moment] row of the query
    moment_length_s: Floats  # [moment]
    moment_ious: Floats  # [moment] best IoU that any of the ten listed reaches
    num_missing: int  # queries without a prediction (misses, or left out if official)
    num_unknown: int  # predictions whose query is not asked
    num_without_truth: int  # queries left out because no true moment is in range

    @property
    def best_of_five(self) -> Floats:
        """[query] best IoU among the first five."""
        return _row_maximum(self.predicted_ious[:, :5])

    @property
    def best_of_ten(self) -> Floats:
        """[query] best IoU among the ten: what a perfect ranking would put first."""
        return _row_maximum(self.predicted_ious)


def score_queries(
    queries: Sequence[Query],
    predictions: Sequence[Prediction],
    *,
    official: bool = False,
    length_range_s: tuple[float, float] = LENGTH_RANGE_S,
) -> QueryScores:
    """Score predictions against annotations, in the order of the annotations.

    Args:
        official: leave queries without predictions out, as the official evaluator does with unequal qids.
        length_range_s: only moments with low < length <= high count; queries without one are left out.

    Raises:
        ManifestError: a qid occurs twice on either side, or no query is left to score.
    """
    by_qid = _indexed([(p.qid, p) for p in predictions], "predictions")
    asked = _indexed([(q.qid, q) for q in queries], "annotations")
    low, high = length_range_s
    truths = {qid: [m for m in query.moments if low < m.duration_s <= high] for qid, query in asked.items()}
    in_range = [qid for qid, moments in truths.items() if moments]
    missing = [qid for qid in in_range if qid not in by_qid or not by_qid[qid].moments]
    absent = set(missing)
    scored = [qid for qid in in_range if qid not in absent] if official else in_range
    if not scored:
        raise ManifestError(
            "no query is left to score", "annotations", "check that both files are of one split"
        )
    windows = [() if qid in absent else by_qid[qid].moments[:MAX_RANKED] for qid in scored]
    spans = _pad([[(m.onset_s, m.offset_s) for m in ranked] for ranked in windows], MAX_RANKED)
    scores = np.full((len(scored), MAX_RANKED), np.nan)
    for row, ranked in enumerate(windows):
        scores[row, : len(ranked)] = [moment.score for moment in ranked]
    moments = [[(m.onset_s, m.offset_s) for m in truths[qid]] for qid in scored]
    return QueryScores(
        qids=tuple(scored),
        num_missing=len(missing),
        num_unknown=len(set(by_qid) - set(asked)),
        num_without_truth=len(asked) - len(in_range),
        **_score_arrays(spans, scores, moments),
    )


def recall_at(ious: Floats, threshold: float) -> float:
    """Percentage of queries whose IoU reaches the threshold: R1 of `first_iou`, R5 of `best_of_five`."""
    return float(np.mean(ious >= threshold) * 100)


def official_result(scores: QueryScores) -> dict[str, Any]:
    """The result dictionary of the official evaluator: percent, two decimals."""
    precision = 100 * scores.average_precision.mean(axis=0)
    mean_ap = {str(t): _two_decimals(value) for t, value in zip(THRESHOLDS, precision, strict=True)}
    mean_ap["average"] = _two_decimals(precision.mean())
    recall = {str(t): _two_decimals(recall_at(scores.first_iou, t)) for t in THRESHOLDS}
    return {
        "brief": {
            "MR-full-R1@0.5": recall["0.5"],
            "MR-full-R1@0.7": recall["0.7"],
            "MR-full-mAP": mean_ap["average"],
            "MR-full-mAP@0.5": mean_ap["0.5"],
            "MR-full-mAP@0.75": mean_ap["0.75"],
        },
        "full": {"MR-mAP": mean_ap, "MR-R1": recall},
    }


def _score_arrays(spans: Floats, scores: Floats, moments: list[list[tuple[float, float]]]) -> dict[str, Any]:
    """The arrays of `QueryScores` from padded predictions [query, rank, 2] and the moments of each query."""
    counts = np.array([len(row) for row in moments])
    average_precision = np.zeros((len(moments), len(THRESHOLDS)))
    first_iou, predicted_ious = np.zeros(len(moments)), np.zeros(scores.shape)
    starts = np.concatenate([[0], np.cumsum(counts)])
    moment_ious = np.zeros(starts[-1])
    order = np.argsort(counts, kind="stable")
    for rows in np.split(order, range(QUERIES_AT_ONCE, len(order), QUERIES_AT_ONCE)):
        truth = _pad([moments[row] for row in rows], int(counts[rows].max()))
        ious = _ious(spans[rows], truth)
        average_precision[rows] = _average_precision(ious, scores[rows], counts[rows])
        first_iou[rows] = _first_iou(spans[rows, 0], truth, ious[:, 0])
        predicted_ious[rows] = np.maximum(ious.max(axis=2), 0)
        best = np.maximum(ious.max(axis=1), 0)
        for place, row in enumerate(rows):
            moment_ious[starts[row] : starts[row + 1]] = best[place, : counts[row]]
    lengths = np.array([end - start for row in moments for start, end in row])
    return {
        "average_precision": average_precision,
        "first_iou": first_iou,
        "predicted_ious": predicted_ious,
        "predicted_scores": scores,
        "moment_query": np.repeat(np.arange(len(moments)), counts),
        "moment_length_s": lengths,
        "moment_ious": moment_ious,
    }


def _ious(spans: Floats, truth: Floats) -> Floats:
    """[query, rank, moment]; -1 where either is padding (NaN)."""
    a, b = spans[:, :, None], truth[:, None]
    inter = np.clip(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
    # this order of additions, because a match is decided by >= on the last bit
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inter
    return np.divide(inter, union, out=np.where(np.isnan(union), -1.0, 0.0), where=union > 0)


def _first_iou(first: Floats, truth: Floats, ious: Floats) -> Floats:
    """[query] IoU of the first listed with the moment that it overlaps most, 0 without one.

    The official R1 divides by the hull, AP by the union: equal on overlap, but not to the last bit.
    """
    best = np.take_along_axis(truth, ious.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    inter = np.minimum(first[:, 1], best[:, 1]) - np.maximum(first[:, 0], best[:, 0])
    hull = np.maximum(first[:, 1], best[:, 1]) - np.minimum(first[:, 0], best[:, 0])
    return np.where(inter > 0, inter / hull, 0.0)


def _average_precision(ious: Floats, scores: Floats, counts: Integers) -> Floats:
    """[query, threshold] from [query, rank, moment] IoUs in the order listed."""
    by_score = np.argsort(np.where(np.isnan(scores), np.inf, -scores), axis=1, kind="stable")
    ious = np.take_along_axis(ious, by_score[:, :, None], axis=1)
    # moments reversed, so that argmax resolves equal IoUs in favour of the moment listed last
    ious = ious[:, None, :, ::-1]
    thresholds = np.array(THRESHOLDS)[:, None]
    num_queries, _, num_predicted, num_moments = ious.shape
    free = np.ones((num_queries, len(THRESHOLDS), num_moments), dtype=bool)
    hits = np.zeros((num_queries, len(THRESHOLDS), num_predicted))
    for rank in range(num_predicted):
        matches = free & (ious[:, :, rank] >= thresholds)
        hit = matches.any(axis=2)
        best = np.where(matches, ious[:, :, rank], -1.0).argmax(axis=2)
        query, threshold = np.nonzero(hit)
        free[query, threshold, best[query, threshold]] = False
        hits[:, :, rank] = hit
    precision = hits.cumsum(axis=2) / np.arange(1, num_predicted + 1)
    envelope = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
    result: Floats = (hits * envelope).sum(axis=2) / counts[:, None]
    return result


def _pad(rows: Sequence[Sequence[Any]], width: int) -> Floats:
    """[row, width, 2], NaN where a row is shorter."""
    padded = np.full((len(rows), width, 2), np.nan)
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    values = [value for row in rows for value in row]
    if values:
        padded[np.arange(width) < counts[:, None]] = values
    return padded


def _indexed(pairs: list[tuple[str, Any]], side: str) -> dict[str, Any]:
    index = dict(pairs)
    if len(index) < len(pairs):
        twice = next(qid for qid, count in Counter(qid for qid, _ in pairs).items() if count > 1)
        raise ManifestError(f"qid {twice} occurs twice", side, "keep one line for each query")
    return index


def _row_maximum(values: Floats) -> Floats:
    maximum: Floats = values.max(axis=1)
    return maximum


def _two_decimals(value: float) -> float:
    return float(f"{value:.2f}")
