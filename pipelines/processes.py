"""Processes of a pipeline: they end when it ends, however it ends, and their errors arrive as ours.

They are fresh processes, because torch does not survive a fork.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from clotho_long.core.command_line import set_up_logging
from clotho_long.core.errors import ClothoLongError

# When one process of a group fails, the others fail of its silence, maybe before it has said why.
CAUSE_WITHIN_S = 5.0
# Between asking a process to end and ending it.
PATIENCE_S = 5.0


class ProcessError(ClothoLongError):
    """A process of a group was killed from outside."""


def process_pool(count: int) -> ProcessPoolExecutor:
    """Processes for actions that have nothing to do with each other."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)


def run_together(action: Callable[[], None], count: int) -> None:
    """Run `action` in `count` processes that find each other as those of `torchrun` do.

    When one of them fails, the others are ended. The first logs as this process does, the others keep quiet.

    Args:
        action: can be pickled; tells its processes apart by RANK, LOCAL_RANK and WORLD_SIZE, as
            `amr_model.learn.distributed` does.

    Raises:
        ClothoLongError: what the action raised.
        OSError: the same.
        ProcessError: a process was killed.
        RuntimeError: the action has a fault; with the traceback.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # as its documentation imports it

    # held here, as by torchrun's agent: its port is free for certain
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    level = logging.getLogger().getEffectiveLevel()
    members: dict[Connection, SpawnProcess] = {}
    with contextlib.ExitStack() as at_end:
        for rank in range(count):
            receiver, sender = context.Pipe(duplex=False)
            at_end.callback(receiver.close)
            place = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",  # no process starts a store of its own
            }
            quiet = rank > 0 or level > logging.INFO
            process = context.Process(target=_member, args=(action, place, sender, quiet))
            with _ignoring_interrupts():
                process.start()
            at_end.callback(_end, process)
            sender.close()  # the process has its own, and its end closes that
            members[receiver] = process
        if error := _first_error(members):
            raise error
        for process in members.values():
            process.join()


def _member(action: Callable[[], None], place: dict[str, str], report: Connection, quiet: bool) -> None:
    """What one process of a group does: the action, then say how it went."""
    _end_with_parent()
    os.environ.update(place)
    set_up_logging(quiet=quiet)
    try:
        action()
    except (ClothoLongError, OSError) as error:
        report.send(error)
    except Exception:  # said by the process that waits for us, so that the cause is said and not its echoes
        report.send(RuntimeError(f"in process {place['RANK']}:\n{traceback.format_exc()}"))
    else:
        report.send(None)


def _first_error(members: dict[Connection, SpawnProcess]) -> Exception | None:
    """Wait until all are done or one has failed; of several errors the one that says the cause."""
    running = dict(members)
    echo: Exception | None = None
    while running:
        reports = wait(list(running), timeout=None if echo is None else CAUSE_WITHIN_S)
        if not reports:
            break
        for receiver in [member for member in running if member in reports]:
            error = _report_of(receiver, running.pop(receiver))
            if isinstance(error, (ClothoLongError, OSError)):
                return error
            echo = echo or error
    return echo


def _report_of(receiver: Connection, process: SpawnProcess) -> Exception | None:
    """What a process reports; its death is an error."""
    try:
        report: Exception | None = receiver.recv()
    except EOFError:
        process.join()
        return ProcessError(
            f"a process of the training ended with status {process.exitcode}",
            f"process {process.pid}",
            "run the same command again to continue; a status of -9 is often a lack of memory",
        )
    return report


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """What is started here ignores Ctrl-C, which reaches a whole group: we end it, without tracebacks."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(process: SpawnProcess) -> None:
    process.terminate()
    process.join(PATIENCE_S)
    process.kill()
    process.join()


def _end_with_parent() -> None:
    """Let no orphan write into a run that the next pipeline goes on with."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is called in a process that was started here"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
