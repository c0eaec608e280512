"""`amr compare`: of folders that `amr evaluate` wrote and of prediction files."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from tests.cli.test_amr import LINES, NARROW, SMALL, make_checkpoint, run
from tests.retrieval_builders import write_corpus, write_jsonl


@pytest.fixture
def runs(tmp_path):
    """Two evaluations of one corpus."""
    annotations, features = write_corpus(tmp_path, LINES)
    corpus = ["--annotations", annotations, "--features", features, "--jobs", 1]
    for name, overrides in (("a", ()), ("b", ("model.decoder_layers=1",))):
        checkpoint = make_checkpoint(tmp_path / f"{name}.pt", overrides=[*SMALL, *NARROW, *overrides])
        status, _, errors = run("evaluate", "--checkpoint", checkpoint, *corpus, "--out", tmp_path / name)
        assert status == 0, errors
    return tmp_path / "a", tmp_path / "b", annotations


def test_two_evaluations_are_compared_as_they_stand(tmp_path, runs):
    a, b, annotations = runs
    status, text, errors = run("compare", a, b, "--csv", tmp_path / "queries.csv")
    assert (status, errors) == (0, "")
    assert text.startswith(f"A: {a}\nB: {b}\n6 queries\n")
    status, as_json, _ = run("compare", a, b, "--json", "--top", 2)
    told = json.loads(as_json)
    assert (told["queries"], told["annotations"]) == (6, str(annotations))
    assert len(told["most_different"]) == 2
    for place, side in ((a, "a"), (b, "b")):
        brief = json.loads((place / "metrics.json").read_text())["brief"]
        for name in ("R1@0.5", "R1@0.7", "mAP"):
            assert told["figures"][name][side] == brief[f"MR-full-{name}"]
    table = pd.read_csv(tmp_path / "queries.csv")
    assert sorted(table["qid"]) == [line["qid"] for line in LINES]


def test_prediction_files_need_their_annotations(tmp_path, runs):
    a, b, annotations = runs
    files = [place / "predictions.jsonl" for place in (a, b)]
    status, _, errors = run("compare", *files)
    assert status == 2
    assert errors == "error: --annotations: the runs do not name what they were asked; give the file\n"
    given = run("compare", *files, "--annotations", annotations, "--json")
    assert given[0] == 0
    assert json.loads(given[1])["figures"] == json.loads(run("compare", a, b, "--json")[1])["figures"]
    (b / "made_of.json").unlink()
    assert run("compare", a, b)[0] == 0, "one of them says it"


def test_runs_of_different_annotations_are_refused_in_one_line(tmp_path, runs):
    a, b, annotations = runs
    other = write_jsonl(tmp_path / "other.jsonl", [{**line, "relevant_windows": [[1, 2]]} for line in LINES])
    shutil.copytree(b, tmp_path / "c")
    made_of = json.loads((b / "made_of.json").read_text())
    made_of["asked"][0]["queries_fingerprint"] = "0" * 16
    (tmp_path / "c" / "made_of.json").write_text(json.dumps(made_of))
    few = write_jsonl(tmp_path / "few.jsonl", LINES[:3])
    predictions = a / "predictions.jsonl"
    for arguments, message in (
        ([a, tmp_path / "c"], f"{tmp_path / 'c'}: was asked other queries than {a}"),
        ([a, b, "--annotations", other], f"{other}: holds other queries than {a} was asked"),
        ([predictions, b, "--annotations", other], f"{other}: holds other queries than {b} was asked"),
        ([predictions, predictions, "--annotations", few], f"{predictions}: qid q3 is not among the queries"),
    ):
        status, text, errors = run("compare", *arguments)
        assert (status, text) == (1, "")
        assert errors.startswith(f"error: {message}")
        assert len(errors.splitlines()) == 1
    annotations.rename(tmp_path / "moved.jsonl")
    status, _, errors = run("compare", a, b)
    assert status == 1
    assert f"{annotations}: no such file" in errors
    assert run("compare", a, b, "--annotations", tmp_path / "moved.jsonl")[0] == 0


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"asked": []}', '{"asked": [{}]}', '{"asked": [1]}', "[" * 5000]
)
def test_a_run_whose_note_is_broken_ends_in_one_line(runs, content):
    a, b, _ = runs
    (b / "made_of.json").write_text(content)
    status, _, errors = run("compare", a, b)
    assert status == 1
    assert errors.startswith(f"error: {b / 'made_of.json'}: does not say what was asked")


def test_a_folder_that_is_no_run_ends_in_one_line(tmp_path, runs):
    status, _, errors = run("compare", runs[0], tmp_path / "features")
    assert status == 1
    assert errors.startswith(f"error: {tmp_path / 'features' / 'predictions.jsonl'}: no such file")
