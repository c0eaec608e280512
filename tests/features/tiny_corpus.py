"""A corpus of a few seconds, made of tones and noise, for tests of extraction."""

from pathlib import Path

import numpy as np
import soundfile

from clotho_long.core.settings import override
from clotho_long.corpus import Corpus
from clotho_long.recipe.spec import PRESETS
from clotho_long.stages.plan import plan
from clotho_long.stages.scan import scan

RATE_HZ = 8000
FOLDERS = ("development", "validation", "evaluation")


def write_noise(
    path: Path, duration_s: float, *, seed: int = 0, level: float = 0.1, rate_hz: int = RATE_HZ
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = level * np.random.default_rng(seed).standard_normal(int(duration_s * rate_hz))
    soundfile.write(path, noise, rate_hz)
    return path


def make_corpus(folder: Path, *, num_clips: int = 2, clip_s: int = 8) -> Corpus:
    """Three tours, one a split, with `num_clips` clips of each, and two events a split."""
    tours, clotho = folder / "tours", folder / "clotho"
    for index, name in enumerate(("A tour", "B tour", "C tour")):
        write_noise(tours / f"{name}.wav", clip_s + 3, seed=index, level=0.05)
    for index, split in enumerate(FOLDERS):
        rows = ["file_name,caption_1,caption_2,caption_3,caption_4,caption_5"]
        for number in range(2):
            write_noise(clotho / split / f"event {number}.wav", 2, seed=10 * index + number, level=0.2)
            rows.append(f"event {number}.wav," + ",".join(f"noise {number} in way {k}" for k in range(5)))
        (clotho / f"clotho_captions_{split}.csv").write_text("\n".join(rows) + "\n")
    corpus = Corpus(folder / "corpus")
    scan(corpus, clotho, tours, split_rule="ratio:1,1,1")
    spec = override(
        PRESETS["clotho-moment-long"],
        (f"clip_duration_s={clip_s}", "clip_interval_s=1", "gap_s.mean=1", "keep_empty_clips=true"),
    )
    plan(corpus, spec, preset="clotho-moment-long", seed=7, max_clips=num_clips)
    return corpus


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and what is in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
