"""Decoded sound on disk, memory-mapped: a clip of a tour then costs a slice, not a decode.

A cache file is an npy file of float32 [sample], mono. Its name says what it was made from, its header how
long it is: one that was cut short since is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
import soxr

from clotho_long.audio.io import Waveform
from clotho_long.audio.mix import Levels, measure_levels
from clotho_long.core.errors import AudioError
from clotho_long.core.files import atomic_path, fingerprint

SAMPLE = np.dtype("<f4")
# Raised when the same file is read as another sound, so that what was decoded before is decoded again.
READING_VERSION = 2


def cached_waveform(
    folder: Path, made_from: Mapping[str, object], blocks: Callable[[], Iterable[Waveform]]
) -> Path:
    """The file that holds the sound identified by `made_from`, written from `blocks()` unless it is there.

    Two workers that want the same sound may both write it: the bytes are equal and the last one stays.
    """
    libraries = {"av": av.__version__, "soxr": soxr.__version__, "reading": READING_VERSION}
    path = folder / f"{fingerprint({**made_from, **libraries})}.npy"
    if _mapped(path) is None:
        with atomic_path(path) as part, part.open("wb") as file:
            # numpy leaves room in the header for the length to grow, which is known only at the end
            start = _write_header(file, 0)
            num_samples = 0
            for block in blocks():
                file.write(np.ascontiguousarray(block, SAMPLE).data)
                num_samples += len(block)
            file.seek(0)
            assert _write_header(file, num_samples) == start, "the header of an npy file has changed its size"
    return path


def cached_levels(path: Path, block_samples: int) -> Levels:
    """The levels of a cached sound, measured once and kept beside it."""
    levels_path = path.with_suffix(f".{block_samples}.npy")
    waveform = open_waveform(path)
    kept = _mapped(levels_path)
    if kept is None or kept.shape != (2, -(-len(waveform) // block_samples)):
        measured = measure_levels(waveform, block_samples)
        kept = np.stack([measured.energy, measured.peak])
        with atomic_path(levels_path) as part:
            np.save(part, kept)
    energy, peak = np.array(kept)
    return Levels(block_samples=block_samples, energy=energy, peak=peak.astype(np.float32))


def open_waveform(path: Path) -> Waveform:
    """A cached sound, [sample], mapped read-only.

    Raises:
        AudioError: it is not there, or not all of it.
    """
    waveform = _mapped(path)
    if waveform is None:
        raise AudioError("is missing or was cut short", path, "run the same command again")
    return waveform


def _write_header(file: BinaryIO, num_samples: int) -> int:
    """The header of an npy file of so many samples; where they begin."""
    layout = {"descr": SAMPLE.str, "fortran_order": False, "shape": (num_samples,)}
    write: Callable[[BinaryIO, Mapping[str, object]], None] = np.lib.format.write_array_header_1_0
    write(file, layout)
    return file.tell()


def _mapped(path: Path) -> npt.NDArray[Any] | None:
    """The array in an npy file; None for a file that is missing, torn, or not as long as its header says."""
    try:
        # as a plain array: slicing an np.memmap costs several times as much
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, EOFError, ValueError):
        return None
