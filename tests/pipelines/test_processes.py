"""Processes that train together: one result, one line for an error, none of them outlives the pipeline."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from clotho_long.core.errors import AudioError
from pipelines.processes import ProcessError, run_together


def rank() -> int:
    return int(os.environ["RANK"])


def sum_of_ranks(folder: Path) -> None:
    import torch

    dist.init_process_group("gloo")
    total = torch.tensor([rank() + 1.0])
    dist.all_reduce(total)
    dist.destroy_process_group()
    (folder / str(rank())).write_text(str(total.item()))


def fail_in_the_second() -> None:
    """The first waits for the second, and fails of its silence before that has said why."""
    import torch

    dist.init_process_group("gloo")
    if rank() == 1:
        dist.destroy_process_group()
        time.sleep(1.0)
        raise AudioError("is silent", "file.wav")
    dist.all_reduce(torch.zeros(1))


def divide_by_zero() -> None:
    _ = 1 / 0


def die_in_the_second() -> None:
    if rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def beat(folder: Path) -> None:
    """Show for a minute that this process lives."""
    for number in range(3000):
        (folder / str(rank())).write_text(str(number))
        time.sleep(0.02)


def test_processes_find_each_other(tmp_path: Path) -> None:
    run_together(functools.partial(sum_of_ranks, tmp_path), 2)
    assert [(tmp_path / name).read_text() for name in "01"] == ["3.0", "3.0"]


def test_the_error_that_arrives_is_the_cause_and_not_its_echo() -> None:
    with pytest.raises(AudioError, match=r"^file.wav: is silent$"):
        run_together(fail_in_the_second, 2)


def test_a_fault_arrives_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"in process \d:(.|\n)*ZeroDivisionError"):
        run_together(divide_by_zero, 2)


def test_a_killed_process_ends_the_others_and_is_an_error() -> None:
    with pytest.raises(ProcessError, match="ended with status -9; run the same command again"):
        run_together(die_in_the_second, 2)


BEATING = """
import functools, sys
from pathlib import Path
from pipelines.processes import run_together
from tests.pipelines.test_processes import beat
if __name__ == "__main__":
    run_together(functools.partial(beat, Path(sys.argv[1])), 2)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_stopped_pipeline(tmp_path: Path, sent: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BEATING, str(tmp_path)],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    files = [tmp_path / name for name in "01"]
    while not all(file.exists() for file in files):
        assert process.poll() is None
        time.sleep(0.02)
    if sent is signal.SIGINT:
        os.killpg(process.pid, sent)  # as a terminal does
    else:
        os.kill(process.pid, sent)
    said = process.communicate()[1]
    assert process.returncode in (-sent, 130)
    assert said.count("Traceback") == (sent is signal.SIGINT)  # of this process alone
    before: list[str] = []
    while (now := [file.read_text() for file in files]) != before:
        assert "2999" not in now, "it ran to its end"
        before = now
        time.sleep(0.5)
