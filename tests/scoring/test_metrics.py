from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.scoring.metrics import THRESHOLDS, official_result, recall_at, score_queries
from clotho_long.core.errors import ManifestError
from clotho_long.core.predictions import read_predictions
from tests.retrieval_builders import GOLDEN, make_prediction, make_query

SMALL = json.loads((Path(__file__).parents[1] / "golden" / "metrics_small.json").read_text())


def golden_queries(name):
    lines = [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]
    return [make_query(line["qid"], line["relevant_windows"], duration_s=line["duration"]) for line in lines]


def small_case():
    cases = SMALL["cases"]
    return (
        [make_query(case["qid"], case["relevant_windows"], duration_s=300) for case in cases],
        [make_prediction(case["qid"], case["pred_relevant_windows"]) for case in cases],
    )


def test_small_golden_case_scores_as_the_official_evaluator():
    scores = score_queries(*small_case())
    expected = np.array([case["average_precision"] for case in SMALL["cases"]])
    np.testing.assert_allclose(scores.average_precision, expected, rtol=0, atol=1e-12)
    assert official_result(scores) == SMALL["expected"]


@pytest.mark.parametrize(
    "name",
    ["random", "good", "edge", "edge_modified_gt", "good_modified_gt", "good_every_second_no_match"],
)
def test_golden_results_are_exact_and_queries_agree_to_1e_12(name):
    queries = golden_queries("metrics_gt_modified.jsonl" if "modified" in name else "metrics_gt.jsonl")
    predictions = read_predictions(GOLDEN / f"metrics_preds_{name.split('_')[0]}.jsonl")
    if "every_second" in name:
        predictions = predictions[::2]
    scores = score_queries(queries, predictions, official=True)
    assert official_result(scores) == json.loads((GOLDEN / "metrics_expected.json").read_text())[name]
    per_query = np.load(GOLDEN / "metrics_per_query.npz")
    if f"{name}/qid" in per_query.files:
        rows = [scores.qids.index(qid) for qid in per_query[f"{name}/qid"]]
        assert len(rows) == len(scores.qids)
        np.testing.assert_allclose(
            scores.average_precision[rows], per_query[f"{name}/ap"], rtol=0, atol=1e-12
        )
        np.testing.assert_allclose(scores.first_iou[rows], per_query[f"{name}/top1_iou"], rtol=0, atol=1e-12)


def test_missing_predictions_are_misses_and_counted():
    queries = [make_query("a"), make_query("b"), make_query("c")]
    predictions = [make_prediction("a"), make_prediction("c", [])]
    scores = score_queries(queries, predictions)
    assert scores.num_missing == 2
    assert official_result(scores)["brief"]["MR-full-R1@0.7"] == 33.33
    assert official_result(scores)["brief"]["MR-full-mAP"] == 33.33
    assert recall_at(scores.best_of_five, 0.5) == pytest.approx(100 / 3)


def test_official_switch_leaves_missing_predictions_out():
    queries = [make_query("a"), make_query("b"), make_query("c")]
    scores = score_queries(queries, [make_prediction("a"), make_prediction("c", [])], official=True)
    assert scores.qids == ("a",)
    assert official_result(scores)["brief"]["MR-full-R1@0.7"] == 100.0


def test_moments_without_length_never_count():
    queries = [make_query("a", [(3, 3)]), make_query("b", [(3, 3), (2, 5)])]
    scores = score_queries(queries, [make_prediction("a", [(3, 3, 1.0)]), make_prediction("b")])
    assert scores.qids == ("b",)
    assert scores.num_without_truth == 1
    assert len(scores.moment_ious) == 1


def test_first_listed_window_counts_for_r1_but_score_orders_for_ap():
    query = make_query("a", [(0, 10)])
    listed_first = make_prediction("a", [(0, 10, 0.1), (50, 60, 0.9)])
    scores = score_queries([query], [listed_first])
    assert scores.first_iou[0] == 1.0
    assert scores.average_precision[0, 0] == 0.5  # the wrong window has the higher score


def test_only_ten_windows_are_looked_at():
    wrong = [(100.0 + i, 101.0 + i, 0.5) for i in range(10)]
    scores = score_queries([make_query("a")], [make_prediction("a", [*wrong, (2, 5, 0.9)])])
    assert scores.average_precision.sum() == 0
    assert scores.best_of_ten[0] == 0


def test_one_moment_is_matched_once():
    scores = score_queries([make_query("a")], [make_prediction("a", [(2, 5, 0.9), (2, 5, 0.8)])])
    assert scores.average_precision[0].tolist() == [1.0] * 10
    two = score_queries(
        [make_query("a", [(2, 5), (10, 12)])], [make_prediction("a", [(2, 5, 0.9), (2, 5, 0.8)])]
    )
    assert two.average_precision[0, 0] == 0.5


@pytest.mark.parametrize("side", ["annotations", "predictions"])
def test_duplicate_qids_are_refused(side):
    queries = [make_query("a")] * (2 if side == "annotations" else 1)
    predictions = [make_prediction("a")] * (2 if side == "predictions" else 1)
    with pytest.raises(ManifestError, match=f"{side}: qid a occurs twice"):
        score_queries(queries, predictions)


def test_nothing_to_score_is_an_error():
    with pytest.raises(ManifestError, match="no query is left to score"):
        score_queries([make_query("a", [])], [make_prediction("a")])
    with pytest.raises(ManifestError, match="no query is left to score"):
        score_queries([make_query("a")], [make_prediction("b")], official=True)


def test_unknown_predictions_are_counted():
    scores = score_queries([make_query("a")], [make_prediction("a"), make_prediction("z")])
    assert scores.num_unknown == 1


# --- laws -----------------------------------------------------------------------------------------------

times = st.integers(0, 40).map(lambda tick: tick / 2)
windows = st.tuples(times, times).map(sorted)
moments = st.lists(windows.filter(lambda w: w[1] > w[0]), min_size=1, max_size=6)
ranked = st.lists(st.tuples(windows, st.integers(0, 4)).map(lambda p: (*p[0], p[1] / 4)), max_size=13)
cases = st.lists(st.tuples(moments, ranked), min_size=1, max_size=5)


def plain_average_precision(truth, predicted, threshold):
    """Section by section as written in the definition: no arrays, no padding."""
    taken, hits = set(), []
    for start, end, _ in sorted(predicted[:10], key=lambda window: -window[2]):
        overlaps = [iou((start, end), moment) for moment in truth]
        free = [at for at, value in enumerate(overlaps) if value >= threshold and at not in taken]
        best = max(free, key=lambda at: (overlaps[at], at), default=None)
        hits.append(best is not None)
        taken.add(best)
    precision = [sum(hits[: at + 1]) / (at + 1) for at in range(len(hits))]
    return sum(max(precision[at:]) for at, hit in enumerate(hits) if hit) / len(truth)


def iou(a, b):
    inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return inter / (a[1] - a[0] + b[1] - b[0] - inter)


@given(cases)
@settings(deadline=None, max_examples=150)
def test_arrays_give_what_the_definition_gives(case):
    queries = [make_query(str(at), truth) for at, (truth, _) in enumerate(case)]
    predictions = [make_prediction(str(at), predicted) for at, (_, predicted) in enumerate(case)]
    scores = score_queries(queries, predictions)
    for row, (truth, predicted) in enumerate(case):
        plain = [plain_average_precision(truth, predicted, threshold) for threshold in THRESHOLDS]
        np.testing.assert_allclose(scores.average_precision[row], plain, rtol=0, atol=1e-12)
        first = max((iou(predicted[0][:2], moment) for moment in truth), default=0.0) if predicted else 0.0
        assert scores.first_iou[row] == pytest.approx(first, abs=1e-12)


@given(cases)
@settings(deadline=None, max_examples=50)
def test_metrics_are_bounded_and_fall_with_the_threshold(case):
    queries = [make_query(str(at), truth) for at, (truth, _) in enumerate(case)]
    predictions = [make_prediction(str(at), predicted) for at, (_, predicted) in enumerate(case)]
    full = official_result(score_queries(queries, predictions))["full"]
    for curve in (full["MR-R1"], full["MR-mAP"]):
        values = [curve[str(threshold)] for threshold in THRESHOLDS]
        assert values == sorted(values, reverse=True)
        assert 0 <= values[-1] <= values[0] <= 100


@given(cases, st.randoms())
@settings(deadline=None, max_examples=30)
def test_order_of_the_files_changes_nothing(case, shuffler):
    queries = [make_query(str(at), truth) for at, (truth, _) in enumerate(case)]
    predictions = [make_prediction(str(at), predicted) for at, (_, predicted) in enumerate(case)]
    expected = score_queries(queries, predictions)
    shuffler.shuffle(queries)
    shuffler.shuffle(predictions)
    scores = score_queries(queries, predictions)
    order = [scores.qids.index(qid) for qid in expected.qids]
    assert (scores.average_precision[order] == expected.average_precision).all()
    assert (scores.first_iou[order] == expected.first_iou).all()
