"""Feature files in the layout that Lighthouse reads: one npz per recording or query.

`features/clap/VID.npz` holds `features`, float32 [window, dim]; `features/clap_text/qidQID.npz` holds
`last_hidden_state`, float32 [token, dim]. Ours also hold `made_by`, a JSON text that says which encoder,
weights and window convention made them; files published by others lack it and are read as they are.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from clotho_long.core.errors import FeatureError
from clotho_long.core.files import atomic_path

AUDIO_KEY = "features"
TEXT_KEY = "last_hidden_state"
AUDIO_FOLDER = "clap"
TEXT_FOLDER = "clap_text"

NPY_MAGIC = b"\x93NUMPY"
ZIP_HEADER_BYTES = 30  # before the name of an entry
# Whatever damaged or hostile bytes end in. RuntimeError: an encrypted zip.
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, KeyError, SyntaxError, OverflowError, RecursionError,
    RuntimeError, NotImplementedError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
# Features hardly compress; a file that unfolds to far more than it holds was made to fill the memory.
HARMLESS_BYTES, MAX_COMPRESSION = 1 << 26, 100

Features = npt.NDArray[np.float32]


def audio_file(features_dir: Path | str, recording_id: str) -> Path:
    """Where the audio features of a recording lie, below CORPUS/features."""
    return Path(features_dir) / AUDIO_FOLDER / f"{recording_id}.npz"


def text_file(features_dir: Path | str, qid: str) -> Path:
    """Where the text features of a query lie, below CORPUS/features."""
    return Path(features_dir) / TEXT_FOLDER / f"qid{qid}.npz"


def write_features(
    path: Path, rows: Features, key: str, made_by: dict[str, Any], *, float16: bool = False
) -> None:
    """Write `rows`, float32 [row, dim], under `key` with what made them; atomic.

    Args:
        float16: keep half of the bytes; what is read back differs by up to 5e-4 of each value.

    Raises:
        FeatureError: the rows are not a finite float32 matrix, or too large for `float16`.
    """
    if rows.ndim != 2 or rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise FeatureError(f"features must be a finite float32 matrix, got {rows.dtype} {rows.shape}", path)
    if float16 and len(rows) and np.abs(rows).max() > np.finfo(np.float16).max:
        raise FeatureError("holds values that float16 cannot", path, "keep float32")
    kept = rows.astype(np.float16) if float16 else rows
    with atomic_path(path) as part:
        np.savez(part, **{key: kept, "made_by": np.array(json.dumps(made_by, sort_keys=True))})


def read_features(path: Path | str, key: str) -> tuple[npt.NDArray[Any], dict[str, Any] | None]:
    """The matrix stored under `key`, as stored, and what made it (None in files by others).

    Raises:
        FeatureError: the file is missing, truncated, or holds no such matrix.
    """
    path = Path(path)
    with _opened(path, key) as arrays:
        _matrix(path, arrays, key)
        return arrays[key], _made_by(path, arrays)


def map_features(path: Path | str, key: str) -> npt.NDArray[Any]:
    """The matrix stored under `key`, as stored and read-only: of a large file only what is looked at is read.

    So no checksum is compared. A compressed file is read as a whole.

    Raises:
        FeatureError: as `read_features`.
    """
    path = Path(path)
    with _opened(path, key) as arrays:
        stored = _matrix(path, arrays, key)
        rows: npt.NDArray[Any]
        if stored.entry.compress_type != zipfile.ZIP_STORED or 0 in stored.shape:
            rows = arrays[key]
            return rows
        begin = _content_begins(path, stored.entry) + stored.header_bytes
        order: Literal["F", "C"] = "F" if stored.fortran_order else "C"
        # as a plain array: slicing an np.memmap costs several times as much
        return np.asarray(np.memmap(path, stored.dtype, "r", begin, stored.shape, order))


def read_made_by(path: Path, key: str) -> dict[str, Any] | None:
    """What made the matrix stored under `key`, without reading it (None in files by others).

    Raises:
        FeatureError: the file is missing, truncated, or holds no such matrix.
    """
    with _opened(path, key) as arrays:
        return _made_by(path, arrays)


@contextlib.contextmanager
def _opened(path: Path, key: str) -> Iterator[Any]:
    try:
        with path.open("rb") as file:
            # numpy would take the memory that the header of a bare array asks for
            if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
                raise FeatureError(f"holds a bare array but no `{key}`", path, "extract it again")
        arrays = np.load(path, allow_pickle=False)
        with arrays:
            if key not in arrays.files:
                names = ", ".join(arrays.files) or "nothing"
                raise FeatureError(f"holds {names} but no `{key}`", path, "extract it again")
            yield arrays
    except FileNotFoundError:
        raise FeatureError(
            "no such feature file", path, "run `clotho-long extract`, or check --features"
        ) from None
    except UNREADABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FeatureError(
            f"is not a readable npz file ({reason or type(error).__name__})",
            path,
            "delete it and extract it again",
        ) from None


class _Stored(NamedTuple):
    """How an array lies in its file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    entry: zipfile.ZipInfo
    header_bytes: int  # of the array, before its numbers


def _matrix(path: Path, arrays: Any, key: str) -> _Stored:
    """How a matrix lies in its file.

    Raises:
        FeatureError: it is no matrix; and as `_check_size`.
    """
    stored = _check_size(path, arrays, key)
    if len(stored.shape) != 2:
        raise FeatureError(f"`{key}` has shape {stored.shape}, not (rows, dim)", path, "extract it again")
    return stored


def _content_begins(path: Path, entry: zipfile.ZipInfo) -> int:
    """Where in a zip file the content of an entry lies: behind a header of its own and two texts."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        name_bytes, extra_bytes = struct.unpack("<26x2H", file.read(ZIP_HEADER_BYTES))
    return entry.header_offset + ZIP_HEADER_BYTES + int(name_bytes) + int(extra_bytes)


def _check_size(path: Path, arrays: Any, key: str) -> _Stored:
    """How an array lies in its file, once its header is seen to ask for no more memory than there are bytes.

    Raises:
        FeatureError: header and content disagree, or a small file would unfold to a large array.
    """
    name = key if key in arrays.zip.namelist() else f"{key}.npy"
    with arrays.zip.open(name) as member:
        version = npy_format.read_magic(member)  # type: ignore[no-untyped-call]
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array format {version}")
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran_order, dtype = read(member)  # type: ignore[no-untyped-call]
        header = member.tell()
    entry = arrays.zip.getinfo(name)
    asked = math.prod(shape) * dtype.itemsize
    if asked != entry.file_size - header:
        raise FeatureError(
            f"`{key}` {shape} takes {asked} bytes, and {entry.file_size - header} are there",
            path,
            "delete it and extract it again",
        )
    if asked > HARMLESS_BYTES and asked > MAX_COMPRESSION * entry.compress_size:
        raise FeatureError(
            f"`{key}` {shape} unfolds {entry.compress_size} bytes to {asked}", path, "delete it"
        )
    return _Stored(tuple(shape), dtype, fortran_order, entry, header)


def _made_by(path: Path, arrays: Any) -> dict[str, Any] | None:
    if "made_by" not in arrays.files:
        return None
    _check_size(path, arrays, "made_by")
    return parse_note(path, str(arrays["made_by"]))


def parse_note(path: Path, text: str) -> dict[str, Any]:
    """What a `made_by` says; of files by others it may be anything.

    Raises:
        FeatureError: it is no JSON object.
        ValueError: it is not JSON.
    """
    note = json.loads(text)
    if not isinstance(note, dict):
        raise FeatureError("its `made_by` is no JSON object", path, "extract it again")
    return note
