"""Clotho's layout: `development/ validation/ evaluation/` and one csv of captions for each.

Clotho v2.1: Drossos et al., "Clotho: an Audio Captioning Dataset", ICASSP 2020.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.audio.io import AUDIO_SUFFIXES, probe, read_mono
from clotho_long.audio.trim import active_seconds
from clotho_long.core.errors import AudioError, ManifestError
from clotho_long.core.files import fingerprint_file
from clotho_long.core.units import Decibels
from clotho_long.sources.records import Foreground, Skipped

FOLDER_OF_SPLIT = {"train": "development", "valid": "validation", "test": "evaluation"}
NUM_CAPTIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedFile:
    """One row of a caption csv, joined with its file."""

    split: str
    file: str  # relative to the Clotho folder
    captions: tuple[str, ...]


def find_events(root: Path) -> Iterator[CaptionedFile | Skipped]:
    """Every captioned file below `root` by split and name, and what does not fit together.

    A row without its file, a file without its row and a row without a caption are skipped. The csv may name
    `x.wav` where the disk holds `x.flac`: suffixes of audio files may differ.

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
    """Yield (file name, its five captions) for each row; a byte-order mark is allowed.

    Raises:
        ManifestError: the file is unreadable, lacks a column, or a row is short.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            wanted = ["file_name", *(f"caption_{i}" for i in range(1, NUM_CAPTIONS + 1))]
            if missing := [name for name in wanted if name not in header]:
                raise ManifestError(
                    f"has no column {missing[0]}", f"{path}:1", f"columns are {','.join(wanted)}"
                )
            columns = [header.index(name) for name in wanted]
            for row in rows:
                if not row:
                    continue
                if len(row) < len(header):
                    raise ManifestError(
                        f"{len(row)} of {len(header)} columns", f"{path}:{rows.line_num}", "mend the row"
                    )
                name, *captions = (row[column].strip() for column in columns)
                yield name, tuple(captions)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"cannot be read ({error})", path, "check that it is Clotho's csv, in UTF-8"
        ) from None


def measure_event(root: Path, found: CaptionedFile, *, trim_db: Decibels) -> Foreground | Skipped:
    """Decode a file and find the part of it that sounds; what cannot be used is skipped with the reason."""
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
        event_id=path.stem,
        split=found.split,
        file=found.file,
        fingerprint=fingerprint_file(path),
        sample_rate_hz=info.sample_rate_hz,
        num_channels=info.num_channels,
        length_s=length_s,
        onset_s=onset_s,
        duration_s=offset_s - onset_s,
        captions=found.captions,
    )


def _find_split(root: Path, split: str) -> Iterator[CaptionedFile | Skipped]:
    folder = FOLDER_OF_SPLIT[split]
    captions: dict[str, tuple[str, ...]] = {}
    csv_path = captions_file(root, split)
    for name, texts in read_captions(csv_path):
        if name in captions:
            raise ManifestError(f"file {name!r} has two rows", csv_path, "remove one")
        captions[name] = texts
    files = {p.name: p for p in (root / folder).glob("*") if p.suffix.lower() in AUDIO_SUFFIXES}
    by_stem: dict[str, list[str]] = {}
    for name in sorted(files):
        by_stem.setdefault(Path(name).stem, []).append(name)
    used: dict[str, str] = {}
    for name, texts in sorted(captions.items()):
        stem = Path(name).stem
        candidates = [name] if name in files else by_stem.get(stem, [])
        if not candidates:
            yield Skipped(file=f"{folder}/{name}", reason="has captions but no file")
        elif not any(texts):
            yield Skipped(file=f"{folder}/{candidates[0]}", reason="has only empty captions")
        elif stem in used:
            raise ManifestError(
                f"{used[stem]!r} and {name!r} differ in their suffix only",
                csv_path,
                "an event's id is its name: rename one",
            )
        else:
            yield CaptionedFile(split=split, file=f"{folder}/{candidates[0]}", captions=texts)
        used[stem] = name
    for stem in sorted(by_stem.keys() - used.keys()):
        for name in by_stem[stem]:
            yield Skipped(file=f"{folder}/{name}", reason="has no captions")
