"""What a set of scores says: the official figures, and what they hide.

Single runs of this task differ by 1.5 points of R1@0.7 from seed to seed, so every headline carries a
bootstrap interval over queries; breakdowns say which moments are found, calibration what a score is worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amr_model.scoring.metrics import (
    LENGTH_RANGE_S,
    THRESHOLDS,
    Floats,
    QueryScores,
    official_result,
    recall_at,
    score_queries,
)
from clotho_long.core.figures import save_figure
from clotho_long.core.predictions import Prediction
from clotho_long.core.records import Query
from clotho_long.core.seeds import generator

LENGTH_BANDS_S = {"<= 3 s": (0, 3), "3-10 s": (3, 10), "10-30 s": (10, 30), "> 30 s": (30, LENGTH_RANGE_S[1])}
NUMBER_BANDS = {"1": (1, 1), "2": (2, 2), "3-5": (3, 5), "> 5": (6, math.inf)}
SHOWN_IOUS = (0.5, 0.7)
RESAMPLES = 2000
LEVEL = 0.95
CALIBRATION_BINS = 10
# Raised when the same predictions get other figures, or more of them: pipelines then score anew.
SCORING_VERSION = 1


def evaluate(
    queries: Sequence[Query], predictions: Sequence[Prediction], *, official: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Everything that is written to metrics.json, as JSON-like values; percentages throughout.

    `brief` and `full`: the official evaluator's result. `more`: R5, the R1 that a perfect ranking of the
    ten windows would have, and the share of true moments that any of the ten meets. Then `intervals` (95 %),
    `by_length`, `by_number`, `calibration`, and `counts` of what was scored and what was not.

    Args:
        official: leave unanswered queries out, as the official evaluator does; by default they are misses.
        seed: of the bootstrap.
    """
    scores = score_queries(queries, predictions, official=official)
    return {
        **official_result(scores),
        "more": _more(scores),
        "intervals": {
            name: list(interval) for name, interval in bootstrap(headline_values(scores), seed=seed).items()
        },
        "by_length": _by_length(queries, predictions, official=official),
        "by_number": _by_number(scores),
        "calibration": calibration(scores),
        "counts": {
            "queries": len(scores.qids),
            "moments": len(scores.moment_ious),
            "unanswered": scores.num_missing,
            "unanswered_are": "left out" if official else "misses",
            "unknown_predictions": scores.num_unknown,
            "without_truth": scores.num_without_truth,
        },
    }


def headline_values(scores: QueryScores) -> dict[str, Floats]:
    """[query] percentages whose means are the headline figures; what the bootstrap resamples."""
    values = {f"R1@{iou}": 100.0 * (scores.first_iou >= iou) for iou in SHOWN_IOUS}
    return {**values, "mAP": 100.0 * scores.average_precision.mean(axis=1)}


def bootstrap(
    values: Mapping[str, Floats], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of each mean over queries (Efron, 1979); the same queries for every figure.

    Give differences of two systems on the same queries to learn whether one is better.
    """
    matrix = np.stack(list(values.values()), axis=1)
    num_queries = len(matrix)
    rng = generator(seed, "bootstrap", str(num_queries))
    # how often each query is drawn says all that a resample does to a mean
    counts = rng.multinomial(num_queries, np.full(num_queries, 1 / num_queries), size=resamples)
    means = counts @ matrix / num_queries
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {
        name: (round(float(a), 2), round(float(b), 2)) for name, a, b in zip(values, low, high, strict=True)
    }


def calibration(scores: QueryScores) -> dict[str, Any] | None:
    """How often a window of a given score is right, in ten equal bins; None unless scores lie in [0, 1].

    `error` is the expected calibration error: the mean distance of score and share of right windows,
    weighted by the windows of each bin.
    """
    listed = ~np.isnan(scores.predicted_scores)
    score, iou = scores.predicted_scores[listed], scores.predicted_ious[listed]
    if score.size == 0 or score.min() < 0 or score.max() > 1:
        return None
    place = np.minimum((score * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    count = np.bincount(place, minlength=CALIBRATION_BINS)
    filled = np.maximum(count, 1)
    mean_score = np.bincount(place, weights=score, minlength=CALIBRATION_BINS) / filled
    result: dict[str, Any] = {"windows": count.tolist(), "score": _rounded(mean_score, 4)}
    for threshold in SHOWN_IOUS:
        share = np.bincount(place, weights=iou >= threshold, minlength=CALIBRATION_BINS) / filled
        result[f"share@{threshold}"] = _rounded(share, 4)
        result[f"error@{threshold}"] = round(float((count * abs(share - mean_score)).sum() / count.sum()), 4)
    return result


def table(report: Mapping[str, Any]) -> str:
    """The report for people: headlines with intervals, then the breakdowns."""
    full, more, counts = report["full"], report["more"], report["counts"]
    lines = [f"{counts['queries']} queries, {counts['moments']} moments"]
    if counts["unanswered"]:
        lines.append(f"{counts['unanswered']} queries without a prediction are {counts['unanswered_are']}")
    if counts["unknown_predictions"]:
        lines.append(
            f"{counts['unknown_predictions']} predictions for queries that are not asked are ignored"
        )
    if counts["without_truth"]:
        lines.append(f"{counts['without_truth']} queries without a moment in range are left out")
    lines += ["", f"{'':<24}{'%':>7}   95 % interval"]
    for name, value in {
        **{f"R1@{iou}": full["MR-R1"][str(iou)] for iou in SHOWN_IOUS},
        "mAP": full["MR-mAP"]["average"],
    }.items():
        low, high = report["intervals"][name]
        lines.append(f"{name:<24}{value:>7.2f}   {low:.2f} to {high:.2f}")
    lines += [f"mAP@{iou:<20}{full['MR-mAP'][str(iou)]:>7.2f}" for iou in (0.5, 0.75)]
    lines += [f"{name:<24}{value:>7.2f}" for name, value in more.items()]
    for title, key in (("moment length", "by_length"), ("moments of a query", "by_number")):
        lines += [
            "",
            f"{title:<20}{'queries':>8}{'moments':>8}{'R1@0.5':>8}{'R1@0.7':>8}{'mAP':>8}{'found':>8}",
        ]
        for band, row in report[key].items():
            figures = "".join(f"{row[name]:>8.2f}" for name in ("R1@0.5", "R1@0.7", "mAP", "found@0.5"))
            lines.append(f"{band:<20}{row['queries']:>8}{row['moments']:>8}{figures}")
    lines += ["", "found: true moments that one of the ten windows meets with IoU >= 0.5"]
    if report["calibration"] is not None:
        error = report["calibration"]["error@0.5"]
        lines.append(f"scores are off by {error:.3f} on average as probabilities of IoU >= 0.5")
    return "\n".join(lines) + "\n"


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Three panels: R1 over the IoU threshold, R1@0.5 and found moments by length, and calibration."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    recall, length, reliability = figure.subplots(1, 3)
    recall.plot(THRESHOLDS, list(report["full"]["MR-R1"].values()), marker="o", label="R1")
    recall.plot(THRESHOLDS, list(report["full"]["MR-mAP"].values())[:-1], marker="s", label="mAP")
    recall.set(xlabel="IoU threshold", ylabel="%", title="Recall of the first window, precision")
    recall.set_ylim(bottom=0)
    bands = report["by_length"]
    places = np.arange(len(bands))
    for shift, name, label in ((-0.2, "R1@0.5", "R1@0.5"), (0.2, "found@0.5", "found by one of ten")):
        length.bar(places + shift, [row[name] for row in bands.values()], width=0.4, label=label)
    length.set_xticks(places, list(bands))
    length.set(xlabel="moment length", ylabel="%", title="By length of the moment", ylim=(0, 100))
    reliability.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="as probabilities")
    if report["calibration"] is not None:
        filled = [at for at, count in enumerate(report["calibration"]["windows"]) if count]
        for threshold in SHOWN_IOUS:
            share = report["calibration"][f"share@{threshold}"]
            reliability.plot(
                [report["calibration"]["score"][at] for at in filled],
                [share[at] for at in filled],
                marker="o",
                label=f"IoU >= {threshold}",
            )
    reliability.set(xlabel="score", ylabel="share of windows that are right", title="Calibration")
    reliability.set(xlim=(0, 1), ylim=(0, 1.02))
    for axes in (recall, length, reliability):  # below, where they hide nothing
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _more(scores: QueryScores) -> dict[str, float]:
    found = {f"found@{iou}": _percent(scores.moment_ious >= iou) for iou in SHOWN_IOUS}
    return {
        **{f"R5@{iou}": round(recall_at(scores.best_of_five, iou), 2) for iou in SHOWN_IOUS},
        **{f"oracle R1@{iou}": round(recall_at(scores.best_of_ten, iou), 2) for iou in SHOWN_IOUS},
        **found,
    }


def _by_length(
    queries: Sequence[Query], predictions: Sequence[Prediction], *, official: bool
) -> dict[str, dict[str, float]]:
    """Scores against the moments of one length band only, by the official range filter."""
    asked = {query.qid for query in queries}
    answered = {p.qid for p in predictions if p.moments} if official else asked
    breakdown = {}
    for band, (low, high) in LENGTH_BANDS_S.items():
        if any(
            low < m.duration_s <= high for query in queries if query.qid in answered for m in query.moments
        ):
            scores = score_queries(queries, predictions, official=official, length_range_s=(low, high))
            breakdown[band] = _row(scores, np.arange(len(scores.qids)))
    return breakdown


def _by_number(scores: QueryScores) -> dict[str, dict[str, float]]:
    numbers = np.bincount(scores.moment_query, minlength=len(scores.qids))
    rows = {
        band: np.flatnonzero((numbers >= low) & (numbers <= high))
        for band, (low, high) in NUMBER_BANDS.items()
    }
    return {band: _row(scores, members) for band, members in rows.items() if len(members)}


def _row(scores: QueryScores, members: Any) -> dict[str, float]:
    """The figures of some queries, by their rows."""
    of_members = np.isin(scores.moment_query, members)
    means = {
        name: round(float(values[members].mean()), 2) for name, values in headline_values(scores).items()
    }
    return {
        "queries": len(members),
        "moments": int(of_members.sum()),
        **means,
        "found@0.5": _percent(scores.moment_ious[of_members] >= SHOWN_IOUS[0]),
    }


def _percent(holds: Any) -> float:
    return round(100 * float(np.mean(holds)), 2)


def _rounded(values: Floats, decimals: int) -> list[float]:
    return [round(float(value), decimals) for value in values]
