"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from clotho_long.core.errors import ClothoLongError
from clotho_long.core.files import write_text

LOCK, OWNER = ".lock", ".lock-owner"
# What `atomic_path` has not finished. Under the lock of its folder its writer is dead.
UNFINISHED = re.compile(r"\..+\.([0-9a-f]{4}-\d+-)?[0-9a-f]{8}\.part(\.[^.]*)?", re.DOTALL)


@contextlib.contextmanager
def locked(folder: Path, busy: Callable[[str], ClothoLongError]) -> Iterator[None]:
    """Work alone in `folder`, without what a killed process left unfinished directly in it.

    The operating system holds the lock, so that it ends with its process, however that ends.

    Args:
        busy: the error to raise, made of who works there: `process 12 on host`.

    Raises:
        ClothoLongError: another process works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(folder / LOCK), folder / OWNER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise busy(_said_by(owner)) from None
    try:
        write_text(owner, f"process {os.getpid()} on {platform.node()}\n")
        for path in folder.iterdir():
            if UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _said_by(owner: Path) -> str:
    with contextlib.suppress(OSError):
        return owner.read_text(encoding="utf-8").strip()
    return "it did not say which"
