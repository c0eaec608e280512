"""Steps of a pipeline: each runs when something that shapes its result has changed, and says what.

A step is the same as before if its settings, the content of its inputs and the versions of its arithmetic
are. A version is a constant beside the code that it speaks of (`TRAINING_VERSION`, `PLAN_VERSION`, ...),
raised by whoever changes what that code makes; the device, the number of processes and the text of the source
shape nothing. A step's stamp in `FOLDER/NAME.json` is written last: a step that was stopped goes on.

No step deletes anything. What no longer fits is moved aside, with its stamp, under a name with the date.

The content of what a step made decides about the steps after it: one that makes the same files again costs
nothing after it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from clotho_long.core.errors import ConfigError, ManifestError
from clotho_long.core.files import fingerprint, write_json
from pipelines.processes import ProcessError, process_pool
from pipelines.stamps import (
    Stamp,
    as_of_today,
    fingerprint_tree,
    finished_stamp,
    identity_of,
    read_stamp,
    same,
    why_due,
)

Say = Callable[[str], None]

ASIDE = "%Y-%m-%dT%H-%M-%S"  # no colons: not every file system has them


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage of a pipeline.

    Attributes:
        action: makes the outputs; called again after an interruption, it goes on.
        outputs: files and folders that are this step's alone.
        settings: JSON-like, all that shapes the result besides inputs and versions.
        versions: of the arithmetic behind the result, by what they speak of.
        after: steps whose outputs this one reads.
        files: what it reads that no step makes: files, or folders of the user's.
        whole_machine: False for what takes one core and can be pickled: several of these run side by side.
        keeps_notes: the outputs say themselves what made each part, and the action refuses what does not fit:
            it may go on with outputs that have no stamp.
        today: turns the settings of an earlier release's stamp into what this release would have written.
    """

    name: str
    action: Callable[[], None]
    outputs: tuple[Path, ...]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    after: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    whole_machine: bool = True
    keeps_notes: bool = False
    today: Callable[[dict[str, Any]], dict[str, Any]] = dict


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """What became of a step."""

    name: str
    why: str  # it ran; empty if it was unchanged
    seconds: float  # of its last run


def run_steps(
    steps: Sequence[Step],
    stamps: Path,
    *,
    start: str | None = None,
    until: str | None = None,
    jobs: int = 1,
    say: Say,
) -> list[StepRun]:
    """Run what is due of `steps`, which stand in an order in which they can run.

    Args:
        stamps: folder of the stamps.
        start: begin with this step, and run it whether it changed or not; what earlier ones made is taken as
            it is.
        until: the last step to run.
        jobs: processes for steps that take one core, when several of them can run.
        say: told one line for each step.

    Raises:
        ConfigError: there is no such step.
        ManifestError: an earlier step than `start` was never finished, a step did not make its outputs, or
            another pipeline works with these stamps.
    """
    names = [step.name for step in steps]
    for option, name in (("--from", start), ("--until", until)):
        if name is not None and name not in names:
            raise ConfigError(f"no step {name!r}", option, f"the steps are {', '.join(names)}")
    first = 0 if start is None else names.index(start)
    last = len(steps) if until is None else names.index(until) + 1
    with _alone(stamps):
        done = {
            step.name: finished_stamp(step, read_stamp(stamps / f"{step.name}.json"))
            for step in steps[:first]
        }
        runs = _Session(stamps=stamps, start=start, say=say, done=done).all(steps[first:last], jobs)
    return sorted(runs, key=lambda run: names.index(run.name))


@contextlib.contextmanager
def _alone(stamps: Path) -> Iterator[None]:
    """Hold a folder of stamps, until this process ends at the latest: none moves what another one writes."""
    stamps.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(stamps / ".lock", timeout=0):
            yield
    except Timeout:
        raise ManifestError(
            "another pipeline works in this folder", stamps.parent, "wait for it, or choose another --out"
        ) from None


@dataclasses.dataclass(kw_only=True)
class _Session:
    """One call of `run_steps`: what is finished, and how to go on."""

    stamps: Path
    start: str | None
    say: Say
    done: dict[str, Stamp]  # by name of the step
    runs: list[StepRun] = dataclasses.field(default_factory=list)

    def all(self, steps: Sequence[Step], jobs: int) -> list[StepRun]:
        waiting = list(steps)
        running: dict[Future[None], tuple[Step, str]] = {}
        names = {step.name for step in steps}
        with contextlib.ExitStack() as stack:
            pool = None
            while waiting or running:
                for step in list(waiting):
                    if any(name in names and name not in self.done for name in step.after):
                        continue
                    if (step.whole_machine and running) or len(running) == jobs:
                        break  # in their order: what comes first is what the others wait for
                    waiting.remove(step)
                    now = identity_of(step, self.done)
                    why = self._prepare(step, now)
                    if why and jobs > 1 and not step.whole_machine:
                        pool = pool or stack.enter_context(process_pool(jobs))
                        running[pool.submit(_run, step, self._stamp_file(step), now)] = (step, why)
                        continue
                    if why:
                        _run(step, self._stamp_file(step), now)
                    self._finish(step, why)
                finished, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
                for future in finished:
                    step, why = running.pop(future)
                    _arrive(future, step)
                    self._finish(step, why)
        return self.runs

    def _prepare(self, step: Step, now: Stamp) -> str:
        """Say whether a step runs, and set aside what it must not find; returns why it runs, or nothing."""
        before = as_of_today(step, read_stamp(self._stamp_file(step)))
        asked = step.name == self.start
        why = why_due(step, before, now) or ("asked for" if asked else "")
        fits = same(before, now) if before else step.keeps_notes
        kept = [] if fits and not (asked and before.get("finished")) else self._set_aside(step)
        remark = f"; what was there is kept as {', '.join(map(str, kept))}" if kept else ""
        self.say(f"{step.name}: {why or 'unchanged'}{remark}")
        return why

    def _set_aside(self, step: Step) -> list[Path]:
        """Give what lies in a step's outputs, and its stamp, a name with the date; returns the new names."""
        lying = [path for path in step.outputs if path.exists()]
        stamp = self._stamp_file(step)
        date = time.strftime(ASIDE)
        number = 1
        while any(_dated(path, date, number).exists() for path in (*lying, stamp)):
            number += 1
        for path in lying:
            path.rename(_dated(path, date, number))
        if lying and stamp.exists():
            stamp.rename(_dated(stamp, date, number))  # so that both can be moved back
        return [_dated(path, date, number) for path in lying]

    def _stamp_file(self, step: Step) -> Path:
        return self.stamps / f"{step.name}.json"

    def _finish(self, step: Step, why: str) -> None:
        stamp = read_stamp(self._stamp_file(step))
        self.done[step.name] = stamp
        self.runs.append(StepRun(name=step.name, why=why, seconds=stamp["seconds"]))
        if why:
            self.say(f"{step.name}: done in {stamp['seconds']:.1f} s")


def _dated(path: Path, date: str, number: int) -> Path:
    return path.with_name(f"{path.name}.{date}" + (f"-{number}" if number > 1 else ""))


def _arrive(future: Future[None], step: Step) -> None:
    """The end of a step that ran in another process."""
    try:
        future.result()
    except BrokenProcessPool:
        raise ProcessError(
            "a process of this step was killed, often for its memory",
            step.name,
            "run the same command again to continue, with a smaller --jobs if it recurs",
        ) from None


def _run(step: Step, stamp_file: Path, now: Stamp) -> None:
    """Run a step between two stamps: the first says what is being made, the last that it is whole."""
    write_json(stamp_file, {**now, "finished": False})
    started = time.monotonic()
    step.action()
    for path in step.outputs:
        if not path.exists():
            raise ManifestError(f"step {step.name} did not make it", path)
    made = fingerprint([fingerprint_tree(path) for path in step.outputs])
    seconds = round(time.monotonic() - started, 1)
    write_json(stamp_file, {**now, "finished": True, "made": made, "seconds": seconds})
