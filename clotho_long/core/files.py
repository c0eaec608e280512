"""Files that are whole or absent, and fingerprints that say what made them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# `.NAME.HOST-PID-RANDOM.part.SUFFIX`: a file that a process of that machine is writing.
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:4]
_PART = re.compile(r"\..*\.(?P<host>[0-9a-f]{4})-(?P<pid>\d+)-[0-9a-f]{8}\.part(\.[^.]*)?", re.DOTALL)
# Whoever writes on another machine changes the file more often than that.
ABANDONED_S = 24 * 3600.0

WHOLE = "sha256-"  # how a fingerprint of all of a file starts
# Fingerprints without it are of earlier versions: of a file's size and three pieces of it.
EARLIER_PIECE_BYTES = 1 << 20
READ_BYTES = 1 << 20
SETTLED_NS = 2_000_000_000  # the coarsest clock of a file system

FileState = tuple[int, int, int]  # size in bytes, time of change in ns, inode


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; it becomes `path` only if the block succeeds.

    Raises:
        OSError: of the block, and it names `path` where the system named no file (a full disk).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays last: np.savez appends .npz otherwise, soundfile reads the format from it
    mark = f"{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    part = path.with_name(f".{shortened(path.stem, 80)}.{mark}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        if error.filename is None or error.filename == str(part):
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def is_part(path: Path) -> bool:
    """Whether a file is one that `atomic_path` has not finished."""
    return _PART.fullmatch(path.name) is not None


@contextlib.contextmanager
def tidied(*folders: Path) -> Iterator[None]:
    """Before and after the block, remove below `folders` what writers that were killed left unfinished."""
    remove_leftovers(*folders)
    try:
        yield
    finally:
        remove_leftovers(*folders)


def remove_leftovers(*folders: Path) -> None:
    """Remove the unfinished files below `folders` whose writer is gone; others' files are left alone."""
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for path in (Path(parent, name) for name in names if name[0] == "."):
                if (match := _PART.fullmatch(path.name)) and _is_abandoned(path, match):
                    path.unlink(missing_ok=True)


def _is_abandoned(path: Path, match: re.Match[str]) -> bool:
    if match["host"] == _HOST and not _is_running(int(match["pid"])):
        return True
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_S
    except OSError:
        return False  # finished or removed just now


def _is_running(pid: int) -> bool:
    try:
        # the state follows the name, which stands in brackets; a zombie only waits to be counted
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def fingerprint(value: Any) -> str:
    """Sixteen hex digits that identify a JSON-like value, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def fingerprint_file(path: Path, *, like: str = "") -> str:
    """`sha256-` and the digest of a file's content, all of it.

    Args:
        like: a fingerprint of an earlier run; the answer is found by its rule, to be compared with it.
    """
    state = file_state(path)
    compute = _fingerprint_file if state else _fingerprint_file.__wrapped__
    return compute(path.absolute(), state, not like or like.startswith(WHOLE))


def same_fingerprint(path: Path, known: str) -> str:
    """The fingerprint of a file: `known`, of an earlier version too, if the file still has it."""
    if known and fingerprint_file(path, like=known) == known:
        return known
    return fingerprint_file(path)


def file_state(path: Path) -> FileState | None:
    """What changes when a file does, without reading it; None if that cannot be told yet.

    A file that was changed just now may be changed again within one tick of the file system's clock.
    """
    try:
        state = path.stat()
    except OSError:
        return None
    if time.time_ns() - state.st_mtime_ns < SETTLED_NS:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def shortened(name: str, most_bytes: int) -> str:
    """The start of a name that takes no more bytes in a file system, in whole characters."""
    return name.encode("utf-8", "surrogateescape")[:most_bytes].decode("utf-8", "ignore")


@functools.lru_cache(maxsize=4096)
def _fingerprint_file(path: Path, _state: FileState | None, whole: bool) -> str:
    """By state, too: nobody reads a large file twice in a run, and a changed one is read again."""
    with path.open("rb") as file:
        if whole:
            digest = hashlib.sha256()
            while piece := file.read(READ_BYTES):
                digest.update(piece)
            return f"{WHOLE}{digest.hexdigest()}"
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        if size <= 3 * EARLIER_PIECE_BYTES:
            digest.update(file.read())
        else:
            for start in (0, size // 2, size - EARLIER_PIECE_BYTES):
                file.seek(start)
                digest.update(file.read(EARLIER_PIECE_BYTES))
    return digest.hexdigest()[:16]
