"""HTS-AT's blocks in C++ (the folder `kernel`), for processors, if they were compiled.

The package is whole without: `setup.py` compiles the kernel where a compiler is present, once for each level
of instructions, and `load_kernel` picks what this processor runs. `CLOTHO_LONG_NATIVE=0` turns it off.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sysconfig
from pathlib import Path

import torch
from torch import Tensor

from clotho_long.features.encoders.msclap.audio import AudioTower, Block, Stage
from clotho_long.features.encoders.msclap.layout import TOKENS
from clotho_long.features.encoders.msclap.linear import Linear

SWITCH = "CLOTHO_LONG_NATIVE"
FOLDER = Path(__file__).parent / "kernel"
# What torch calls a processor's vectors, and the builds that run on it, best first.
BUILDS = {"AVX512": ("v4", "v3"), "AVX2": ("v3",), "DEFAULT": ("base",)}
WIDTH = 768

logger = logging.getLogger(__name__)


class _Linear(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("inputs", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
    )


class _Block(ctypes.Structure):
    _fields_ = (
        ("order", ctypes.c_void_p),
        ("kinds", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        *((name, _Linear) for name in ("qkv", "out", "widen", "narrow")),
        ("heads", ctypes.c_int32),
    )


class _Merge(ctypes.Structure):
    _fields_ = (("order", ctypes.c_void_p), ("reduction", _Linear))


class _Tower(ctypes.Structure):
    _fields_ = (
        ("patches", _Linear),
        ("patch_scale", ctypes.c_void_p),
        ("patch_shift", ctypes.c_void_p),
        ("blocks", ctypes.POINTER(_Block)),
        ("merges", ctypes.POINTER(_Merge)),
        ("scale", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
    )


def load_kernel(folder: Path = FOLDER) -> ctypes.CDLL | None:
    """The compiled kernel for this processor; None if it is turned off or there is none."""
    if os.environ.get(SWITCH) == "0":
        return None
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for build in BUILDS.get(torch.backends.cpu.get_cpu_capability(), BUILDS["DEFAULT"]):
        file = folder / f"_swin_{build}{suffix}"
        if file.is_file():
            try:
                return ctypes.CDLL(str(file))
            except OSError as error:  # built for another system
                logger.warning("%s cannot be loaded (%s); the audio tower runs without it", file, error)
    return None


class NativeTower:
    """`AudioTower` with everything after its front end in C++.

    Args:
        kernel: as `load_kernel` returns it.
        tower: in float32 and on the processor; its weights are copied into the kernel's layout.
    """

    def __init__(self, kernel: ctypes.CDLL, tower: AudioTower) -> None:
        self._front_end = tower.front_end
        self._embed = kernel.clotho_long_swin_embed
        self._embed.restype = ctypes.c_int32
        self._embed.argtypes = (
            ctypes.POINTER(_Tower),
            ctypes.c_void_p,
            ctypes.c_int32,
            ctypes.c_int32,
            ctypes.c_void_p,
        )
        self._panel = int(kernel.clotho_long_swin_panel())
        self._kept: list[Tensor] = []  # what the structures point to
        stages: list[Stage] = [stage for stage in tower.stages if isinstance(stage, Stage)]
        blocks = [
            self._block(block) for stage in stages for block in stage.blocks if isinstance(block, Block)
        ]
        merges = [
            _Merge(self._keep(stage.merge.int()), self._linear(stage.reduction))
            for stage in stages
            if stage.reduction is not None
        ]
        self._tower = _Tower(
            self._linear(tower.patches),
            self._keep(tower.patch_scale),
            self._keep(tower.patch_shift),
            (_Block * len(blocks))(*blocks),
            (_Merge * len(merges))(*merges),
            self._keep(tower.scale),
            self._keep(tower.shift),
        )

    def __call__(self, windows: Tensor) -> Tensor:
        """[window, 44100] -> [window, 768] on torch's number of threads, which no number depends on."""
        patches = self._front_end(windows).contiguous()
        embeddings = torch.empty(len(patches), WIDTH)
        failed = self._embed(
            ctypes.byref(self._tower),
            patches.data_ptr(),
            len(patches),
            torch.get_num_threads(),
            embeddings.data_ptr(),
        )
        if failed:
            raise MemoryError("no memory for the tokens of one second of sound")
        return embeddings

    def _block(self, block: Block) -> _Block:
        bias = block.bias.view(-1, block.heads, TOKENS, TOKENS)
        kinds, kind_of_window = torch.unique(bias, dim=0, return_inverse=True)
        windows = block.side**2 // TOKENS
        return _Block(
            self._keep(None if block.order is None else block.order.int()),
            self._keep(kind_of_window.int().expand(windows)),
            self._keep(kinds),
            *(self._linear(layer) for layer in (block.qkv, block.out, block.widen, block.narrow)),
            block.heads,
        )

    def _linear(self, layer: Linear) -> _Linear:
        outputs, inputs = layer.weight.shape
        panels = layer.weight.view(outputs // self._panel, self._panel, inputs).transpose(1, 2)
        return _Linear(self._keep(panels), self._keep(layer.bias), inputs, outputs)

    def _keep(self, values: Tensor | None) -> int | None:
        if values is None:
            return None
        self._kept.append(values.contiguous().clone())
        return self._kept[-1].data_ptr()
