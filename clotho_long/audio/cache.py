"""Decoded sound on disk, memory-mapped: a clip of a tour then costs a slice, not a decode.

A cache file is raw little-endian float32, mono. Its name says what it was made from, and it appears only
when it is whole, so that being there is enough to trust it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import av
import numpy as np
import soxr

from clotho_long.audio.io import Waveform
from clotho_long.audio.mix import Levels, measure_levels
from clotho_long.core.files import atomic_path, fingerprint

SAMPLE = np.dtype("<f4")


def cached_waveform(
    folder: Path, made_from: Mapping[str, object], blocks: Callable[[], Iterable[Waveform]]
) -> Path:
    """The file that holds the sound identified by `made_from`, written from `blocks()` if it is not there.

    Two workers that want the same sound may both write it: the bytes are equal and the last one stays.
    """
    libraries = {"av": av.__version__, "soxr": soxr.__version__}
    path = folder / f"{fingerprint({**made_from, **libraries})}.f32"
    if not path.is_file():
        with atomic_path(path) as part, part.open("wb") as file:
            for block in blocks():
                file.write(np.ascontiguousarray(block, SAMPLE).data)
    return path


def cached_levels(path: Path, block_samples: int) -> Levels:
    """The levels of a cached sound, measured once and kept beside it."""
    levels_path = path.with_suffix(f".{block_samples}.npy")
    if not levels_path.is_file():
        measured = measure_levels(open_waveform(path), block_samples)
        with atomic_path(levels_path) as part:
            np.save(part, np.stack([measured.energy, measured.peak]))
    energy, peak = np.load(levels_path)
    return Levels(block_samples=block_samples, energy=energy, peak=peak.astype(np.float32))


def open_waveform(path: Path) -> Waveform:
    """A cached sound, [sample], mapped read-only."""
    return np.memmap(path, dtype=SAMPLE, mode="r")
