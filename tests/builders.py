"""Small sources, corpora and records for tests."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from clotho_long.audio.io import Waveform, write_audio
from clotho_long.cli import main
from clotho_long.core.jsonl import write_records
from clotho_long.core.records import SPLITS
from clotho_long.corpus import Corpus
from clotho_long.recipe.records import ClipRecipe, Event
from clotho_long.sources.clotho import FOLDER_OF_SPLIT
from pipelines.synthetic import TOUR_RATE_HZ, tour_sound, write_mp4

RATE_HZ = 32_000
# Two splits of one tour each: the least that a corpus with a held-out part needs.
PUBLISHED_TOURS = ("Venice", "Singapore", "Istanbul")


def run_cli(*arguments: object) -> Result:
    """Run `clotho-long` in this process; stdout and stderr are kept apart."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def tone(frequency_hz: float, length_s: float, *, rate_hz: int = RATE_HZ, peak: float = 0.5) -> Waveform:
    """A sine, [sample]."""
    time_s = np.arange(int(length_s * rate_hz)) / rate_hz
    wave: Waveform = (peak * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)
    return wave


def noise(length_s: float, *, rate_hz: int = RATE_HZ, rms: float = 0.05, seed: int = 0) -> Waveform:
    """White noise, [sample]."""
    samples = np.random.default_rng(seed).standard_normal(int(length_s * rate_hz))
    wave: Waveform = (rms * samples).astype(np.float32)
    return wave


def make_clotho(
    root: Path,
    lengths_s: Sequence[float] = (4.0, 2.5, 6.0),
    *,
    splits: Sequence[str] = ("train", "valid", "test"),
) -> Path:
    """A Clotho folder whose events are tones, one file for each length and split."""
    for split in splits:
        names = [f"{split} tone {index}, [take 1].wav" for index in range(len(lengths_s))]
        for index, (name, length_s) in enumerate(zip(names, lengths_s, strict=True)):
            write_audio(
                root / FOLDER_OF_SPLIT[split] / name,
                tone(300 + 200 * index, length_s, rate_hz=44_100),
                44_100,
            )
        write_captions(root, split, {name: [f"{name}: caption {n}" for n in range(1, 6)] for name in names})
    return root


def write_captions(
    root: Path, split: str, captions: dict[str, list[str]], *, encoding: str = "utf-8"
) -> Path:
    """The caption csv of one split."""
    path = root / f"clotho_captions_{FOLDER_OF_SPLIT[split]}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", *(f"caption_{i}" for i in range(1, 6))])
        rows.writerows([name, *texts] for name, texts in captions.items())
    return path


def make_tours(root: Path, length_s: float = 40.0, *, names: Sequence[str] = PUBLISHED_TOURS) -> Path:
    """A folder of tours, as 16-bit wav: quicker than mp4, for tests that are not about decoding."""
    for index, name in enumerate(names):
        write_audio(root / f"{name}.wav", noise(length_s, seed=index + 1), RATE_HZ)
    return root


def make_mp4(path: Path, length_s: float = 12.0) -> Path:
    """A tour as it comes: stereo AAC in an mp4."""
    write_mp4(path, tour_sound(length_s, np.random.default_rng(5)), TOUR_RATE_HZ)
    return path


def make_corpus(
    root: Path,
    *,
    clip_duration_s: float = 20.0,
    lengths_s: Sequence[float] = (4.0, 2.5, 6.0),
    tour_s: float = 40.0,
) -> Corpus:
    """A scanned and planned corpus of tones in noise, below `root`."""
    clotho, tours = make_clotho(root / "clotho", lengths_s), make_tours(root / "tours", tour_s)
    corpus = root / "corpus"
    for arguments in (
        ("scan", "--clotho", clotho, "--walking-tours", tours, "--out", corpus, "--jobs", 1),
        ("plan", corpus, "--set", f"clip_duration={clip_duration_s}", "--set", "gap_s.mean=3"),
    ):
        result = run_cli(*arguments)
        assert result.exit_code == 0, result.output
    return Corpus(corpus)


def make_event(**changes: object) -> Event:
    """An event of 4 s that sounds once, at 2 s."""
    values: dict[str, object] = {
        "qid": "00000",
        "event_id": "dog",
        "trim_onset_s": 0,
        "duration_s": 4.0,
        "caption_index": 0,
        "foreground_db": 0.0,
        "starts_s": (2.0,),
    }
    return Event(**{**values, **changes})  # type: ignore[arg-type]


def make_recipe(*events: Event, **changes: object) -> ClipRecipe:
    """A recipe of 20 s from the start of Venice."""
    values: dict[str, object] = {
        "recording_id": "Venice_0.0_20.0",
        "split": "train",
        "background_id": "Venice",
        "start_s": 0.0,
        "duration_s": 20.0,
        "background_db": -20.0,
        "sample_rate_hz": RATE_HZ,
        "events": events or (make_event(),),
    }
    return ClipRecipe(**{**values, **changes})  # type: ignore[arg-type]


def files_below(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by relative name."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def as_manifest(corpus: Corpus, folder: Path) -> Path:
    """The recipes of a corpus as a manifest: compressed, without what only a scan knows."""
    for split in SPLITS:
        recipes = (
            dataclasses.replace(r, events=tuple(dataclasses.replace(e, trim_onset_s=None) for e in r.events))
            for r in corpus.recipes(split)
        )
        write_records(folder / "recipes" / f"{split}.jsonl.gz", recipes, ClipRecipe)
    return folder
