from __future__ import annotations

import json

import numpy as np
import pytest

from amr_model.scoring.metrics import score_queries
from amr_model.scoring.report import bootstrap, calibration, evaluate, headline_values, plot, table
from tests.retrieval_builders import make_prediction, make_query


def make_case(count: int = 60, seed: int = 0):
    """Queries of 1 to 7 moments of many lengths, and predictions of which about half are right."""
    rng = np.random.default_rng(seed)
    queries, predictions = [], []
    for at in range(count):
        onsets = np.sort(rng.choice(28, size=rng.integers(1, 8), replace=False)) * 10.0
        moments = [(onset, onset + rng.choice([1, 2.5, 6, 9])) for onset in onsets]
        queries.append(make_query(f"q{at}", moments, duration_s=300))
        windows = [
            (a, b + rng.integers(0, 3) * (rng.random() < 0.5), round(rng.random(), 3)) for a, b in moments
        ]
        predictions.append(make_prediction(f"q{at}", sorted(windows, key=lambda w: -w[2])))
    return queries, predictions


def test_the_report_is_json_and_the_same_every_time():
    case = make_case()
    assert json.loads(json.dumps(evaluate(*case))) == evaluate(*case)


def test_bands_partition_queries_and_moments():
    queries, predictions = make_case()
    report = evaluate(queries, predictions)
    assert sum(row["queries"] for row in report["by_number"].values()) == report["counts"]["queries"] == 60
    assert sum(row["moments"] for row in report["by_length"].values()) == report["counts"]["moments"]
    assert set(report["by_length"]) == {"<= 3 s", "3-10 s"}  # bands without a moment are left out


def test_a_moment_of_three_seconds_is_short():
    report = evaluate([make_query("a", [(0, 3)])], [make_prediction("a", [(0, 3, 0.5)])])
    assert list(report["by_length"]) == ["<= 3 s"]
    assert report["by_length"]["<= 3 s"]["R1@0.7"] == 100.0


def test_an_oracle_is_never_worse_than_a_ranking():
    more, brief = (evaluate(*make_case())[key] for key in ("more", "brief"))
    for iou in (0.5, 0.7):
        assert brief[f"MR-full-R1@{iou}"] <= more[f"R5@{iou}"] <= more[f"oracle R1@{iou}"]


def test_found_moments_are_counted_over_moments_not_queries():
    query = make_query("a", [(0, 10), (20, 30), (40, 50), (60, 70)])
    report = evaluate([query], [make_prediction("a", [(0, 10, 0.9), (20, 30, 0.8)])])
    assert report["more"]["found@0.5"] == 50.0
    assert report["more"]["oracle R1@0.5"] == 100.0


def test_unanswered_queries_are_reported_as_misses_or_left_out():
    queries, predictions = make_case()
    report = evaluate(queries, predictions[:50])
    assert report["counts"]["unanswered"] == 10
    assert "10 queries without a prediction are misses" in table(report)
    official = evaluate(queries, predictions[:50], official=True)
    assert official["counts"]["queries"] == 50
    assert "10 queries without a prediction are left out" in table(official)
    assert official["brief"]["MR-full-R1@0.5"] > report["brief"]["MR-full-R1@0.5"]


def test_intervals_hold_the_figure_and_narrow_with_queries():
    few, many = make_case(40), make_case(1000)
    widths = []
    for queries, predictions in (few, many):
        report = evaluate(queries, predictions)
        low, high = report["intervals"]["R1@0.7"]
        assert low < report["brief"]["MR-full-R1@0.7"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3  # five times fewer in theory


def test_bootstrap_agrees_with_the_normal_interval_of_a_mean():
    values = np.random.default_rng(0).normal(50, 10, 2000)
    low, high = bootstrap({"mean": values}, seed=1)["mean"]
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.1)
    assert high == pytest.approx(values.mean() + half, abs=0.1)


def test_bootstrap_hangs_on_its_seed():
    values = headline_values(score_queries(*make_case()))
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_calibration_of_scores_that_are_right_as_often_as_they_say():
    rng = np.random.default_rng(0)
    scores = rng.random(4000).round(3)
    right = rng.random(4000) < scores
    queries = [make_query(f"q{at}", [(0, 10)]) for at in range(4000)]
    predictions = [
        make_prediction(f"q{at}", [(0 if hit else 100, 10 if hit else 110, score)])
        for at, (hit, score) in enumerate(zip(right, scores, strict=True))
    ]
    result = calibration(score_queries(queries, predictions))
    assert sum(result["windows"]) == 4000
    assert result["error@0.5"] < 0.03
    overconfident = [make_prediction(p.qid, [(*p.moments[0][:2], 1.0)]) for p in predictions]
    assert calibration(score_queries(queries, overconfident))["error@0.5"] == pytest.approx(0.5, abs=0.03)


def test_scores_that_are_no_probabilities_have_no_calibration():
    report = evaluate([make_query("a")], [make_prediction("a", [(2, 5, 7.5)])])
    assert report["calibration"] is None
    assert "probabilities" not in table(report)


def test_the_picture_is_written_whole(tmp_path):
    plot(evaluate(*make_case()), tmp_path / "metrics.png")
    assert (tmp_path / "metrics.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.png"]
