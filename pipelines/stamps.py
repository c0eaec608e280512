"""Stamps of steps: what a result depends on, and why it no longer fits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clotho_long.core.errors import ManifestError
from clotho_long.core.files import fingerprint, fingerprint_file
from clotho_long.features.store import PACKED_FOLDER

if TYPE_CHECKING:
    from pipelines.steps import Step

FIRST_VERSION = 1  # of what stamps of earlier releases do not name: they named source files instead
NOT_SHAPING = ("device", "threads", "jobs", "processes")  # settings that such stamps held as well

Stamp = dict[str, Any]  # settings, inputs and versions of a step; `finished`; then `made` and `seconds`


def identity_of(step: Step, done: Mapping[str, Stamp]) -> Stamp:
    """What a step's result depends on, as the stamp keeps it."""
    inputs = {name: done[name]["made"] for name in step.after if name in done}
    inputs |= {str(path): fingerprint_input(path) for path in step.files}
    return {
        # through JSON, as the stamp will be read back: tuples become lists
        "settings": json.loads(json.dumps(step.settings)),
        "inputs": inputs,
        "versions": dict(step.versions),
    }


def as_of_today(step: Step, stamp: Stamp) -> Stamp:
    """A stamp as this release would have written it; empty if there is none."""
    if not stamp:
        return {}
    settings = {key: value for key, value in stamp.get("settings", {}).items() if key not in NOT_SHAPING}
    versions = dict.fromkeys(step.versions, FIRST_VERSION) | stamp.get("versions", {})
    return {**stamp, "settings": step.today(settings), "versions": versions}


def why_due(step: Step, before: Stamp, now: Stamp) -> str:
    """Why a step has to run, in one line; empty if it has not."""
    if not before:
        return "no output yet"
    for part, label in (
        ("settings", "settings changed"),
        ("inputs", "input changed"),
        ("versions", "version changed"),
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


def same(before: Stamp, now: Stamp) -> bool:
    """Whether a stamp has this identity, finished or not."""
    return all(before.get(part) == now[part] for part in now)


def finished_stamp(step: Step, stamp: Stamp) -> Stamp:
    """The stamp of a step that is taken as it is.

    Raises:
        ManifestError: there is nothing finished to take.
    """
    if not stamp.get("finished"):
        raise ManifestError(f"step {step.name} was never finished", "--from", f"start with {step.name}")
    return stamp


def read_stamp(path: Path) -> Stamp:
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
