from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_model.roc import area_under_roc
from amr_model.scoring.absent import absent_lines, absent_report
from tests.retrieval_builders import make_prediction, make_query


def test_the_area_under_roc_counts_pairs_and_halves_ties():
    scores, positive = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])
    assert area_under_roc(scores, positive) == (1 + 1 + 0.5 + 1) / 4
    assert math.isnan(area_under_roc(scores, np.ones(4, dtype=bool)))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_under_roc_is_the_share_of_pairs_in_order(pairs):
    scores = np.array([float(score) for score, _ in pairs])
    positive = np.array([kind for _, kind in pairs])
    expected = [1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[positive] for b in scores[~positive]]
    if expected:
        assert area_under_roc(scores, positive) == pytest.approx(np.mean(expected))


def test_absent_queries_count_what_is_answered_and_how_often_an_hour():
    present = [make_prediction("q1", [(0, 5, 0.9)]), make_prediction("q2", [(0, 5, 0.3), (6, 9, 0.2)])]
    absent = [make_prediction("a1", [(0, 5, 0.6), (7, 8, 0.5), (9, 10, 0.1)]), make_prediction("a2", [])]
    queries = [make_query("a1", [], duration_s=1200.0), make_query("a2", [], duration_s=600.0)]
    report = absent_report(present, absent, queries, presence=([0.8, 0.4], [0.5, 0.1]), min_score=0.4)
    assert report == {
        "queries": 2,
        "roc_top_score": 0.75,
        "roc_presence": 0.75,
        "min_score": 0.4,
        "answered_absent": 50.0,
        "answered_present": 50.0,
        "false_answers_an_hour": 4.0,
    }
    text = "\n".join(absent_lines(report))
    assert "2 queries" in text
    assert "4.0 moments an hour" in text


def test_without_calibration_there_is_no_presence():
    answers = [make_prediction("q1"), make_prediction("q2")]
    report = absent_report(
        answers[:1], answers[1:], [make_query("q2", [])], presence=([None], [None]), min_score=0.0
    )
    assert report["roc_presence"] is None
    assert "by presence" not in "\n".join(absent_lines(report))
