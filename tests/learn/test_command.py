"""`amr train`: what is wrong with a command line is said before anything is read, and nothing is dropped."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from amr_model.checkpoint import load_checkpoint
from amr_model.cli import main
from amr_model.learn import train as training
from amr_model.learn.curves import Curves
from amr_model.model import MomentRetriever
from tests.retrieval_builders import annotation, write_corpus, write_jsonl

TINY = [
    *("model.hidden_dim=16", "model.num_heads=2", "model.feedforward_dim=16", "model.encoder_layers=1"),
    *("model.audio_centres=3", "model.text_centres=2", "model.audio_dim=6", "model.text_dim=6"),
]
SETS = [part for setting in TINY for part in ("--set", setting)]
LINES = [
    annotation(f"q{at}", vid=f"r{at % 3}", query=f"sound {at}", relevant_windows=[[at, at + 3]])
    for at in range(6)
]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def corpora(tmp_path: Path) -> list[tuple[Path, Path]]:
    """Annotations and features of two corpora of the same ids."""
    return [write_corpus(tmp_path / name, LINES[:count]) for name, count in (("a", 6), ("b", 4))]


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features must not be opened."""

    def opened(*arguments: object, **options: object) -> None:
        raise AssertionError("features were read before the command line was checked")

    monkeypatch.setattr("amr_model.data.sets.FeatureStore.open", opened)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Curves, "draw", lambda self, history: None)


def test_two_corpora_train_one_model(tmp_path: Path, corpora: list[tuple[Path, Path]]) -> None:
    (a, fa), (b, fb) = corpora
    arguments = [
        "--train",
        a,
        "--features",
        fa,
        "--weight",
        0.5,
        "--train",
        b,
        "--features",
        fb,
        "--weight",
        2,
    ]
    out = ["--valid", a, "--valid-features", fa, "--out", tmp_path / "run", "--epochs", 1, "--jobs", 1]
    status, _, errors = run("train", "--system", "S1", *arguments, *out, *SETS)
    assert status == 0, errors
    assert "train: 10 queries, 10 moments, 6 recordings" in errors
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [(s["annotations"], s["weight"]) for s in record["train"]] == [(str(a), 0.5), (str(b), 2.0)]
    status, _, errors = run(
        "train", "--resume", "--train", a, "--features", fa, "--train", b, "--features", fb, *out, *SETS
    )
    assert status == 1
    assert "was trained with other data (train weights); resume with what" in errors


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train", "A", "--train", "B", "--features", "FA", "--features", "FB"], "give --valid-features"),
        (
            ["--train", "A", "--features", "FA", "--features", "FB"],
            "1 --train and 2 --features; give",
        ),
        (
            ["--train", "A", "--train", "B", "--features", "FA", "--weight", 1],
            "2 --train and 1 --weight;",
        ),
        (["--train", "A", "--train", "A", "--features", "FA"], "a --train is given twice"),
        (["--train", "A", "--features", "FA", "--weight", 0], "0.0 is not in the range"),
        (["--train", "A", "--features", "FA", "--valid", "B"], "is given 2 times"),
        (["--train", "A", "--features", "FA", "--system", "S2"], "is given 2 times"),
    ],
)
def test_what_is_given_twice_or_does_not_pair_is_refused(
    arguments: list[object], message: str, tmp_path: Path, corpora: list[tuple[Path, Path]]
) -> None:
    (a, fa), (b, fb) = corpora
    named = {"A": a, "B": b, "FA": fa, "FB": fb}
    given = [named.get(str(argument), argument) for argument in arguments]
    status, _, errors = run("train", "--system", "S1", *given, "--valid", a, "--out", tmp_path / "run", *SETS)
    assert status == 2
    assert message in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("unread")
def test_late_errors_come_early(tmp_path: Path, corpora: list[tuple[Path, Path]]) -> None:
    a, fa = corpora[0]
    silent = write_jsonl(tmp_path / "silent.jsonl", [{**line, "relevant_windows": []} for line in LINES])
    common = ["train", "--system", "S1", "--features", fa, "--jobs", 1, *SETS]
    status, _, errors = run(*common, "--train", a, "--valid", silent, "--out", tmp_path / "run")
    assert status == 1
    assert f"{silent}: no query has a moment; give annotations with the truth" in errors
    used = tmp_path / "used"
    used.mkdir()
    (used / "checkpoint-best.pt").write_bytes(b"dear")
    status, _, errors = run(*common, "--train", a, "--valid", a, "--out", used)
    assert status == 1
    assert "holds a run without checkpoint-last.pt, which cannot go on and is not overwritten" in errors
    assert (used / "checkpoint-best.pt").read_bytes() == b"dear"


def test_ctrl_c_says_what_goes_on(
    tmp_path: Path, corpora: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, fa = corpora[0]
    common = ["train", "--train", a, "--valid", a, "--features", fa, "--jobs", 1, "--out", tmp_path / "run"]
    epoch = training.Trainer.epoch

    def interrupted(self, *arguments, **options):
        for done in epoch(self, *arguments, **options):
            signal.raise_signal(signal.SIGINT)
            yield done

    monkeypatch.setattr(training.Trainer, "epoch", interrupted)
    status, _, errors = run(*common, "--system", "S1", "--epochs", 2, *SETS)
    assert status == 130
    assert errors.splitlines()[-1] == (
        f"error: interrupted; {tmp_path / 'run' / 'checkpoint-last.pt'} is kept, go on with --resume"
    )
    monkeypatch.undo()
    status, _, errors = run(*common, "--resume")
    assert status == 0, errors
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("command", ["evaluate", "submit"])
def test_answers_come_in_the_precision_that_is_set_and_say_what_made_them(
    command: str, tmp_path: Path, corpora: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, fa = corpora[0]
    trained = ["--train", a, "--valid", a, "--features", fa, "--jobs", 1, "--out", tmp_path / "run"]
    status, _, errors = run("train", "--system", "S1", *trained, "--epochs", 1, *SETS)
    assert status == 0, errors
    seen = []
    forward = MomentRetriever.forward

    def watched(self, *arguments, **options):
        seen.append(torch.is_autocast_enabled("cpu"))
        return forward(self, *arguments, **options)

    monkeypatch.setattr(MomentRetriever, "forward", watched)
    out = tmp_path / ("out" if command == "evaluate" else "out.jsonl")
    checkpoint = tmp_path / "run" / "checkpoint-best.pt"
    asked = ["--annotations", a, "--features", fa, "--jobs", 1, "--out", out]
    assert run(command, "--checkpoint", checkpoint, *asked, "--set", "train.precision=bf16")[0] == 0
    assert seen == [True]
    written = tmp_path / ("out/made_of.json" if command == "evaluate" else "out.made_of.json")
    said = json.loads(written.read_text())
    facts = load_checkpoint(checkpoint).made_of
    assert [s["queries_fingerprint"] for s in said["asked"]] == facts["valid annotations"]
    assert [s["features_fingerprint"] for s in said["asked"]] == facts["valid features"]
    assert said["checkpoint_fingerprint"].startswith("sha256-")
