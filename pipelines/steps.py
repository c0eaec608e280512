"""Steps of a pipeline: each runs when something that shapes its result has changed, and says what.

A step is the same as before if its settings, the content of its inputs and the source code behind it are.
Its stamp in `FOLDER/NAME.json` is written last: a step that was stopped in the middle runs again, and finds
what it had finished. A step that changed starts from nothing: what it wrote before is deleted.

The content of what a step made decides about the steps after it: a change that makes the same files again
(a comment, another number of workers) costs one step, and nothing after it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from clotho_long.core.errors import ConfigError, ManifestError
from clotho_long.core.files import fingerprint, fingerprint_file, write_json
from clotho_long.features.store import PACKED_FOLDER
from pipelines.code_version import code_version
from pipelines.processes import process_pool

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage of a pipeline.

    Attributes:
        action: makes the outputs; called again after an interruption, it goes on.
        settings: JSON-like, all that shapes the result besides inputs and code.
        after: steps whose outputs this one reads.
        files: what it reads that no step makes: files, or folders of the user's.
        outputs: files and folders that are this step's alone.
        code: modules whose source, with all that they import of ours, makes the result.
        whole_machine: False for what takes one core and can be pickled: several of these run side by side.
        judges: the action knows by notes in the files which of them are still right: changed code alone
            deletes nothing.
    """

    name: str
    action: Callable[[], None]
    outputs: tuple[Path, ...]
    code: tuple[str, ...]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    after: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    whole_machine: bool = True
    judges: bool = False


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
        ManifestError: an earlier step than `start` was never finished, or a step did not make its outputs.
    """
    names = [step.name for step in steps]
    for option, name in (("--from", start), ("--until", until)):
        if name is not None and name not in names:
            raise ConfigError(f"no step {name!r}", option, f"the steps are {', '.join(names)}")
    first = 0 if start is None else names.index(start)
    last = len(steps) if until is None else names.index(until) + 1
    done = {step.name: _finished(step, _read_stamp(stamps / f"{step.name}.json")) for step in steps[:first]}
    runs = _Session(stamps=stamps, start=start, say=say, done=done).all(steps[first:last], jobs)
    return sorted(runs, key=lambda run: names.index(run.name))


@dataclasses.dataclass(kw_only=True)
class _Session:
    """One call of `run_steps`: what is finished, and how to go on."""

    stamps: Path
    start: str | None
    say: Say
    done: dict[str, dict[str, Any]]  # stamps by name
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
                    stamp_file = self.stamps / f"{step.name}.json"
                    now = _identity(step, self.done)
                    before = _read_stamp(stamp_file)
                    why = _why(step, before, now) or ("asked for" if step.name == self.start else "")
                    self.say(f"{step.name}: {why or 'unchanged'}")
                    if why and jobs > 1 and not step.whole_machine:
                        pool = pool or stack.enter_context(process_pool(jobs))
                        running[pool.submit(_run, step, stamp_file, before, now)] = (step, why)
                        continue
                    if why:
                        _run(step, stamp_file, before, now)
                    self._finish(step, why)
                finished, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
                for future in finished:
                    step, why = running.pop(future)
                    future.result()
                    self._finish(step, why)
        return self.runs

    def _finish(self, step: Step, why: str) -> None:
        stamp = _read_stamp(self.stamps / f"{step.name}.json")
        self.done[step.name] = stamp
        self.runs.append(StepRun(name=step.name, why=why, seconds=stamp["seconds"]))
        if why:
            self.say(f"{step.name}: done in {stamp['seconds']:.1f} s")


def _run(step: Step, stamp_file: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Run a step between two stamps: the first says what is being made, the last that it is whole."""
    if before and not _same(before, now) and not (step.judges and _same(before, now, but="code")):
        for path in step.outputs:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    write_json(stamp_file, {**now, "finished": False})
    started = time.monotonic()
    step.action()
    for path in step.outputs:
        if not path.exists():
            raise ManifestError(f"step {step.name} did not make it", path)
    made = fingerprint([fingerprint_tree(path) for path in step.outputs])
    seconds = round(time.monotonic() - started, 1)
    write_json(stamp_file, {**now, "finished": True, "made": made, "seconds": seconds})


def _identity(step: Step, done: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What a step's result hangs on, as the stamp keeps it."""
    inputs = {name: done[name]["made"] for name in step.after if name in done}
    inputs |= {str(path): fingerprint_input(path) for path in step.files}
    return {
        # through JSON, as the stamp will be read back: tuples become lists
        "settings": json.loads(json.dumps(step.settings)),
        "inputs": inputs,
        "code": code_version(step.code),
    }


def _why(step: Step, before: dict[str, Any], now: dict[str, Any]) -> str:
    """Why a step has to run, in one line; empty if it has not."""
    if not before:
        return "no output yet"
    for part, label in (
        ("settings", "settings changed"),
        ("inputs", "input changed"),
        ("code", "code changed"),
    ):
        if changed := _changed_keys(before.get(part, {}), now[part]):
            return f"{label}: {', '.join(changed)}"
    if not before.get("finished"):
        return "was interrupted, goes on"
    missing = [str(path) for path in step.outputs if not path.exists()]
    return f"output is missing: {missing[0]}" if missing else ""


def _changed_keys(before: Any, now: Any, prefix: str = "") -> list[str]:
    """Dotted names of what differs in two JSON values."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [prefix.rstrip(".")]
    keys = [*now, *(key for key in before if key not in now)]
    absent = object()
    return [
        name
        for key in keys
        for name in _changed_keys(before.get(key, absent), now.get(key, absent), f"{prefix}{key}.")
    ]


def _same(before: dict[str, Any], now: dict[str, Any], *, but: str = "") -> bool:
    return all(before.get(part) == now[part] for part in now if part != but)


def _finished(step: Step, stamp: dict[str, Any]) -> dict[str, Any]:
    if not stamp.get("finished"):
        raise ManifestError(f"step {step.name} was never finished", "--from", f"start with {step.name}")
    return stamp


def _read_stamp(path: Path) -> dict[str, Any]:
    """A stamp; empty where none can be read, which lets its step run."""
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def fingerprint_tree(path: Path) -> str:
    """Identifies a file or all files of a folder, by names and content; packed features are a cache."""
    if path.is_dir():
        files = sorted(
            file for file in path.rglob("*") if file.is_file() and file.parent.name != PACKED_FOLDER
        )
        return fingerprint([[file.relative_to(path).as_posix(), fingerprint_file(file)] for file in files])
    return fingerprint_file(path)


def fingerprint_input(path: Path) -> str:
    """Identifies a file by its content, and a folder of the user's (terabytes, maybe) by names, sizes, times.

    Raises:
        ManifestError: there is nothing.
    """
    if path.is_file():
        return fingerprint_file(path)
    if not path.is_dir():
        raise ManifestError("no such file or folder", path, "check the settings")
    facts = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name != PACKED_FOLDER)  # a cache, made when read
        for name in sorted(names):
            stat = (Path(folder) / name).stat()
            facts.append([os.path.relpath(folder, path), name, stat.st_size, stat.st_mtime_ns])
    return fingerprint(facts)
