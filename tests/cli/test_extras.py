"""Without the optional parts: what does not need them works, what does says in a line how to get them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from amr_model.cli import main as amr
from clotho_long.audio.io import write_audio
from clotho_long.core.extras import EXTRA_OF, describe_missing
from tests.cli.nonsense import lines
from tests.index import standin
from tests.retrieval_builders import annotation, write_jsonl

ROOT = Path(__file__).resolve().parents[2]
MISSING = ("torch", "scipy", "transformers", "huggingface_hub", "gradio", "dask", "distributed", "lancedb")


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in an interpreter to which the extras are not installed."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({MISSING}))\n"
        f"from {program} import main\nmain({[str(argument) for argument in arguments]!r})"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_audio(tmp_path / "a.wav", np.zeros(16000, np.float32), 8000)
    write_jsonl(tmp_path / "train.jsonl", [annotation()])
    predicted = {"qid": "q1", "query": "a dog barks", "vid": "r1", "pred_relevant_windows": [[2, 5, 0.9]]}
    (tmp_path / "predictions.jsonl").write_text(lines(predicted))
    (tmp_path / "model.pt").write_bytes(b"")
    return tmp_path


def test_logmel_and_metrics_need_no_extra(place: Path) -> None:
    logmel = ("--encoder", "logmel", "--jobs", 1)
    for arguments in (
        ("clotho_long.cli", "features", place / "a.wav", "--out", place / "f", *logmel),
        ("clotho_long.cli", "text-features", place / "train.jsonl", "--out", place / "f", *logmel),
        ("amr_model.cli", "metrics", "--predictions", place / "predictions.jsonl",
         "--annotations", place / "train.jsonl"),
    ):  # fmt: skip
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert (place / "f" / "clap" / "a.npz").is_file()


def test_what_needs_an_extra_says_how_to_get_it(place: Path) -> None:
    asked = ("--query", "x", "--checkpoint", place / "model.pt")
    sets = ("--annotations", place / "train.jsonl", "--features", place)
    for arguments, extra in (
        (("clotho_long.cli", "features", place / "a.wav", "--out", place / "g"), "model"),
        (("amr_model.cli", "evaluate", "--checkpoint", place / "model.pt", *sets), "model"),
        (("amr_model.cli", "predict", place / "a.wav", *asked), "model"),
        (("amr_model.cli", "serve", "--checkpoint", place / "model.pt"), "web"),
    ):
        done = run(*arguments)
        assert done.returncode == 1, (arguments, done.stderr)
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: "), line
        assert line.endswith(f"install it with pip install '.[{extra}]'"), line


def test_an_index_with_vectors_says_in_time_what_it_needs(place: Path, monkeypatch, tmp_path: Path) -> None:
    """Before anything is heard; an encoder without a shared space needs no vector store."""
    standin.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "lancedb", None)
    words = ["index", str(place / "a.wav"), "--jobs", "1", "--out", str(tmp_path / "index")]
    done = CliRunner().invoke(amr, [*words, "--encoder", standin.NAME])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "error: needs lancedb, which is not installed; install it with pip install '.[search]'\n"
    )
    assert not (tmp_path / "index").exists()
    assert CliRunner().invoke(amr, [*words, "--encoder", "logmel"]).exit_code == 0


def test_every_extra_that_is_named_exists() -> None:
    extras = (ROOT / "pyproject.toml").read_text()
    for package, extra in EXTRA_OF.items():
        assert f"\n{extra} = [" in extras
        assert f"'.[{extra}]'" in str(describe_missing(f"{package}.inner"))
    assert describe_missing("no_such_module") is None
