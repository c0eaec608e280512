"""Feature files in the layout that Lighthouse reads: one npz per recording or query.

`features/clap/VID.npz` holds `features`, float32 [window, dim]; `features/clap_text/qidQID.npz` holds
`last_hidden_state`, float32 [token, dim]. Ours also hold `made_by`, a JSON text that says which encoder,
weights and window convention made them; files published by others lack it and are read as they are.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clotho_long.core.errors import FeatureError
from clotho_long.core.files import atomic_path

AUDIO_KEY = "features"
TEXT_KEY = "last_hidden_state"
AUDIO_FOLDER = "clap"
TEXT_FOLDER = "clap_text"

Features = npt.NDArray[np.float32]


def audio_file(features_dir: Path, recording_id: str) -> Path:
    """Where the audio features of a recording lie, below CORPUS/features."""
    return features_dir / AUDIO_FOLDER / f"{recording_id}.npz"


def text_file(features_dir: Path, qid: str) -> Path:
    """Where the text features of a query lie, below CORPUS/features."""
    return features_dir / TEXT_FOLDER / f"qid{qid}.npz"


def write_features(path: Path, rows: Features, key: str, made_by: dict[str, Any]) -> None:
    """Write `rows`, float32 [row, dim], under `key` with what made them; atomic.

    Raises:
        FeatureError: the rows are not a finite float32 matrix.
    """
    if rows.ndim != 2 or rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise FeatureError(f"features must be a finite float32 matrix, got {rows.dtype} {rows.shape}", path)
    with atomic_path(path) as part:
        np.savez(part, **{key: rows, "made_by": np.array(json.dumps(made_by, sort_keys=True))})


def read_features(path: Path, key: str) -> tuple[npt.NDArray[Any], dict[str, Any] | None]:
    """The matrix stored under `key`, as stored, and what made it (None in files by others).

    Raises:
        FeatureError: the file is missing, truncated, or holds no such matrix.
    """
    with _opened(path, key) as arrays:
        rows, made_by = arrays[key], _made_by(arrays)
    if rows.ndim != 2:
        raise FeatureError(f"`{key}` has shape {rows.shape}, not (rows, dim)", path, "extract it again")
    return rows, made_by


def read_made_by(path: Path, key: str) -> dict[str, Any] | None:
    """What made the matrix stored under `key`, without reading it (None in files by others).

    Raises:
        FeatureError: the file is missing, truncated, or holds no such matrix.
    """
    with _opened(path, key) as arrays:
        return _made_by(arrays)


@contextlib.contextmanager
def _opened(path: Path, key: str) -> Iterator[Any]:
    try:
        arrays = np.load(path, allow_pickle=False)
        names = getattr(arrays, "files", ["a bare array"])  # an npy file under another name
        if key not in names:
            raise FeatureError(f"holds {', '.join(names)} but no `{key}`", path, "extract it again")
        with arrays:
            yield arrays
    except FileNotFoundError:
        raise FeatureError(
            "no such feature file", path, "run `clotho-long extract`, or check --features"
        ) from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise FeatureError(
            f"is not a readable npz file ({error})", path, "delete it and extract it again"
        ) from None


def _made_by(arrays: Any) -> dict[str, Any] | None:
    return json.loads(str(arrays["made_by"])) if "made_by" in arrays.files else None
