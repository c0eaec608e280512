"""`amr index` and `amr search` as they are typed, and `amr predict` without a checkpoint."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from amr_model.cli import main
from tests.index import standin
from tests.index.standin import NAME, write_sound


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
    standin.install(monkeypatch)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("searching")
    with pytest.MonkeyPatch.context() as patch:
        standin.install(patch)
        write_sound(root / "walks" / "street é.wav", [(1, 10, 14)], seed=1)
        write_sound(root / "walks" / "park.wav", [(2, 20, 25)], seed=2)
        status, text, _ = run(
            "index", root / "walks", "--out", root / "heard", "--encoder", NAME, "--jobs", 1
        )
        assert status == 0
        assert text == f"{root / 'heard'}: 2 recordings: 2 added, 0 changed, 0 moved, 0 removed; 2 heard\n"
        yield root


def test_a_ranking_is_for_people_or_for_programs(place):
    asked = (
        "search",
        place / "heard",
        "--query",
        "band 1",
        "--query",
        "band 4",
        "--min-score",
        0.5,
        "--jobs",
        1,
    )
    status, text, _ = run(*asked)
    assert status == 0
    heading, first, *_ = text.splitlines()
    assert heading == "band 1"
    assert "0:10 - 0:14" in first
    assert first.endswith("street é.wav")
    assert text.endswith("band 4\n  nothing found\n")
    status, text, errors = run(*asked, "--json")
    one, other = map(json.loads, text.splitlines())
    assert (status, errors) == (0, "")
    assert one["moments"][0]["start"] == 10.0
    assert other["moments"] == []
    assert one["made_by"]["model"] == "S0"
    assert one["made_by"]["checkpoint"] is None


def test_queries_come_from_a_file_and_from_a_sound(place):
    (place / "queries.txt").write_text("band 1\n\nband 2\n")
    status, text, _ = run(
        "search", place / "heard", "--queries", place / "queries.txt", "--top", 1, "--jobs", 1
    )
    assert status == 0
    assert [line.rsplit("/", 1)[-1] for line in text.splitlines()] == [
        "band 1",
        "street é.wav",
        "band 2",
        "park.wav",
    ]
    like = write_sound(place / "like.wav", [(2, 0, 2)], length_s=2, seed=9)
    status, text, _ = run("search", place / "heard", "--like", like, "--top", 1, "--json", "--jobs", 1)
    assert json.loads(text)["moments"][0]["recording"].endswith("park.wav")


def test_a_ranking_is_exported_as_predictions_are(place, tmp_path):
    status, _, _ = run(
        *("search", place / "heard", "--query", "band 1", "--query", "band 2", "--jobs", 1),
        *("--csv", tmp_path / "found.csv", "--audacity", tmp_path, "--cut", tmp_path / "cuts"),
    )
    assert status == 0
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["query"] for row in rows} == {"band 1", "band 2"}
    for query in ("band 1", "band 2"):  # ranked over all recordings
        own = sorted((row for row in rows if row["query"] == query), key=lambda row: int(row["rank"]))
        assert [int(row["rank"]) for row in own] == list(range(1, len(own) + 1))
        scores = [float(row["score"]) for row in own]
        assert scores == sorted(scores, reverse=True)
    assert "band 1" in (tmp_path / "street é.txt").read_text(encoding="utf-8")
    assert len(list((tmp_path / "cuts").glob("*.wav"))) == len(rows)


def test_the_check_prints_every_problem_and_fails(place, tmp_path):
    write_sound(tmp_path / "a.wav")
    write_sound(tmp_path / "b.wav", seed=4)
    index = tmp_path / "index"
    words = ("--encoder", NAME, "--jobs", 1)
    assert run("index", tmp_path / "a.wav", tmp_path / "b.wav", "--out", index, *words)[0] == 0
    assert run("index", "--check", "--out", index)[:2] == (0, f"{index}: 2 recordings, 0 problems\n")
    (tmp_path / "a.wav").unlink()
    write_sound(tmp_path / "b.wav", seed=5)
    status, text, _ = run("index", "--check", "--out", index)
    assert status == 1
    assert len(text.splitlines()) == 3
    assert "a.wav: cannot be read" in text
    assert "2 recordings, 2 problems" in text


SEARCH, PREDICT = ("search", "heard", "--query", "x"), ("predict", "like.wav", "--query", "x")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((*SEARCH, "--like", "like.wav"), 2, "--like compares sound with sound: leave --query"),
        ((*SEARCH, "--set", "inference.nms_iou=0.5"), 2, "--set concerns a checkpoint"),
        (("search", "walks", "--query", "x"), 1, "walks: holds no index; make one with `amr index"),
        (("search", "heard"), 2, "--query: a query is empty"),
        (("index", "--out", "new"), 2, "--out: nothing is to be indexed"),
        (("index", "walks", "--check", "--out", "heard"), 2, "--check changes nothing"),
        (
            ("index", "--out", "heard", "--windows", "centred"),
            2,
            "was made with windows aligned, not centred",
        ),
        (("index", "--out", "heard", "--forget", "other"), 2, "other is not looked after"),
        ((*PREDICT, "--encoder", "logmel"), 2, "logmel has no space that sounds and sentences share"),
        ((*PREDICT, "--set", "a=1", "--encoder", NAME), 2, "--set: concerns a checkpoint"),
    ],
)
def test_what_cannot_be_is_one_line(place, monkeypatch, words, status, said):
    monkeypatch.chdir(place)
    if not Path("like.wav").exists():
        write_sound(Path("like.wav"), length_s=2)
    got, _, errors = run(*words)
    (line,) = errors.splitlines()
    assert got == status, line
    assert said in line


def test_without_a_checkpoint_predict_answers_by_similarity(place, tmp_path):
    recording = place / "walks" / "street é.wav"
    asked = ("predict", recording, "--query", "band 1", "--min-score", 0.5, "--encoder", NAME, "--jobs", 1)
    status, text, errors = run(*asked, "--json", "--curve", tmp_path)
    assert (status, errors) == (0, "")
    answer = json.loads(text)
    assert [(m["start"], m["end"]) for m in answer["moments"]] == [(10.0, 14.0)]
    assert answer["made_by"]["model"] == "S0"
    assert (tmp_path / "street é.npz").is_file()
    kept = run(*asked, "--features", tmp_path / "features")
    assert "0:10 - 0:14" in kept[1]


def test_names_that_are_no_utf_8_are_indexed_and_told(place, tmp_path):
    folder = tmp_path / os.fsdecode(b"day \xff")
    write_sound(tmp_path / "a.wav", [(1, 3, 6)], length_s=12)
    folder.mkdir()
    (tmp_path / "a.wav").rename(folder / os.fsdecode(b"\xfe.wav"))
    index = tmp_path / "index"
    assert run("index", folder, "--out", index, "--encoder", NAME, "--float16", "--jobs", 1)[0] == 0
    assert run("index", "--out", index, "--jobs", 1)[1].endswith(
        "1 recordings: 0 added, 0 changed, 0 moved, 0 removed; 0 heard\n"
    )
    assert run("index", "--check", "--out", index)[0] == 0
    status, text, _ = run("search", index, "--query", "band 1", "--json", "--jobs", 1)
    assert status == 0
    assert json.loads(text)["moments"][0]["recording"].endswith(r"day \xff/\xfe.wav")
