"""The encoder `msclap-2023`: Microsoft's CLAP of 2023 (HTS-AT and GPT-2), from its published weights.

The towers are written here for speed and give `msclap`'s own numbers; `msclap` is needed only to test that.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clotho_long.core.devices import find_device
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.core.units import Hertz
from clotho_long.features.encoder import Matrix
from clotho_long.features.encoders.msclap.audio import AudioTower
from clotho_long.features.encoders.msclap.front_end import WINDOW_SAMPLES
from clotho_long.features.encoders.msclap.linear import can_pack
from clotho_long.features.encoders.msclap.native import NativeTower, load_kernel
from clotho_long.features.encoders.msclap.space import MsClapSpace
from clotho_long.features.encoders.msclap.text import TOKENIZER_FOLDER, TextTower, load_tokenizer
from clotho_long.features.encoders.msclap.weights import Weights, find_weights, read_weights

# tf32: float32 whose matrix products are rounded to 10 bits, on NVIDIA GPUs. bf16: products in bfloat16.
PRECISIONS = ("float32", "tf32", "bf16")
# Windows encoded together: few on a processor, whose caches hold their activations; many on a GPU.
CPU_WINDOWS, KERNEL_WINDOWS, GPU_WINDOWS = 4, 32, 256

logger = logging.getLogger(__name__)


class MsClapEncoder:
    """Implements `clotho_long.features.encoder.Encoder`; each tower is built when it is first used."""

    name = "msclap-2023"
    sample_rate_hz: Hertz = 44100
    window_samples = WINDOW_SAMPLES
    dim = 768

    def __init__(
        self,
        weights: Weights,
        *,
        device: torch.device,
        precision: str,
        tokenizer: Path | None,
        kernel: ctypes.CDLL | None,
    ) -> None:
        self._weights, self.device, self._precision = weights, device, precision
        self._tokenizer, self._kernel = tokenizer, kernel

    def provenance(self) -> dict[str, Any]:
        return {"name": self.name, "weights": self._weights.sha256, "precision": self._precision}

    @torch.inference_mode()
    def encode_windows(self, windows: Matrix) -> Matrix:
        """[window, 44100] mono in [-1, 1] -> [window, 768] float32, not normalised.

        The numbers of a window do not depend on the windows that it comes with.

        Raises:
            FeatureError: the windows are not one second at 44.1 kHz.
        """
        if windows.ndim != 2 or windows.shape[1] != WINDOW_SAMPLES:
            raise FeatureError(
                f"windows of shape {windows.shape} instead of (windows, {WINDOW_SAMPLES})", self.name
            )
        on_gpu = self.device.type == "cuda"
        rows = torch.empty(len(windows), self.dim, pin_memory=on_gpu)
        step = GPU_WINDOWS if on_gpu else KERNEL_WINDOWS if self._kernel else CPU_WINDOWS
        with _matrix_precision(self._precision):
            for start in range(0, len(windows), step):
                batch = torch.from_numpy(np.ascontiguousarray(windows[start : start + step], np.float32))
                batch = batch.pin_memory() if on_gpu else batch
                embedded = self._audio(batch.to(self.device, non_blocking=True))
                rows[start : start + step].copy_(embedded, non_blocking=True)
        if on_gpu:
            torch.cuda.synchronize(self.device)
        return rows.numpy()

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> list[Matrix]:
        """One [token, 768] float32 matrix for each text: GPT-2's states, the end of text included."""
        with _matrix_precision(self._precision):
            return self._text.encode(texts)

    def shared_space(self) -> MsClapSpace | None:
        """The space of CLAP's training; None if the weights file was made without the projections."""
        audio, text = self._weights.audio_projection, self._weights.text_projection
        return MsClapSpace(audio, text) if audio and text else None

    @cached_property
    def _audio(self) -> AudioTower | NativeTower:
        tower = AudioTower(self._weights.audio, where=self._weights.path, dtype=self._dtype)
        if self._kernel:
            return NativeTower(self._kernel, tower)
        if self.device.type == "cpu" and can_pack():
            tower.pack()
        return tower.to(self.device).eval()

    @cached_property
    def _text(self) -> TextTower:
        beside = self._weights.path.parent / TOKENIZER_FOLDER
        folder = self._tokenizer or (beside if beside.is_dir() else None)
        tower = TextTower(self._weights.text, load_tokenizer(folder), dtype=self._dtype)
        return tower.to(self.device).eval()

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self._precision == "bf16" else torch.float32


def load_msclap(
    weights: Path | None = None,
    device: str = "auto",
    precision: str = "float32",
    tokenizer: Path | None = None,
    native: bool = True,
) -> MsClapEncoder:
    """The MS-CLAP 2023 encoder.

    Args:
        weights: `CLAP_weights_2023.pth`; without it the Hugging Face cache is searched, then the hub.
        device: as `clotho_long.core.devices.find_device` reads it.
        precision: `float32`, `tf32` (NVIDIA GPUs) or `bf16` (GPUs and processors that compute in it).
        tokenizer: folder with GPT-2's vocabulary; without it a folder `gpt2` beside the weights, then the
            Hugging Face cache, then the hub. Only text needs it.
        native: use the compiled kernel where it is installed (float32 on a processor); its numbers differ
            from torch's in the last digit only.
    Raises:
        ConfigError: the device or the precision does not exist here.
        FeatureError: the weights are missing or do not fit.
    """
    chosen = find_device(device)
    _check_precision(precision, chosen)
    kernel = load_kernel() if native and chosen.type == "cpu" and precision == "float32" else None
    logger.debug("audio tower: %s", "compiled kernel" if kernel else f"torch on {chosen}")
    return MsClapEncoder(
        read_weights(find_weights(weights)),
        device=chosen,
        precision=precision,
        tokenizer=tokenizer,
        kernel=kernel,
    )


def _check_precision(precision: str, device: torch.device) -> None:
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision {precision!r}", "--precision", f"use {', '.join(PRECISIONS)}")
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("tf32 exists on GPUs only", "--precision", "use float32")
    if precision == "bf16" and device.type == "cpu" and not cpu_has_bf16():
        raise ConfigError(
            "this processor has no bfloat16 arithmetic (AVX-512 BF16 or AMX)", "--precision", "use float32"
        )


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies in bfloat16; elsewhere it would be emulated, slower than float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


@contextlib.contextmanager
def _matrix_precision(precision: str) -> Iterator[None]:
    """Matrix products on a GPU in TF32 or not, whatever the process has chosen; restored afterwards."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
