"""A picture of a recording of any length, in bounded memory: what people look at, not what models read."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.io import Waveform, stream_mono
from clotho_long.core.units import Decibels, Hertz, Seconds

RATE_HZ: Hertz = 16_000  # what happens above 8 kHz is not worth the pixels
WINDOW_SAMPLES = 1024
HOP_SAMPLES = 512
NUM_BANDS = 96
LOWEST_HZ = 60.0
FLOOR_POWER = 1e-10  # -100 dB of full scale
# A band is drawn relative to its own median, by this share: what stands out from a steady background is ink,
# and a sound that never stops still leaves a trace.
WHITENING = 0.8
RANGE_DB = (-2.0, 32.0)  # paper and full ink, relative to the median of the picture
# paper to ink, so that coloured marks stand out on it
INK = ("#ffffff", "#e4e8f7", "#a9b4e0", "#5a68b5", "#272a6b", "#0d0f2e")

Levels = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class Spectrogram:
    """Levels of a recording, [band, column] in dB of full scale, low bands first."""

    levels_db: Levels
    duration_s: Seconds

    @property
    def loudest_db(self) -> Decibels:
        return float(self.levels_db.max())


def spectrogram(
    path: Path,
    *,
    max_columns: int = 1400,
    sound: SoundChoice | None = None,
    on_read: Callable[[Seconds], None] = lambda read_s: None,
) -> Spectrogram:
    """The spectrogram of a file, read block by block.

    Columns are equally long (32 ms or a power of two times that; the last one covers what is left), and there
    are at most `max_columns`. Their levels are the loudest within them, or short events would vanish from
    long recordings.

    Args:
        on_read: told after each block how many seconds have been read.

    Raises:
        AudioError: the file cannot be read.
    """
    choice = sound or SoundChoice()
    columns = _Columns(max_columns)
    rest: Waveform = np.zeros(WINDOW_SAMPLES // 2, np.float32)
    num_samples = 0
    for block in stream_mono(path, RATE_HZ, channels=choice.channels, track=choice.track):
        num_samples += len(block)
        rest = columns.add_sound(np.concatenate([rest, block]))
        on_read(num_samples / RATE_HZ)
    columns.add_sound(np.concatenate([rest, np.zeros(WINDOW_SAMPLES, np.float32)]))
    levels = 10 * np.log10(np.maximum(columns.power(), FLOOR_POWER))
    return Spectrogram(levels_db=levels.T.astype(np.float32), duration_s=num_samples / RATE_HZ)


def to_png(picture: Spectrogram, *, steady_share: float = 0.5) -> bytes:
    """The picture, one pixel for each band and column, low bands at the bottom.

    Args:
        steady_share: the share of a band's columns that are no louder than what counts as its steady
            background. Half of a recording, less of an excerpt that an event may fill.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.image import imsave

    background_db = np.quantile(picture.levels_db, steady_share, axis=1, keepdims=True)
    relative_db = picture.levels_db - WHITENING * background_db
    paper_db, ink_db = np.median(relative_db) + np.array(RANGE_DB)
    file = io.BytesIO()
    imsave(
        file,
        relative_db,
        vmin=paper_db,
        vmax=max(ink_db, float(relative_db.max()) - 6),
        cmap=LinearSegmentedColormap.from_list("ink", INK),
        origin="lower",
        format="png",
    )
    return file.getvalue()


class _Columns:
    """Band powers [column, band]; whenever there are too many columns, each two become one."""

    def __init__(self, max_columns: int) -> None:
        self._max_columns = max_columns
        self._powers = np.zeros((0, NUM_BANDS))
        self._pending = np.zeros((0, NUM_BANDS))  # frames that do not fill a column yet
        self._frames_per_column = 1

    def add_sound(self, samples: Waveform) -> Waveform:
        """Take all whole windows of `samples`; returns what is left for the next call."""
        if len(samples) < WINDOW_SAMPLES:
            return samples
        windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
        spectra = np.fft.rfft(windows * _hann(), axis=1)
        self._add_frames((spectra.real**2 + spectra.imag**2) @ _bands())
        return samples[len(windows) * HOP_SAMPLES :]

    def power(self) -> npt.NDArray[np.float64]:
        """All columns, with a last one that may cover less time."""
        if len(self._pending) == 0:
            return self._powers
        return np.concatenate([self._powers, self._pending.max(axis=0, keepdims=True)])

    def _add_frames(self, frames: npt.NDArray[np.float64]) -> None:
        frames = np.concatenate([self._pending, frames])
        whole = len(frames) // self._frames_per_column * self._frames_per_column
        self._pending = frames[whole:]
        self._powers = np.concatenate([self._powers, _loudest(frames[:whole], self._frames_per_column)])
        while len(self._powers) >= self._max_columns:
            even = len(self._powers) // 2 * 2
            odd = self._powers[even:]
            self._powers = _loudest(self._powers[:even], 2)
            self._pending = np.concatenate([odd, self._pending])
            self._frames_per_column *= 2


def _loudest(frames: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    loudest: npt.NDArray[np.float64] = frames.reshape(-1, count, NUM_BANDS).max(axis=1)
    return loudest


@lru_cache(maxsize=1)
def _hann() -> npt.NDArray[np.float64]:
    """Scaled so that a full-scale sine has a power of 1 in its bin."""
    window: npt.NDArray[np.float64] = np.hanning(WINDOW_SAMPLES + 1)[:-1]
    return window * (2 / float(window.sum()))


@lru_cache(maxsize=1)
def _bands() -> npt.NDArray[np.float64]:
    """[bin, band]: triangles on a logarithmic scale, none narrower than the distance of two bins."""
    edges_hz = np.geomspace(LOWEST_HZ, RATE_HZ / 2, NUM_BANDS + 2)
    bin_hz = RATE_HZ / WINDOW_SAMPLES
    centre = edges_hz[1:-1]
    half_width = np.maximum((edges_hz[2:] - edges_hz[:-2]) / 2, bin_hz)
    bins_hz = np.arange(WINDOW_SAMPLES // 2 + 1)[:, None] * bin_hz
    filters: npt.NDArray[np.float64] = np.maximum(0, 1 - np.abs(bins_hz - centre) / half_width)
    return filters
