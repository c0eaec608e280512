"""Who does the work: processes of this machine with one thread each, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, Protocol, TypeVar

import joblib
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from clotho_long.core.errors import ClothoLongError, ConfigError
from clotho_long.core.extras import how_to_install

SCHEDULER_TIMEOUT_S = 10
WARNINGS = "PYTHONWARNINGS"
UNKNOWN = 0  # a total that is not known: progress then counts

# After Ctrl-C tasks are given up, which is what was asked for.
warnings.filterwarnings("ignore", message=r"\d+ tasks (which were|have been)", category=UserWarning)

Task = TypeVar("Task")
Result = TypeVar("Result")
Item = TypeVar("Item")


class Watch(Protocol):
    """Passes results through and may show how far the work is."""

    def __call__(self, items: Iterable[Item], *, total: int, label: str, unit: str) -> Iterator[Item]: ...


def unwatched(items: Iterable[Item], *, total: int, label: str, unit: str) -> Iterator[Item]:
    """Shows nothing."""
    return iter(items)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """`jobs` processes, or the workers of the Dask scheduler at an address; results do not depend on it."""

    jobs: int = 1
    scheduler: str | None = None
    watch: Watch = unwatched

    def each(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], *, label: str, unit: str
    ) -> Iterator[Result]:
        """The results as they come, in no particular order."""
        with self._backend():
            yield from run(function, tasks, jobs=self.jobs, watch=self.watch, label=label, unit=unit)

    def share(self, function: Callable[[Task], Result], tasks: Sequence[Task], *, unit: str) -> list[Result]:
        """The results of all tasks, in the order in which they were done."""
        return list(self.each(function, tasks, label="encoding", unit=unit))

    def share_in_order(
        self, function: Callable[[Task], Result], tasks: Iterator[Task], *, unit: str
    ) -> Iterator[Result]:
        """The results in the order of the tasks, of which no more than `jobs` are held at a time."""

        def results() -> Iterator[Result]:
            started = False
            while several := list(islice(tasks, self.jobs)):
                # one alone is not worth the start of a worker
                if len(several) == 1:
                    yield function(several[0])
                    continue
                if not started:
                    with uninterrupted_start():
                        pool(delayed(abs)(0) for _ in several)
                    started = True
                yield from pool(map(delayed(function), several))

        # copy-on-write: workers may change the arrays that they are sent
        with self._backend(), Parallel(n_jobs=self.jobs, mmap_mode="c") as pool:
            yield from self.watch(results(), total=UNKNOWN, label="encoding", unit=unit)

    @contextlib.contextmanager
    def _backend(self) -> Iterator[None]:
        """Where joblib runs what is called inside."""
        if self.scheduler is None:
            with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
                yield
            return
        try:
            import distributed

            connect: Any = distributed.Client
        except ImportError:
            raise ConfigError(
                "Dask is not installed", "--scheduler", f"install it with {how_to_install('dask')}"
            ) from None
        try:
            client = connect(self.scheduler, timeout=SCHEDULER_TIMEOUT_S)
        except Exception as error:  # Dask reads an address by assertions, too, and times out in its own ways
            raise ConfigError(
                f"no Dask scheduler answers at {self.scheduler} ({error})", "--scheduler"
            ) from None
        with client, joblib.parallel_config(backend="dask"):
            yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: another number may add in another order, and processes already fill the cores."""
    torch = sys.modules.get("torch")  # an encoder that needs it has imported it when it was loaded
    if torch is None:
        yield
        return
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


@contextlib.contextmanager
def uninterrupted_start() -> Iterator[None]:
    """Processes that are started inside never see Ctrl-C; this one sees it when the block is left.

    A terminal interrupts all processes of a command. Workers would each print a traceback; this process ends
    them instead.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    with _quiet_trackers():
        # Python up to 3.12 lets the signals through again when it starts this helper, so it is started before
        resource_tracker.ensure_running()
        # a blocked signal stays blocked in a program that is started, which a handler does not
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _quiet_trackers() -> Iterator[None]:
    """Helpers that are started inside tidy up what ended workers left, and do not warn of it."""
    before = os.environ.get(WARNINGS)
    os.environ[WARNINGS] = ",".join(filter(None, (before, "ignore:resource_tracker:UserWarning")))
    try:
        yield
    finally:
        if before is None:
            del os.environ[WARNINGS]
        else:
            os.environ[WARNINGS] = before


def run(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    jobs: int,
    watch: Watch = unwatched,
    label: str,
    unit: str,
) -> Iterator[Result]:
    """Results of `function` as they come, in no particular order.

    joblib's back-end decides where the work runs: processes of this machine, or whatever
    `joblib.parallel_config` was set to (Dask, Ray).

    Raises:
        ClothoLongError: a worker was killed from outside, for example for its memory.
    """
    workers = min(jobs, len(tasks)) or 1
    pool: Any = Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs")
    with uninterrupted_start() if workers > 1 else contextlib.nullcontext():
        results = pool(delayed(function)(task) for task in tasks)
    try:
        yield from watch(results, total=len(tasks), label=label, unit=unit)
    except TerminatedWorkerError:
        raise ClothoLongError(
            f"a worker was killed while {label} (often for its memory)",
            fix="run the same command again, with a smaller --jobs if it recurs; finished work is kept",
        ) from None
    finally:
        results.close()
