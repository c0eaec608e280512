"""Clotho's layout: `development/ validation/ evaluation/` and one csv of captions for each.

Clotho v2.1: Drossos et al., "Clotho: an Audio Captioning Dataset", ICASSP 2020.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.audio.io import AUDIO_SUFFIXES, probe, read_mono
from clotho_long.audio.trim import active_seconds
from clotho_long.core.errors import AudioError, ManifestError
from clotho_long.core.files import same_fingerprint
from clotho_long.core.units import Decibels
from clotho_long.sources.records import Foreground, Skipped, composed, is_utf8, not_utf8

FOLDER_OF_SPLIT = {"train": "development", "valid": "validation", "test": "evaluation"}
NUM_CAPTIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedFile:
    """One row of a caption csv, joined with its file."""

    split: str
    event_id: str
    file: str  # relative to the Clotho folder
    captions: tuple[str, ...]


def find_events(root: Path) -> Iterator[CaptionedFile | Skipped]:
    """Every captioned file below `root` by split and name, and what does not fit together.

    A row without its file, a file without its row and a row without a caption are skipped. The csv may name
    `x.wav` where the disk holds `x.flac`: suffixes of audio files may differ. So may blanks around a name
    (three names of Clotho begin with one, which some programs drop) and the way in which accents are encoded.

    Raises:
        ManifestError: the folder holds no Clotho, or a csv cannot be read as one.
    """
    present = [split for split in FOLDER_OF_SPLIT if captions_file(root, split).is_file()]
    if not present:
        raise ManifestError(
            "holds no clotho_captions_{development,validation,evaluation}.csv",
            root,
            "give the folder that holds Clotho's csv files and audio folders as --clotho",
        )
    for split in present:
        yield from _find_split(root, split)


def captions_file(root: Path, split: str) -> Path:
    """Where the captions of a split lie."""
    return root / f"clotho_captions_{FOLDER_OF_SPLIT[split]}.csv"


def read_captions(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (file name as it stands, its five captions stripped) for each row; a byte-order mark is allowed.

    Raises:
        ManifestError: the file is unreadable, lacks a column, or a row has other columns than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            columns = _columns(header, path)
            for row in rows:
                if not any(row):
                    continue
                if len(row) != len(header):
                    longer = len(row) > len(header)
                    raise ManifestError(
                        f"{len(row)} of {len(header)} columns",
                        f"{path}:{rows.line_num}",
                        "put quotes around a caption that holds a comma" if longer else "mend the row",
                    )
                name, *captions = (row[column] for column in columns)
                yield name, tuple(caption.strip() for caption in captions)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ManifestError(
            f"cannot be read (byte 0x{byte:02x} is not UTF-8; is it windows-1252?)", path, "save it as UTF-8"
        ) from None
    except (OSError, csv.Error) as error:
        raise ManifestError(f"cannot be read ({error})", path, "check that it is Clotho's csv") from None


def _columns(header: Sequence[str], path: Path) -> list[int]:
    """Where the file name and the captions stand."""
    wanted = ["file_name", *(f"caption_{i}" for i in range(1, NUM_CAPTIONS + 1))]
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise ManifestError(f"is separated by {name}", f"{path}:1", "save it with commas, in UTF-8")
    if missing := [name for name in wanted if name not in header]:
        raise ManifestError(f"has no column {missing[0]}", f"{path}:1", f"columns are {','.join(wanted)}")
    return [header.index(name) for name in wanted]


def measure_event(
    root: Path, found: CaptionedFile, *, trim_db: Decibels, known: str = ""
) -> Foreground | Skipped:
    """Decode a file and find the part of it that sounds; what cannot be used is skipped with the reason.

    Args:
        known: the fingerprint that an earlier scan gave it, kept if the file still has it.
    """
    path = root / found.file
    try:
        info = probe(path)
        waveform = read_mono(path)
    except AudioError as error:
        return Skipped(file=found.file, reason=error.problem)
    if not np.any(waveform):
        return Skipped(file=found.file, reason="is silent")
    length_s = len(waveform) / info.sample_rate_hz
    onset_s, offset_s = active_seconds(waveform, info.sample_rate_hz, trim_db=trim_db)
    if offset_s == onset_s:
        return Skipped(file=found.file, reason=f"lasts {length_s:.2f} s: no whole second survives trimming")
    return Foreground(
        event_id=found.event_id,
        split=found.split,
        file=found.file,
        fingerprint=same_fingerprint(path, known),
        sample_rate_hz=info.sample_rate_hz,
        num_channels=info.num_channels,
        length_s=length_s,
        onset_s=onset_s,
        duration_s=offset_s - onset_s,
        captions=found.captions,
    )


def _find_split(root: Path, split: str) -> Iterator[CaptionedFile | Skipped]:
    folder = FOLDER_OF_SPLIT[split]
    csv_path = captions_file(root, split)
    captions: dict[str, tuple[str, ...]] = {}
    for name, texts in read_captions(csv_path):
        if name in captions:
            raise ManifestError(f"file {name!r} has two rows", csv_path, "remove one")
        captions[name] = texts
    files = sorted(p.name for p in (root / folder).glob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    usable = [name for name in files if is_utf8(name)]
    yield from (not_utf8(f"{folder}/{name}") for name in files if not is_utf8(name))
    _refuse_equal_stems(captions, csv_path)
    row_of_file: dict[str, str] = {}
    for name, file in _matches(sorted(captions), usable):
        if file is None:
            yield Skipped(file=f"{folder}/{name}", reason="has captions but no file")
        elif file in row_of_file:
            raise ManifestError(
                f"{row_of_file[file]!r} and {name!r} mean one file, {file!r}",
                csv_path,
                "an event's id is its name: rename one",
            )
        else:
            row_of_file[file] = name
            if any(captions[name]):
                yield CaptionedFile(
                    split=split,
                    event_id=_event_id(file, name),
                    file=f"{folder}/{file}",
                    captions=captions[name],
                )
            else:
                yield Skipped(file=f"{folder}/{file}", reason="has only empty captions")
    captioned = {Path(file).stem for file in row_of_file}
    for file in usable:
        if file not in row_of_file and Path(file).stem not in captioned:
            yield Skipped(file=f"{folder}/{file}", reason="has no captions")


def _refuse_equal_stems(names: Iterable[str], csv_path: Path) -> None:
    by_stem: dict[str, str] = {}
    for name in names:
        other = by_stem.setdefault(composed(Path(name).stem), name)
        if other != name:
            raise ManifestError(
                f"{other!r} and {name!r} differ in their suffix only",
                csv_path,
                "an event's id is its name: rename one",
            )


def _matches(names: Sequence[str], files: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each name of the csv with its file: the one that is spelt most alike, None if there is none."""
    indices = [(key, _first_by(key, files)) for key in _SPELLINGS]
    for name in names:
        yield name, next((index[key(name)] for key, index in indices if key(name) in index), None)


# From the strictest to the loosest way in which two spellings are one name.
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    composed,
    lambda name: composed(Path(name).stem),
    lambda name: composed(name).strip(),
    lambda name: composed(Path(name.strip()).stem).strip(),
)


def _first_by(key: Callable[[str], str], files: Sequence[str]) -> dict[str, str]:
    first: dict[str, str] = {}
    for file in files:
        first.setdefault(key(file), file)
    return first


def _event_id(file: str, name: str) -> str:
    """The name without its suffix, from the disk or the csv: the one that kept the blanks around it."""
    return max(composed(Path(file).stem), composed(Path(name).stem), key=len)
