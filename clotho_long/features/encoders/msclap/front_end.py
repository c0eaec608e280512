"""From one second of sound to the 4096 patches that HTS-AT sees.

After HTS-AT (MIT) as MS-CLAP 2023 configures it: power spectrogram (Hann 1024, hop 320, reflected edges),
64 mel bands, decibels, batch norm per band, 138 frames stretched to 1024 by bicubic interpolation, and the
1024 x 64 picture cut into four pieces of 256 frames, stacked along frequency, as patches of 4 x 4.

The filter bank and the DFT kernels are the checkpoint's. `msclap` builds the bank for 32 kHz and 50-14000 Hz
whatever its settings say, and applies it to 44.1 kHz: recomputing it from the settings gives other numbers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clotho_long.features.encoders.msclap.layout import SIDE, window_order

WINDOW_SAMPLES = 44100
FFT_SIZE = 1024
HOP = 320
FRAMES = 1 + WINDOW_SAMPLES // HOP
MEL_BANDS = 64
SMALLEST_POWER = 1e-10  # -100 dB, torchlibrosa's `amin`
NORM_EPSILON = 1e-5
PATCH = 4
PIECES = 4  # the stretched spectrogram is cut into this many
logger = logging.getLogger(__name__)

# Saved kernels are float32; a window times a cosine differs from them by their rounding.
KERNEL_TOLERANCE = 1e-5


class FrontEnd(nn.Module):
    """[window, 44100] in [-1, 1] -> [window, 4096, 16] patches in window order; always in float32."""

    window: Tensor | None
    kernels: Tensor | None
    mel_bank: Tensor
    gain: Tensor
    shift: Tensor
    stretch: Tensor
    order: Tensor

    def __init__(self, weights: Mapping[str, Tensor], *, where: Path) -> None:
        super().__init__()
        kernels = _kernels(weights)
        window = _stft_window(*kernels)
        self.register_buffer("window", window)
        # [sample, 2 bin]: the kernels as they are, where no Fourier transform gives their numbers
        self.register_buffer("kernels", None if window is not None else torch.cat(kernels).T.contiguous())
        if window is None:
            logger.info(
                "%s: its spectrogram kernels are no Fourier transform and are used as they are, slower", where
            )
        self.register_buffer("mel_bank", weights["logmel_extractor.melW"].contiguous())
        gain = weights["bn0.weight"] / (weights["bn0.running_var"] + NORM_EPSILON).sqrt()
        self.register_buffer("gain", gain * (10 / math.log(10)))  # decibels from natural logarithms
        self.register_buffer("shift", weights["bn0.bias"] - weights["bn0.running_mean"] * gain)
        self.register_buffer("stretch", _stretch_matrix())
        self.register_buffer("order", window_order(SIDE, shifted=False))

    def _power(self, frames: Tensor) -> Tensor:
        """[window, frame, sample] -> [window, frame, bin]."""
        if self.window is not None:
            return torch.view_as_real(torch.fft.rfft(frames * self.window)).square().sum(-1)
        assert self.kernels is not None, "one of the two is there"
        # frame by frame window: the numbers of a window must not depend on its neighbours
        spectra = torch.stack([one @ self.kernels for one in frames.contiguous()])
        real, imaginary = spectra.square().chunk(2, dim=-1)
        return real + imaginary

    def forward(self, windows: Tensor) -> Tensor:
        padded = F.pad(windows, (FFT_SIZE // 2, FFT_SIZE // 2), mode="reflect")
        power = self._power(padded.unfold(1, FFT_SIZE, HOP))  # [window, frame, bin]
        level = (power @ self.mel_bank).clamp_(min=SMALLEST_POWER).log_()
        picture = self.stretch @ torch.addcmul(self.shift, level, self.gain)  # [window, 1024, mel]
        # time = piece, column, j; frequency inside a piece = row, i
        cut = picture.view(-1, PIECES, SIDE, PATCH, SIDE // PIECES, PATCH)
        patches = cut.permute(0, 1, 4, 2, 5, 3).reshape(-1, SIDE * SIDE, PATCH * PATCH)
        return patches.index_select(1, self.order)


def _kernels(weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """[bin, sample] real and imaginary analysis kernels."""
    real, imaginary = (weights[f"spectrogram_extractor.stft.conv_{part}.weight"] for part in ("real", "imag"))
    return real[:, 0], imaginary[:, 0]


def _stft_window(real: Tensor, imaginary: Tensor) -> Tensor | None:
    """The analysis window, if the saved kernels are nothing but a windowed DFT."""
    real, imaginary = real.double(), imaginary.double()
    window = real[0]
    phase = torch.outer(torch.arange(FFT_SIZE // 2 + 1), torch.arange(FFT_SIZE)) % FFT_SIZE
    angle = phase.double() * (2 * math.pi / FFT_SIZE)
    deviation = max(
        (real - window * angle.cos()).abs().max().item(),
        (imaginary + window * angle.sin()).abs().max().item(),
    )
    return window.float() if deviation < KERNEL_TOLERANCE else None


def _stretch_matrix() -> Tensor:
    """[1024, 138] what bicubic interpolation with aligned corners does to the time axis."""
    identity = torch.eye(FRAMES, dtype=torch.float64)[None, None]
    size = (PIECES * SIDE * PATCH, FRAMES)
    stretched = F.interpolate(identity, size, mode="bicubic", align_corners=True)
    return stretched[0, 0].float()
