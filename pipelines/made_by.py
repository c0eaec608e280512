"""What made a report: when, with which code, libraries and command, on which machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from clotho_long import __version__

LIBRARIES = ("numpy", "scipy", "torch", "transformers", "soundfile", "soxr", "av", "matplotlib")
ROOT = Path(__file__).resolve().parents[1]


def made_by() -> tuple[tuple[str, str], ...]:
    """Facts and their values, as text."""
    return (
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("command", shlex.join([Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]])),
        ("version", f"audio-moment-retrieval {__version__}"),
        ("commit", commit() or "not known: the code is in no git checkout"),
        ("machine", _machine()),
        ("libraries", f"Python {platform.python_version()}, {_libraries()}"),
    )


def commit(root: Path = ROOT) -> str:
    """The commit of the checkout in `root`, and whether files differ from it; empty if it is none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return ""  # installed inside somebody else's checkout
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + (", with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _machine() -> str:
    return f"{platform.platform()}, {_processor()}, {os.cpu_count()} cores{_gpus()}"


def _processor() -> str:
    """The processor's name where the system tells it, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> str:
    import torch

    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return "".join(f", {name}" for name in names)


def _libraries() -> str:
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(versions)
