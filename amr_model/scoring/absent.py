"""What an evaluation says of recordings that do not hold what they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from amr_model.roc import area_under_roc
from clotho_long.core.predictions import Prediction
from clotho_long.core.records import Query
from clotho_long.core.units import Seconds

SECONDS_AN_HOUR = 3600.0


class AbsentReport(TypedDict):
    """Figures of `absent_report`."""

    queries: int  # asked of a recording that does not hold them
    roc_top_score: float  # area under the curve, by the score of the first moment
    roc_presence: float | None  # the same by presence; None if the model is not calibrated
    min_score: float  # what counts as an answer in the rest
    answered_absent: float  # percent of absent queries that are answered all the same
    answered_present: float  # percent of queries with a moment that are answered
    false_answers_an_hour: float  # moments given to absent queries, an hour of sound and query


def absent_report(
    present: Sequence[Prediction],
    absent: Sequence[Prediction],
    absent_queries: Sequence[Query],
    *,
    presence: tuple[Sequence[float | None], Sequence[float | None]],
    min_score: float,
) -> AbsentReport:
    """How well answers tell recordings that hold a query from those that do not.

    Args:
        present, absent: answers to queries that the recording holds, and does not hold.
        presence: of the recordings of `present` and of `absent`.
        min_score: from which a moment counts as an answer.
    """
    holds = np.arange(len(present) + len(absent)) < len(present)
    top = np.array([max((m.score for m in p.moments), default=0.0) for p in (*present, *absent)])
    answered = top >= min_score
    held = [*presence[0], *presence[1]]
    known = [value for value in held if value is not None]
    false = sum(moment.score >= min_score for p in absent for moment in p.moments)
    asked_s: Seconds = sum(query.duration_s for query in absent_queries)
    return AbsentReport(
        queries=len(absent),
        roc_top_score=round(area_under_roc(top, holds), 4),
        roc_presence=round(area_under_roc(np.array(known), holds), 4) if len(known) == len(held) else None,
        min_score=min_score,
        answered_absent=_percent(answered[~holds]),
        answered_present=_percent(answered[holds]),
        false_answers_an_hour=round(false / asked_s * SECONDS_AN_HOUR, 2),
    )


def absent_lines(report: AbsentReport) -> list[str]:
    """The report for people."""
    lines = [
        "",
        f"asked of recordings that do not hold them: {report['queries']} queries",
        f"{'area under ROC':<24}{report['roc_top_score']:>7.3f}   by the first moment's score",
    ]
    if report["roc_presence"] is not None:
        lines.append(f"{'':<24}{report['roc_presence']:>7.3f}   by presence")
    return [
        *lines,
        f"at a score of {report['min_score']:g} and above, {report['answered_absent']:.1f} % of them are "
        f"answered ({report['false_answers_an_hour']:.1f} moments an hour), and "
        f"{report['answered_present']:.1f} % of those that are there",
    ]


def _percent(holds: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    return round(100 * float(np.mean(holds)), 2)
