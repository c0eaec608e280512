"""A stand-in for Clotho and Walking Tours, and `scan; plan --manifest` on it: do the published names pass?

    python -m tests.stages.standin_clotho --out standin

The stand-in has Clotho's 5,929 names and trimmed lengths and the lengths of the ten tours, as Clotho-Moment's
generator publishes them (`tests/golden/clotho_moment`); its captions are made up, and its sound is noise at a
low rate, so that it is made in seconds and says nothing about sound. The scan decodes the tours to 6.6 GB of
cache.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from pathlib import Path

import click
import numpy as np
import soundfile

from clotho_long.core.command_line import SingleCommand
from clotho_long.core.records import SPLITS
from clotho_long.core.work import Workers
from clotho_long.corpus import Corpus
from clotho_long.sources.clotho import FOLDER_OF_SPLIT, NUM_CAPTIONS, captions_file
from clotho_long.stages.adopt import plan_from_manifest
from clotho_long.stages.check import check
from clotho_long.stages.scan import scan

FACTS = Path(__file__).resolve().parents[1] / "golden" / "clotho_moment"
MANIFEST = Path(__file__).resolve().parents[2] / "manifests" / "clotho-moment-long"
EVENT_RATE_HZ = 100  # trimming counts seconds, whatever is heard in them
TOUR_RATE_HZ = 1_000  # soxr has no use for a rate that is much lower than the mixtures'


def published_lengths_s(split: str) -> dict[str, float]:
    """Clotho's names in a split, in the published order, with their lengths after trimming."""
    with (FACTS / "events.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["name"]: float(row["duration_s"]) for row in csv.DictReader(file) if row["split"] == split
        }


def write_facts(folder: Path) -> Path:
    """The facts in the form of Clotho-Moment's generator, with captions that are made up."""
    folder.mkdir(parents=True)
    for split in SPLITS:
        facts = {
            name: {"captions": captions_of(name), "duration": length_s}
            for name, length_s in published_lengths_s(split).items()
        }
        (folder / f"foregrounds_{split}.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.copy(FACTS / "backgrounds.csv", folder)
    return folder


def captions_of(name: str) -> list[str]:
    return [f"{name}, heard for the {number}. time" for number in range(1, NUM_CAPTIONS + 1)]


def make_standin_clotho(root: Path) -> Path:
    """Clotho's folder with the published names and lengths; files of one length are one file."""
    for split, folder in FOLDER_OF_SPLIT.items():
        (root / folder).mkdir(parents=True)
        with captions_file(root, split).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file_name", *(f"caption_{n}" for n in range(1, NUM_CAPTIONS + 1))])
            for name, length_s in published_lengths_s(split).items():
                rows.writerow([f"{name}.wav", *captions_of(name)])
                os.link(_noise_of(root, int(length_s)), root / folder / f"{name}.wav")
    return root


def make_standin_tours(root: Path) -> Path:
    """The ten recordings, as long as the last published clip of each needs."""
    root.mkdir(parents=True)
    with (FACTS / "backgrounds.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            num_samples = int(float(row["last_clip_end_s"]) * TOUR_RATE_HZ)
            sound = np.random.default_rng(0).uniform(-0.3, 0.3, num_samples)
            soundfile.write(root / f"{row['recording']}.wav", sound, TOUR_RATE_HZ, subtype="PCM_U8")
    return root


def _noise_of(root: Path, length_s: int) -> Path:
    """A file of steady noise, which trimming leaves whole: every second is as loud as the others."""
    path = root / "lengths" / f"{length_s}.wav"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        second = np.random.default_rng(0).choice([-0.3, 0.3], EVENT_RATE_HZ)
        soundfile.write(path, np.tile(second, length_s), EVENT_RATE_HZ, subtype="PCM_16")
    return path


@click.command(cls=SingleCommand)
@click.option("--out", required=True, type=click.Path(exists=False, path_type=Path), help="A new folder.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
def main(out: Path, jobs: int) -> None:
    """Make the stand-in below --out, scan it, plan our manifest with it, and say what came of it."""
    started = time.perf_counter()

    def done(what: str) -> None:
        nonlocal started
        click.echo(f"{time.perf_counter() - started:6.1f} s  {what}")
        started = time.perf_counter()

    clotho = make_standin_clotho(out / "clotho")
    tours = make_standin_tours(out / "tours")
    done("made the stand-in")
    corpus = Corpus(out / "corpus")
    counts = scan(corpus, clotho, tours, jobs=jobs)
    done(
        f"scan: {sum(counts.foregrounds.values())} events, {sum(counts.backgrounds.values())} tours, "
        f"{len(counts.skipped)} skipped"
    )
    planned = plan_from_manifest(corpus, MANIFEST)
    done(f"plan --manifest: {planned.clips} clips, {planned.queries} queries")
    problems = list(check(corpus, workers=Workers(jobs=jobs)))
    done(f"check: {len(problems)} problems")
    for problem in problems:
        click.echo(problem, err=True)


if __name__ == "__main__":
    main()
