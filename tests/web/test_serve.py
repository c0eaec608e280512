"""The command itself, as it is started and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
import torch
from click.testing import CliRunner

from amr_model.checkpoint import Checkpoint, save_checkpoint
from amr_model.cli import main
from amr_model.config import system
from amr_model.public.networks import network_of
from clotho_long.core.settings import override

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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_listens_on_loopback_until_it_is_stopped_and_leaves_nothing_behind(tmp_path, how):
    pytest.importorskip("gradio", reason="needs the page: pip install '.[web]'")
    checkpoint, port = make_checkpoint(tmp_path / "model.pt"), free_port()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "amr_model.cli", "serve", "--checkpoint", str(checkpoint)]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line == f"http://127.0.0.1:{port} (Ctrl-C ends it)\n", process.stderr.read()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/") as answer:
            assert b"Find the moment" in answer.read()
        rebound = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            opener.open(rebound)
        # another address of this machine: nobody listens there
        with pytest.raises(urllib.error.URLError):
            opener.open(f"http://127.0.0.2:{port}/")
    finally:
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == ""
    assert list(scratch.iterdir()) == []


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


def test_without_gradio_the_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(main, ["serve", "--checkpoint", str(tmp_path / "model.pt")])
    assert result.exit_code == 1
    assert "pip install '.[web]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
