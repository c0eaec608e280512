"""Packing a folder of feature files into one matrix and an index; what `feature_store` reads.

The matrix is raw little-endian float32, the rows of all items one after the other. The npz index says who
lies where and which state of which file was packed, so that a pack is rebuilt when any of them changed.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from clotho_long.core.errors import FeatureError
from clotho_long.core.files import atomic_path, fingerprint
from clotho_long.features.files import (
    AUDIO_FOLDER,
    AUDIO_KEY,
    TEXT_FOLDER,
    TEXT_KEY,
    UNREADABLE,
    Features,
    audio_file,
    parse_note,
    read_features,
    text_file,
)

logger = logging.getLogger(__name__)

Kind = Literal["audio", "text"]
Stamp = tuple[int, int]  # size in bytes and time of change in ns: which state of a file was packed

FORMAT = 1  # raise it when the layout of index or matrix changes: older packs are then rebuilt
# What must agree among files that lie together. The rest of `made_by` (the source) differs from file to file.
SHARED_FACTS = ("encoder", "windows")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFolder:
    """The audio or the text features below a directory such as CORPUS/features."""

    features_dir: Path
    kind: Kind

    @property
    def path(self) -> Path:
        return self.features_dir / (AUDIO_FOLDER if self.kind == "audio" else TEXT_FOLDER)

    @property
    def key(self) -> str:
        return AUDIO_KEY if self.kind == "audio" else TEXT_KEY

    def file(self, item: str) -> Path:
        return (audio_file if self.kind == "audio" else text_file)(self.features_dir, item)

    def items(self) -> list[str]:
        """The ids of all files, sorted; none if there is no folder yet."""
        return sorted(self._all_stamps()) if self.path.is_dir() else []

    def stamps(self, ids: Iterable[str] | None) -> dict[str, Stamp]:
        """Id -> state of its file, sorted by id; all files of the folder if `ids` is None.

        Raises:
            FeatureError: there are none, or the file of a wanted id is missing.
        """
        found = self._all_stamps() if ids is None else {item: self._stamp(item) for item in ids}
        if not found:
            raise FeatureError(
                "no features are asked for" if ids is not None else "holds no feature files",
                self.path,
                "run `clotho-long extract`, or check --features",
            )
        return dict(sorted(found.items()))

    def _all_stamps(self) -> dict[str, Stamp]:
        suffix = ".npz"
        prefix = self.file("").name.removesuffix(suffix)
        try:
            with os.scandir(self.path) as entries:
                return {
                    entry.name[len(prefix) : -len(suffix)]: _stamp(entry.stat())
                    for entry in entries
                    # a leading dot marks a file that is still being written
                    if entry.name.endswith(suffix) and entry.name.startswith(prefix) and entry.name[0] != "."
                }
        except OSError as error:
            raise FeatureError(
                f"cannot be listed ({error.strerror})",
                self.path,
                "run `clotho-long extract`, check --features",
            ) from None

    def _stamp(self, item: str) -> Stamp:
        try:
            return _stamp(self.file(item).stat())
        except OSError:
            raise FeatureError(
                "no such feature file", self.file(item), "run `clotho-long extract`, or check --features"
            ) from None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PackIndex:
    """Where each item lies in the matrix beside the index file."""

    path: Path
    matrix_path: Path
    position: Mapping[str, int]  # id -> its place among the items
    starts: npt.NDArray[np.int64]  # [item + 1], in rows
    stamps: npt.NDArray[np.int64]  # [item, 2]
    dim: int
    made_by: dict[str, Any]  # the facts that all files share; empty for files by others

    def covers(self, stamps: Mapping[str, Stamp]) -> bool:
        """Whether all these files were packed, in exactly this state, and the matrix is whole."""
        places = [self.position.get(item, -1) for item in stamps]
        if min(places) < 0 or (self.stamps[places] != np.array(list(stamps.values()))).any():
            return False
        try:
            return self.matrix_path.stat().st_size == int(self.starts[-1]) * self.dim * 4
        except OSError:
            return False

    def map_rows(self) -> Features:
        """The whole matrix [row, dim], mapped from disk and read-only."""
        # as a plain array: slicing an np.memmap costs several times as much
        shape = (int(self.starts[-1]), self.dim)
        return np.asarray(np.memmap(self.matrix_path, dtype="<f4", mode="r", shape=shape))


def read_index(path: Path) -> PackIndex | None:
    """The index at `path`; None if there is none of today's format, so that it has to be written."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["format"]) != FORMAT:
                return None
            return PackIndex(
                path=path,
                matrix_path=path.with_name(str(arrays["matrix_name"])),
                position={item: at for at, item in enumerate(arrays["ids"].tolist())},
                starts=arrays["starts"],
                stamps=arrays["stamps"],
                dim=int(arrays["dim"]),
                made_by=parse_note(path, str(arrays["made_by"])),
            )
    except (*UNREADABLE, FeatureError):
        return None


def write_pack(folder: FeatureFolder, stamps: Mapping[str, Stamp], index_path: Path) -> PackIndex:
    """Write the matrix and then the index of these files; each replaces an older one as a whole.

    Raises:
        FeatureError: a file is malformed, not finite, or of another width or encoder than its neighbours.
    """
    logger.info("packing %d feature files of %s", len(stamps), folder.path)
    # named after its content: a reader of the old index keeps the old matrix, two writers write the same one
    matrix_path = index_path.with_name(f"{index_path.stem}.{fingerprint([FORMAT, stamps])}.f32")
    previous = read_index(index_path)
    lengths: list[int] = []
    shared: dict[str, Any] = {}
    dim = 0
    with atomic_path(matrix_path) as part, part.open("wb") as matrix:
        for item in stamps:
            rows = _checked_rows(folder.file(item), folder.key, dim, shared)
            matrix.write(rows.data)
            lengths.append(len(rows))
            dim = rows.shape[1]
    index = PackIndex(
        path=index_path,
        matrix_path=matrix_path,
        position={item: at for at, item in enumerate(stamps)},
        starts=np.cumsum([0, *lengths], dtype=np.int64),
        stamps=np.array(list(stamps.values()), dtype=np.int64),
        dim=dim,
        made_by=shared,
    )
    _write_index(index)
    if previous is not None and previous.matrix_path != matrix_path:
        previous.matrix_path.unlink(missing_ok=True)
    return index


def _write_index(index: PackIndex) -> None:
    with atomic_path(index.path) as part:
        np.savez(
            part,
            format=np.array(FORMAT),
            matrix_name=np.array(index.matrix_path.name),
            ids=np.array(list(index.position)),
            starts=index.starts,
            stamps=index.stamps,
            dim=np.array(index.dim),
            made_by=np.array(json.dumps(index.made_by, sort_keys=True)),
        )


def _checked_rows(path: Path, key: str, dim: int, shared: dict[str, Any]) -> Features:
    stored, made_by = read_features(path, key)
    if stored.dtype.kind != "f":
        raise FeatureError(f"`{key}` is {stored.dtype}, not floating point", path, "extract it again")
    if stored.size == 0:
        raise FeatureError(f"`{key}` is empty, {stored.shape}", path, "extract it again, or leave it out")
    if dim and stored.shape[1] != dim:
        problem = f"`{key}` is {stored.shape[1]} wide, its neighbours {dim}"
        raise FeatureError(problem, path, "keep the features of one encoder in one folder")
    with np.errstate(over="ignore"):  # a float64 past float32's range becomes inf, which is refused below
        rows = np.ascontiguousarray(stored, dtype="<f4")
    if not np.isfinite(rows).all():
        raise FeatureError(f"`{key}` holds values that are not finite", path, "extract it again")
    _check_origin(path, made_by or {}, shared)
    return rows


def _check_origin(path: Path, made_by: dict[str, Any], shared: dict[str, Any]) -> None:
    """Add the facts of one file to `shared`; refuse a file that contradicts them."""
    for fact in SHARED_FACTS:
        if fact in made_by and shared.setdefault(fact, made_by[fact]) != made_by[fact]:
            raise FeatureError(
                f"was made with another `{fact}` than its neighbours", path, "extract again with --overwrite"
            )


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns
