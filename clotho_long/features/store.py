"""All features of a corpus as one memory-mapped matrix: opening thousands of npz files each epoch is slow.

    store = FeatureStore.open(Path("corpus/features"), kind="audio")
    store["Venice_5.0_305.0"]  # float32 [300, 768], read from disk when it is used

The folder is packed (core/feature_pack.py) on first use, and again when its files change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clotho_long.core.errors import FeatureError
from clotho_long.core.files import fingerprint
from clotho_long.features.files import Features
from clotho_long.features.pack import FeatureFolder, Kind, PackIndex, read_index, write_pack

PACKED_FOLDER = "packed"
CACHE_NAME = "audio-moment-retrieval"


class FeatureStore:
    """Read-only mapping from recording id or qid to its features, float32 [row, dim]; pickles as a path."""

    def __init__(self, index: PackIndex, ids: Iterable[str]) -> None:
        self._index = index
        self._rows = index.map_rows()
        self._slices = {
            item: slice(int(index.starts[at]), int(index.starts[at + 1]))
            for item, at in ((item, index.position[item]) for item in ids)
        }
        self.dim = index.dim
        self.made_by = index.made_by  # `encoder` and `windows` that made the files; empty for files by others
        self.lengths = {item: rows.stop - rows.start for item, rows in self._slices.items()}

    @classmethod
    def open(
        cls,
        features_dir: Path | str,
        *,
        kind: Kind,
        ids: Iterable[str] | None = None,
        cache_dir: Path | str | None = None,
    ) -> FeatureStore:
        """The audio or text features below `features_dir`, which are packed first if they are not yet.

        Args:
            features_dir: holds the folders `clap` and `clap_text`, such as CORPUS/features.
            kind: "audio" or "text".
            ids: only these recordings or qids; by default every file of the folder.
            cache_dir: where to keep the pack; by default `features_dir/packed`, or the user's cache folder if
                `features_dir` cannot be written.

        Raises:
            FeatureError: a file is missing or malformed, not finite, or of another width or encoder.
        """
        folder = FeatureFolder(features_dir=Path(features_dir), kind=kind)
        stamps = folder.stamps(ids)
        places = _places(folder.features_dir, cache_dir)
        whole = f"{folder.path.name}.npz"
        own = whole if ids is None else f"{folder.path.name}-{fingerprint(list(stamps))}.npz"
        for path in (place / name for place in places for name in dict.fromkeys((whole, own))):
            index = read_index(path)
            if index is not None and index.covers(stamps):
                return cls(index, stamps)
        place = next((p for p in places if _can_write(p)), places[-1])
        return cls(write_pack(folder, stamps, place / own), stamps)

    def __getitem__(self, item: str) -> Features:
        """The rows of one item; a view of the mapped file, so copy it before changing it."""
        try:
            return self._rows[self._slices[item]]
        except KeyError:
            raise FeatureError(f"no features of {item!r}", self._index.path, "extract them first") from None

    def __contains__(self, item: object) -> bool:
        return item in self._slices

    def __len__(self) -> int:
        return len(self._slices)

    def __reduce__(self) -> tuple[Any, ...]:
        # a memory map is pickled with its content: gigabytes, into every loader process
        return _reopen, (self._index.path, tuple(self._slices))


def pack(features_dir: Path | str, *, kind: Kind) -> Path:
    """Pack the audio or text features below `features_dir` unless that is done; the path of the index.

    Raises:
        FeatureError: as `FeatureStore.open`.
    """
    return FeatureStore.open(features_dir, kind=kind)._index.path


def _reopen(index_path: Path, ids: tuple[str, ...]) -> FeatureStore:
    index = read_index(index_path)
    if index is None:
        raise FeatureError("the pack vanished while it was used", index_path, "start again")
    return FeatureStore(index, ids)


def _places(features_dir: Path, cache_dir: Path | str | None) -> list[Path]:
    """Where the pack of a folder may lie, in order of preference."""
    own = fingerprint(str(features_dir.resolve()))
    if cache_dir is not None:
        return [Path(cache_dir) / own]
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [features_dir / PACKED_FOLDER, user_cache / CACHE_NAME / PACKED_FOLDER / own]


def _can_write(place: Path) -> bool:
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    return os.access(existing, os.W_OK)
