"""`logmel`: features that need no download, for demonstrations and tests. They are no CLAP.

Audio: the log-mel spectrogram of each second, 64 bands x 12 frames = 768 numbers. Text: one fixed
pseudo-random vector per word. The two share no space, and a word says nothing about a related one: a model
has to learn from its training data alone what a word sounds like. What it learns says nothing about how well
it would do with CLAP.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clotho_long.core.devices import check_device_name
from clotho_long.core.errors import ConfigError
from clotho_long.core.units import Hertz

Matrix = npt.NDArray[np.float32]

SAMPLE_RATE_HZ: Hertz = 32_000
NUM_BANDS = 64
NUM_FRAMES = 12
VERSION = 1  # raise it when any number below changes: features of two versions must not be mixed

STFT_SAMPLES = 1024
STFT_HOP_SAMPLES = 525  # 60 spectra then cover a second up to its last sample; 5 make one frame
SPECTRA_PER_FRAME = 5
LOWEST_HZ, HIGHEST_HZ = 50.0, 14_000.0
FLOOR_POWER = 1e-9  # -90 dB, about the rounding noise of 16-bit audio in one band

# The trainer divides each row by its norm. With the average spectrum of city sound taken as zero, a row says
# how a second differs from it; without the subtraction all rows would point almost the same way.
AVERAGE_DB = np.linspace(-55.0, -72.0, NUM_BANDS)
STEP_DB = 1 / 256  # values are rounded to it, so that the last bits of another processor's sums are not seen
WINDOWS_AT_A_TIME = 16  # their spectra stay in the processor's cache

WORD = re.compile(r"\w+(?:['’]\w+)*")
END_OF_TEXT = "<end>"  # not a word of WORD


class LogMelEncoder:
    """Log-mel seconds and hashed words. Needs numpy only, and no weights."""

    name = "logmel"
    sample_rate_hz = SAMPLE_RATE_HZ
    window_samples = SAMPLE_RATE_HZ
    dim = NUM_BANDS * NUM_FRAMES
    device = "cpu"

    def __init__(
        self, *, weights: Path | None = None, device: str = "auto", precision: str = "float32"
    ) -> None:
        if weights is not None:
            raise ConfigError(
                "logmel has no weights", "--weights", "leave it out, or choose another --encoder"
            )
        check_device_name(device)
        if device not in ("auto", "cpu") or precision != "float32":
            raise ConfigError(
                f"logmel runs on the cpu in float32, not on {device} in {precision}",
                "--encoder",
                "leave --device and --precision out, or choose another --encoder",
            )

    def provenance(self) -> dict[str, Any]:
        """Its name and version, and a warning to whoever finds the files."""
        return {"name": self.name, "version": VERSION, "note": "log-mel energies and hashed words, not CLAP"}

    def encode_windows(self, windows: Matrix) -> Matrix:
        """[window, 32000] -> [window, 768]: frame after frame, dB over the average spectrum in each band."""
        rows = np.empty((len(windows), self.dim), np.float32)
        for start in range(0, len(windows), WINDOWS_AT_A_TIME):
            several = windows[start : start + WINDOWS_AT_A_TIME]
            rows[start : start + len(several)] = _log_mel(several).reshape(len(several), self.dim)
        return rows

    def encode_texts(self, texts: Sequence[str]) -> list[Matrix]:
        """One unit vector for each word, in any case and Unicode form, and one that marks the end."""
        return [np.stack([_word_vector(word) for word in (*_words(text), END_OF_TEXT)]) for text in texts]


def _log_mel(windows: Matrix) -> npt.NDArray[np.float64]:
    """[window, sample] -> [window, frame, band]."""
    pieces = np.lib.stride_tricks.sliding_window_view(windows, STFT_SAMPLES, axis=1)[:, ::STFT_HOP_SAMPLES]
    # float64 whatever numpy's own choice is: its versions differ in the precision of a float32 transform
    spectra = np.fft.rfft(pieces * _hann(), axis=2)
    power = spectra.real**2 + spectra.imag**2
    frames = power.reshape(len(windows), NUM_FRAMES, SPECTRA_PER_FRAME, -1).mean(axis=2)
    # a stack of equal products, one per window, so that a window's numbers do not depend on its neighbours
    level_db = 10 * np.log10(np.maximum(frames @ _mel_filters(), FLOOR_POWER))
    steps: npt.NDArray[np.float64] = np.rint((level_db - AVERAGE_DB) / STEP_DB)
    return steps * STEP_DB


@lru_cache(maxsize=1)
def _hann() -> npt.NDArray[np.float64]:
    """Periodic Hann window, scaled so that a full-scale sine has a power of 1 (0 dB) in its bin."""
    window: npt.NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(STFT_SAMPLES) / STFT_SAMPLES)
    return window * (2 / float(window.sum()))


@lru_cache(maxsize=1)
def _mel_filters() -> npt.NDArray[np.float64]:
    """[bin, band] triangles with a peak of 1, spaced evenly on the mel scale 2595 log10(1 + f / 700)."""
    lowest, highest = (2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    edges_hz = 700 * (10 ** (np.linspace(lowest, highest, NUM_BANDS + 2) / 2595) - 1)
    bins_hz = np.arange(STFT_SAMPLES // 2 + 1)[:, None] * (SAMPLE_RATE_HZ / STFT_SAMPLES)
    left, peak, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising, falling = (bins_hz - left) / (peak - left), (right - bins_hz) / (right - peak)
    filters: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return filters


def _words(text: str) -> list[str]:
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=1 << 14)
def _word_vector(word: str) -> npt.NDArray[np.float32]:
    """A unit vector from the hash of the word: a generator's stream may change with numpy's release."""
    digest = hashlib.shake_256(word.encode()).digest(4 * LogMelEncoder.dim)
    drawn = np.frombuffer(digest, dtype="<u4").astype(np.float64) - (2**32 - 1) / 2
    vector: npt.NDArray[np.float32] = (drawn / np.sqrt(np.square(drawn).sum())).astype(np.float32)
    return vector
