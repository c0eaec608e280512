"""What an index holds: how it hears, which recordings lie where, and what their content is.

    INDEX/index.json          how it hears, and the paths that it looks after
    INDEX/recordings.jsonl    a line a recording: path, content, state of the file, duration, rows
    INDEX/features/clap/      features, a file for each *content*
    INDEX/vectors/            a vector a second, if the encoder has a shared space (`vectors`)

Features are named after the content of a recording, so that a file that was moved or renamed is known again,
and copies are heard once.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from pydantic.dataclasses import dataclass

from clotho_long.audio.choice import ChannelChoice, SoundChoice
from clotho_long.core.errors import ConfigError, FeatureError, ManifestError
from clotho_long.core.files import WHOLE, FileState, write_text
from clotho_long.core.jsonl import at_line, read_lines, write_lines
from clotho_long.core.settings import build_config, to_plain
from clotho_long.core.units import Seconds
from clotho_long.features.extract import EncoderChoice, MadeBy
from clotho_long.features.files import AUDIO_KEY, Features, audio_file, map_features, read_features
from clotho_long.features.recordings import FileSound
from clotho_long.features.windows import Convention

SETTINGS, RECORDINGS, FEATURES, VECTORS = "index.json", "recordings.jsonl", "features", "vectors"
FORMAT = 1  # raised when what is written can no longer be read by the version before
ID_DIGITS = 32  # of a content's digest, in the names of files and in the vector store


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """How an index hears. It is settled when the index is made: features of two kinds do not compare."""

    encoder: str = "msclap-2023"
    weights: str | None = None  # where the encoder's weights were; their hash is in `Catalog.made_by`
    precision: str = "float32"
    windows: Convention = "aligned"
    channels: ChannelChoice = "mean"
    track: int | None = None
    float16: bool = False  # features take half of the space

    @property
    def sound(self) -> SoundChoice:
        """What is heard of a file."""
        return SoundChoice(channels=self.channels, track=self.track)

    def choice(self, *, device: str, weights: Path | None = None) -> EncoderChoice:
        """The encoder, where `device` says; `weights` if they are not where they were."""
        known = None if self.weights is None else Path(self.weights)
        return EncoderChoice(
            name=self.encoder, weights=weights or known, device=device, precision=self.precision
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A recording of an index."""

    path: Path  # absolute
    content: str  # fingerprint of the whole file
    state: FileState | None  # by which an unchanged file is known without reading it; None: it is read again
    duration_s: Seconds
    rows: int

    @property
    def features_id(self) -> str:
        """The name of its features and vectors, the same for all files of this content."""
        return features_id(self.content)

    def sound(self, hearing: Hearing) -> FileSound:
        """The recording as the index hears it."""
        return FileSound(path=self.path, channels=hearing.channels, track=hearing.track)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """An index but for its features and vectors."""

    folder: Path
    hearing: Hearing
    made_by: MadeBy  # what the encoder says made its numbers
    space_dim: int | None  # width of the vectors; None: the encoder has no shared space
    roots: tuple[Path, ...]  # absolute: files and folders that the index looks after
    entries: Mapping[Path, Entry] = dataclasses.field(default_factory=dict)

    @property
    def features_dir(self) -> Path:
        """Where the features lie."""
        return self.folder / FEATURES

    @property
    def contents(self) -> dict[str, Entry]:
        """Each content once, by its id; of copies the first by path."""
        first: dict[str, Entry] = {}
        for path in sorted(self.entries):
            first.setdefault(self.entries[path].features_id, self.entries[path])
        return first

    def features(self, entry: Entry) -> Features:
        """The features of a recording, [row, dim], float32.

        Raises:
            FeatureError: they are missing or damaged.
        """
        rows = self._whole(entry, lambda file: read_features(file, AUDIO_KEY)[0])
        return rows.astype("float32", copy=False)

    def mapped_features(self, entry: Entry) -> npt.NDArray[Any]:
        """The features of a recording, [row, dim], as stored: of those only what is looked at is read.

        Raises:
            FeatureError: as `features`.
        """
        return self._whole(entry, lambda file: map_features(file, AUDIO_KEY))

    def _whole(self, entry: Entry, read: Callable[[Path], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        file = audio_file(self.features_dir, entry.features_id)
        try:
            rows = read(file)
        except FeatureError as error:
            fix = "remove it, if it is there, and run `amr index` again"
            raise FeatureError(error.problem, error.where, fix) from None
        if len(rows) != entry.rows:
            raise FeatureError(
                f"holds {len(rows)} rows instead of {entry.rows}",
                file,
                "remove it and run `amr index` again",
            )
        return rows

    def write(self) -> None:
        """Write both files, each whole or not at all."""
        settings = {
            "format": FORMAT,
            "hearing": to_plain(self.hearing),
            "made_by": self.made_by,
            "space_dim": self.space_dim,
            "roots": [str(root) for root in self.roots],
        }
        # names of files that are no UTF-8 hold lone surrogates, which can only be written as escapes
        write_text(self.folder / SETTINGS, f"{json.dumps(settings, indent=2)}\n")
        write_lines(self.folder / RECORDINGS, (_to_json(self.entries[path]) for path in sorted(self.entries)))


def features_id(content: str) -> str:
    """What the features of a content are called."""
    return content.removeprefix(WHOLE)[:ID_DIGITS]


def is_index(folder: Path) -> bool:
    """Whether an index was begun in a folder."""
    return (folder / SETTINGS).is_file()


def read_catalog(folder: Path) -> Catalog:
    """The catalog of an index.

    Raises:
        ManifestError: there is no index, or its files are damaged or of a later version.
    """
    file = folder / SETTINGS
    if not file.is_file():
        raise ManifestError("holds no index", folder, "make one with `amr index PATH... --out INDEX`")
    content = _settings_of(file)

    def build() -> Catalog:
        space_dim = content["space_dim"]
        return Catalog(
            folder=folder,
            hearing=build_config(Hearing, content["hearing"], where=str(file)),
            made_by=dict(content["made_by"]),
            space_dim=None if space_dim is None else int(space_dim),
            roots=tuple(Path(root) for root in content["roots"]),
            entries={entry.path: entry for entry in _entries(folder / RECORDINGS)},
        )

    try:
        catalog: Catalog = at_line(str(file), build)
    except ConfigError as error:
        raise ManifestError(error.problem, file, "make the index again in another folder") from None
    return catalog


def _settings_of(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or "format" not in content:
        raise ManifestError("is damaged", file, "make the index again in another folder")
    if content["format"] != FORMAT:
        raise ManifestError(
            f"has format {content['format']!r:.40}, not {FORMAT}", file, "update this package"
        )
    return content


def _entries(file: Path) -> Iterable[Entry]:
    """The recordings; none yet if the first run was killed."""
    if file.exists():
        for where, value in read_lines(file):
            yield at_line(where, lambda value=value: _from_json(value))


def _to_json(entry: Entry) -> dict[str, Any]:
    return {
        "path": str(entry.path),
        "content": entry.content,
        "state": entry.state,
        "duration": entry.duration_s,
        "rows": entry.rows,
    }


def _from_json(value: dict[str, Any]) -> Entry:
    state, content = value["state"], str(value["content"])
    if not content.startswith(WHOLE):
        raise ValueError(f"content {content[:40]!r} is no fingerprint")
    size, changed_ns, inode = (0, 0, 0) if state is None else map(int, state)
    return Entry(
        path=Path(str(value["path"])),
        content=content,
        state=None if state is None else (size, changed_ns, inode),
        duration_s=float(value["duration"]),
        rows=int(value["rows"]),
    )
