"""Killed workers, Ctrl-C, a full disk: one line, the right status, nothing half-written is trusted."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from clotho_long.core.errors import ClothoLongError
from clotho_long.core.files import atomic_path, is_part
from clotho_long.core.work import run
from clotho_long.corpus import Corpus
from tests.builders import files_below, make_corpus, run_cli

COMMAND = (sys.executable, "-c", "from clotho_long.cli import main; main()")
INTERRUPTED = "error: interrupted; what was finished is kept, run the same command again to continue"
# Enough clips that a signal after the first one comes before the last.
MANY = {"clip_duration_s": 30.0, "tour_s": 180.0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus rendered without interruption."""
    corpus = make_corpus(tmp_path_factory.mktemp("whole"), **MANY)
    assert run_cli("render", corpus.root, "--jobs", 1).exit_code == 0
    return corpus


def processes_of(group: int) -> list[int]:
    """The processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, pgrp = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found


def wait_for_the_end_of(group: int) -> None:
    """No worker stays; joblib's own watcher of semaphores sees a little later that nobody is left."""
    deadline = time.monotonic() + 30
    while processes_of(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_of(group)


def render_until_the_first(whole: Corpus, folder: Path) -> tuple[Corpus, subprocess.Popen[str]]:
    """A corpus of the same plan, and the command that renders it and has finished a clip or two."""
    corpus = Corpus(folder)
    shutil.copytree(whole.root, corpus.root, ignore=shutil.ignore_patterns("audio"))
    process = subprocess.Popen(
        [*COMMAND, "render", str(corpus.root), "--jobs", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not list((corpus.root / "audio").rglob("[!.]*.wav")):
        time.sleep(0.005)
    return corpus, process


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_run_that_was_stopped_continues_to_the_same_bytes(
    whole: Corpus, tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    corpus, process = render_until_the_first(whole, tmp_path / "corpus")
    os.killpg(process.pid, sent)  # the group, as a terminal's Ctrl-C reaches it
    _, stderr = process.communicate(timeout=60)
    num_before = len(list((corpus.root / "audio").rglob("[!.]*.wav")))
    assert process.returncode == status, stderr
    assert 1 <= num_before < len(list((whole.root / "audio").rglob("*.wav")))
    if sent is not signal.SIGKILL:
        assert stderr.split("\n") == ["", INTERRUPTED, ""]  # the first line ends that of the progress bar
        assert not [path for path in corpus.root.rglob(".*") if is_part(path)]
        wait_for_the_end_of(process.pid)
    again = run_cli("render", corpus.root)
    assert again.exit_code == 0, again.output
    assert files_below(corpus.root / "audio") == files_below(whole.root / "audio")


def test_sigterm_to_the_command_alone_ends_its_workers_too(whole: Corpus, tmp_path: Path) -> None:
    corpus, process = render_until_the_first(whole, tmp_path / "corpus")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.split("\n") == ["", INTERRUPTED, ""]
    wait_for_the_end_of(process.pid)
    assert not [path for path in corpus.root.rglob(".*") if is_part(path)]


def hears_ctrl_c(_: int) -> bool:
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="this system cannot block a signal")
def test_no_worker_hears_ctrl_c_and_the_command_does_again() -> None:
    get_reusable_executor().shutdown()  # workers of another test were started by another program
    assert not any(run(hears_ctrl_c, range(8), jobs=2, label="testing", unit="item"))
    assert hears_ctrl_c(0)


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_worker_is_one_line_with_a_remedy() -> None:
    with pytest.raises(ClothoLongError, match=r"a worker was killed while testing .*smaller --jobs"):
        list(run(die, range(8), jobs=2, label="testing", unit="item"))


def test_a_disk_that_is_full_ends_with_the_files_name(
    whole: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Corpus(tmp_path / "corpus")
    shutil.copytree(whole.root, corpus.root, ignore=shutil.ignore_patterns("audio"))

    def full(path: Path, *_: object) -> None:
        with atomic_path(path) as part:
            part.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write does: without a name

    monkeypatch.setattr("clotho_long.stages.render.write_blocks", full)
    result = run_cli("render", corpus.root, "--jobs", 1)
    assert result.exit_code == 1
    first = corpus.audio_file("train", next(corpus.recipes("train")).recording_id, "wav")
    assert f"error: {first}: no space left on device; free some space and run" in result.output
    assert not list((corpus.root / "audio").rglob("*.wav"))


def test_a_write_that_the_system_cuts_short_leaves_nothing_behind(whole: Corpus, tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    shutil.copytree(whole.root, corpus.root, ignore=shutil.ignore_patterns("audio"))

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    process = subprocess.run(
        [*COMMAND, "render", str(corpus.root), "--jobs", "1"],
        capture_output=True,
        text=True,
        preexec_fn=limit_files,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert process.stderr.startswith("error: ")
    assert not [p for p in (corpus.root / "audio").rglob("*") if p.is_file()]
