"""Runs one function over many items, in this process or in workers, and lets the caller watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from clotho_long.core.errors import ClothoLongError

Task = TypeVar("Task")
Result = TypeVar("Result")
Item = TypeVar("Item")


class Watch(Protocol):
    """Passes results through and may show how far the work is."""

    def __call__(self, items: Iterable[Item], *, total: int, label: str, unit: str) -> Iterator[Item]: ...


def unwatched(items: Iterable[Item], *, total: int, label: str, unit: str) -> Iterator[Item]:
    """Shows nothing."""
    return iter(items)


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
    try:
        yield from watch(
            pool(delayed(function)(task) for task in tasks), total=len(tasks), label=label, unit=unit
        )
    except TerminatedWorkerError:
        raise ClothoLongError(
            f"a worker was killed while {label} (often for its memory)",
            fix="run the same command again, with a smaller --jobs if it recurs; finished work is kept",
        ) from None
