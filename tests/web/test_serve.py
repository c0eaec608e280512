"""The command itself, as it is started and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import pytest
import torch
from click.testing import CliRunner

from amr_model.checkpoint import Checkpoint, save_checkpoint
from amr_model.cli import main
from amr_model.config import system
from amr_model.index.catalog import Hearing
from amr_model.index.update import update_index
from amr_model.public.networks import network_of
from clotho_long.core.settings import override
from clotho_long.core.work import Workers
from tests.web.builders import write_recording

SMALL = ("model.hidden_dim=16", "model.num_heads=2", "model.feedforward_dim=16", "features.encoder=logmel")


def make_checkpoint(path):
    config = override(system("S1"), SMALL)
    torch.manual_seed(0)
    save_checkpoint(path, Checkpoint(config=config, model=network_of(config.model).state_dict()))
    return path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def served(*words, port, scratch, how=signal.SIGTERM):
    """The command while it serves; it ends without a word, and leaves no file behind."""
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "amr_model.cli", "serve", *words, "--port", str(port), "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line == f"http://127.0.0.1:{port} (Ctrl-C ends it)\n", process.stderr.read()
        yield
    finally:
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == ""
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_listens_on_loopback_until_it_is_stopped_and_leaves_nothing_behind(tmp_path, how):
    pytest.importorskip("gradio", reason="needs the page: pip install '.[web]'")
    port, scratch = free_port(), tmp_path / "scratch"
    checkpoint = make_checkpoint(tmp_path / "model.pt")
    with served("--checkpoint", str(checkpoint), port=port, scratch=scratch, how=how):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/") as answer:
            assert b"Find the moment" in answer.read()
        rebound = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            opener.open(rebound)
        # another address of this machine: nobody listens there
        with pytest.raises(urllib.error.URLError):
            opener.open(f"http://127.0.0.2:{port}/")


@pytest.mark.parametrize(
    ("with_checkpoint", "told"), [(True, b"System S1 with logmel"), (False, b"Sentences need a checkpoint")]
)
def test_a_collection_is_served_with_and_without_a_checkpoint(tmp_path, with_checkpoint, told):
    pytest.importorskip("gradio", reason="needs the page: pip install '.[web]'")
    write_recording(tmp_path / "walks" / "street.wav")
    update_index(tmp_path / "heard", [tmp_path / "walks"], Hearing(encoder="logmel"), workers=Workers())
    options = ["--checkpoint", str(make_checkpoint(tmp_path / "model.pt"))] if with_checkpoint else []
    port, scratch = free_port(), tmp_path / "scratch"
    with served(str(tmp_path / "heard"), *options, port=port, scratch=scratch):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/") as answer:
            assert told in answer.read()


@pytest.mark.parametrize("option", [("--encoder", "logmel"), ("--channels", "first"), ("--track", "1")])
def test_what_an_index_settled_is_not_to_be_said_again(tmp_path, option):
    pytest.importorskip("gradio", reason="needs the page: pip install '.[web]'")
    result = CliRunner().invoke(main, ["serve", str(tmp_path), *option])
    assert result.exit_code == 2
    assert f"{option[0]} was settled when the index was made" in result.stderr


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        (["."], 1, "holds no index; make one with `amr index PATH... --out INDEX`"),
        (["--encoder", "logmel"], 2, "logmel has no space that sounds and sentences share"),
    ],
)
def test_what_cannot_be_served_is_one_line(tmp_path, words, status, problem):
    pytest.importorskip("gradio", reason="needs the page: pip install '.[web]'")
    done = subprocess.run(  # it settles things for its whole process
        [sys.executable, "-m", "amr_model.cli", "serve", *words, "--port", str(free_port())],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_one_line(tmp_path):
    pytest.importorskip("gradio", reason="needs the page: pip install '.[web]'")
    checkpoint = make_checkpoint(tmp_path / "model.pt")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["serve", "--checkpoint", str(checkpoint), "--port", str(port)])
    assert result.exit_code == 1
    assert f"127.0.0.1: cannot listen on port {port}" in result.stderr
    assert "give another --port" in result.stderr


def test_an_ended_page_leaves_temporary_files_where_they_were(tmp_path):
    pytest.importorskip("gradio", reason="needs the page: pip install '.[web]'")
    before = tempfile.gettempdir()
    result = CliRunner().invoke(main, ["serve", "--checkpoint", str(tmp_path / "none.pt")])
    assert result.exit_code == 1
    assert "none.pt: no such checkpoint" in result.stderr
    assert tempfile.gettempdir() == before
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_without_gradio_the_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(main, ["serve", "--checkpoint", str(tmp_path / "model.pt")])
    assert result.exit_code == 1
    assert "pip install '.[web]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
