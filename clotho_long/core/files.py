"""Files that are whole or absent, and fingerprints that say what made them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A video of a tour is tens of gigabytes; its size and three pieces of it identify it well enough.
FINGERPRINT_PIECE_BYTES = 1 << 20


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; it becomes `path` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays last: np.savez appends .npz otherwise, soundfile reads the format from it
    part = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        # a write that fails for lack of space names no file
        error.filename = error.filename or str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


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


def fingerprint_file(path: Path) -> str:
    """Sixteen hex digits from a file's size and its content (start, middle and end of a large one)."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= 3 * FINGERPRINT_PIECE_BYTES:
            digest.update(file.read())
        else:
            for start in (0, size // 2, size - FINGERPRINT_PIECE_BYTES):
                file.seek(start)
                digest.update(file.read(FINGERPRINT_PIECE_BYTES))
    return digest.hexdigest()[:16]
