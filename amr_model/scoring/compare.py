"""Whether one system answers the same queries better than another, and which.

Queries differ far more among each other than two systems do on one of them: intervals are of the differences,
query by query. As those of a single evaluation they say nothing of the spread over training seeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from amr_model.scoring.metrics import THRESHOLDS, Floats, QueryScores, score_queries
from amr_model.scoring.report import SHOWN_IOUS, bootstrap, headline_values
from clotho_long.core.errors import ManifestError
from clotho_long.core.predictions import Prediction
from clotho_long.core.records import Query
from clotho_long.core.texts import one_line

if TYPE_CHECKING:
    import pandas as pd

AP_IOUS = (0.5, 0.75)  # beside the mean over all, as the official result lists them
ORDERED_BY = "mAP"  # queries are, by its difference
QUERY_LETTERS = 60  # of a sentence in the table


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure of two systems, percent."""

    a: float
    b: float
    difference: float  # b - a, before the two are rounded
    interval: tuple[float, float]  # 95 % of the difference, over queries
    won: int  # queries that b answers better
    lost: int  # queries that a answers better
    equal: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ComparedQuery:
    """One query as two systems answer it, percent."""

    qid: str
    recording: str
    query: str
    a: dict[str, float]  # by figure
    b: dict[str, float]
    first_iou_a: float  # of the first listed window with its best moment, 0 to 1
    first_iou_b: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two systems on the same queries."""

    figures: dict[str, Difference]
    queries: tuple[ComparedQuery, ...]  # those first whose mAP differs most
    unanswered: tuple[int, int]  # queries without a prediction, which are misses
    without_truth: int  # queries that are left out because no true moment is in range


def compare(
    queries: Sequence[Query], a: Sequence[Prediction], b: Sequence[Prediction], *, seed: int = 0
) -> Comparison:
    """Score the predictions of two systems for the same queries and pair them. An unanswered query is a miss.

    Args:
        seed: of the bootstrap.

    Raises:
        ManifestError: as `score_queries`, or a prediction is for a query that is not asked (`check_asked`).
    """
    for predictions in (a, b):
        check_asked(queries, predictions)
    scores = score_queries(queries, a), score_queries(queries, b)
    values_a, values_b = (query_values(own) for own in scores)
    changes = {name: values_b[name] - values_a[name] for name in values_a}
    intervals = bootstrap(changes, seed=seed)
    figures = {
        name: Difference(
            a=_two(values_a[name].mean()),
            b=_two(values_b[name].mean()),
            difference=_two(change.mean()),
            interval=intervals[name],
            won=int((change > 0).sum()),
            lost=int((change < 0).sum()),
            equal=int((change == 0).sum()),
        )
        for name, change in changes.items()
    }
    asked = {query.qid: query for query in queries}
    first_a, first_b = (own.first_iou for own in scores)
    rows = np.lexsort((-abs(first_b - first_a), -abs(changes[ORDERED_BY])))  # the last key counts first
    return Comparison(
        figures=figures,
        queries=tuple(
            ComparedQuery(
                qid=(qid := scores[0].qids[row]),
                recording=asked[qid].recording_id,
                query=asked[qid].query,
                a={name: _two(values[row]) for name, values in values_a.items()},
                b={name: _two(values[row]) for name, values in values_b.items()},
                first_iou_a=round(float(first_a[row]), 4),
                first_iou_b=round(float(first_b[row]), 4),
            )
            for row in rows
        ),
        unanswered=(scores[0].num_missing, scores[1].num_missing),
        without_truth=scores[0].num_without_truth,
    )


def query_values(scores: QueryScores) -> dict[str, Floats]:
    """[query] percentages whose means are the figures that are compared."""
    precision = {f"mAP@{iou}": scores.average_precision[:, THRESHOLDS.index(iou)] for iou in AP_IOUS}
    return {
        **headline_values(scores),
        **{name: 100.0 * values for name, values in precision.items()},
        **{f"R5@{iou}": 100.0 * (scores.best_of_five >= iou) for iou in SHOWN_IOUS},
    }


def check_asked(queries: Sequence[Query], predictions: Sequence[Prediction], where: object = "") -> None:
    """Whether predictions answer these queries, and not others with the same ids.

    Raises:
        ManifestError: a qid is not asked, or it is asked of another recording; `where` says whose.
    """
    asked = {query.qid: query for query in queries}
    for prediction in predictions:
        query = asked.get(prediction.qid)
        if query is None:
            problem = f"qid {prediction.qid} is not among the queries"
        elif prediction.recording_id not in ("", query.recording_id):  # others' files may leave it out
            problem = (
                f"qid {prediction.qid} is of recording {prediction.recording_id}, not {query.recording_id}"
            )
        else:
            continue
        raise ManifestError(problem, where, "compare runs on the same annotations")


def as_table(comparison: Comparison) -> pd.DataFrame:
    """A row for each query: qid, recording, query, each figure of a and of b, IoU of the first windows."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "qid": compared.qid,
                "recording": compared.recording,
                "query": compared.query,
                **{f"{name}_a": value for name, value in compared.a.items()},
                **{f"{name}_b": value for name, value in compared.b.items()},
                "first_iou_a": compared.first_iou_a,
                "first_iou_b": compared.first_iou_b,
            }
            for compared in comparison.queries
        ]
    )


def as_lines(comparison: Comparison, *, top: int) -> list[str]:
    """The comparison for people: figures with intervals, then the `top` queries that differ most."""
    lines = [f"{len(comparison.queries)} queries"]
    for name, count in zip("AB", comparison.unanswered, strict=True):
        if count:
            lines.append(f"{count} queries without a prediction of {name} are misses")
    if comparison.without_truth:
        lines.append(f"{comparison.without_truth} queries without a moment in range are left out")
    lines += [
        "",
        f"{'%':<10}{'A':>8}{'B':>8}{'B - A':>8}   {'95 % interval':<18}{'B better':>9}{'A better':>9}",
    ]
    for name, figure in comparison.figures.items():
        interval = f"{figure.interval[0]:.2f} to {figure.interval[1]:.2f}"
        lines.append(
            f"{name:<10}{figure.a:>8.2f}{figure.b:>8.2f}{figure.difference:>+8.2f}   {interval:<18}"
            f"{figure.won:>9}{figure.lost:>9}"
        )
    different = [query for query in comparison.queries[:top] if query.a[ORDERED_BY] != query.b[ORDERED_BY]]
    if different:
        lines += ["", f"{'mAP':<6}{'A':>8}{'B':>8}   the queries that differ most"]
    for query in different:
        sentence = one_line(query.query)
        short = sentence if len(sentence) <= QUERY_LETTERS else f"{sentence[: QUERY_LETTERS - 2]} …"
        figures = f"{query.a[ORDERED_BY]:>14.2f}{query.b[ORDERED_BY]:>8.2f}"
        lines.append(f"{figures}   {query.qid}: {short} ({one_line(query.recording)})")
    return lines


def _two(value: float) -> float:
    return round(float(value), 2)
