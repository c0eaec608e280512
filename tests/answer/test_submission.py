from __future__ import annotations

import dataclasses

import pytest

from amr_model.answer.submission import check_submission
from clotho_long.core.errors import ManifestError
from clotho_long.core.predictions import read_predictions, write_predictions
from tests.retrieval_builders import make_prediction, make_query, write_jsonl

GOOD = {"qid": "q1", "query": "a dog", "vid": "r1", "pred_relevant_windows": [[1.0, 2.0, 0.5]]}


def test_written_predictions_are_read_back(tmp_path):
    predictions = [make_prediction("a", [(0.0, 1.5, 0.25), (3, 4, 0.125)]), make_prediction("b", [])]
    assert write_predictions(tmp_path / "p.jsonl", predictions) == 2
    assert read_predictions(tmp_path / "p.jsonl") == predictions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred_relevant_windows": [[2.0, 1.0, 0.5]]}, r"p\.jsonl:2: window \[2, 1\] ends before it starts"),
        ({"pred_relevant_windows": [[1.0, 2.0]]}, r"p\.jsonl:2: not a prediction .*\[onset, offset, score\]"),
        ({"pred_relevant_windows": [[1.0, float("nan"), 0.5]]}, r"p\.jsonl:2: .* not finite"),
        ({"pred_relevant_windows": None}, r"p\.jsonl:2: not a prediction"),
        ({"qid": "q1"}, r"p\.jsonl:2: qid q1 occurs twice \(first in .*p\.jsonl:1\)"),
    ],
)
def test_a_bad_line_is_named(tmp_path, changes, message):
    path = write_jsonl(tmp_path / "p.jsonl", [GOOD, {**GOOD, "qid": "q2", **changes}])
    with pytest.raises(ManifestError, match=message):
        read_predictions(path)


def test_a_missing_field_is_named(tmp_path):
    path = write_jsonl(tmp_path / "p.jsonl", [{"qid": "q1"}])
    with pytest.raises(ManifestError, match=r"p\.jsonl:1: field pred_relevant_windows is missing"):
        read_predictions(path)


def test_a_good_submission_passes():
    check_submission([make_prediction()], [make_query()])


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([], r"1 query is \(q1\) without an answer"),
        ([make_prediction(), make_prediction()], r"1 query is \(q1\) answered more than once"),
        ([make_prediction(), make_prediction("q9")], r"1 query is \(q9\) not among the annotations"),
        ([make_prediction("q1", [])], "holds 0 windows"),
        ([make_prediction("q1", [(1, 2, 0.5)] * 11)], "holds 11 windows"),
        ([make_prediction("q1", [(15, 21, 0.5)])], r"window \[15, 21\] is empty or not inside \[0, 20\]"),
        ([make_prediction("q1", [(15, 15, 0.5)])], r"window \[15, 15\] is empty"),
        ([make_prediction("q1", [(1, 2, 0.5), (3, 4, 0.6)])], "not in order of score"),
        ([dataclasses.replace(make_prediction(), recording_id="r2")], "answers for r2, not r1"),
    ],
)
def test_a_bad_submission_is_refused(predictions, message):
    with pytest.raises(ManifestError, match=message):
        check_submission(predictions, [make_query()])
