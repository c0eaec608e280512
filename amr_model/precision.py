"""How exactly a network computes: `train.precision`, honoured wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from amr_model.errors import TrainingError


def mixed_precision(device: torch.device, kind: str) -> AbstractContextManager[None]:
    """For a forward pass: bfloat16 where `kind` is bf16; its backward pass follows by itself."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if kind == "bf16" else nullcontext()


def refuse_slow_training(device: torch.device, kind: str) -> None:
    """Refuse bfloat16 where it would only cost: on processors.

    Each of its products converts what autograd keeps, and small products gain nothing. On a processor that
    computes in bfloat16 (AVX512_BF16) a step of S1 took one and a half times as long as in float32.

    Raises:
        TrainingError: the precision is bf16 and the device a processor.
    """
    if kind == "bf16" and device.type == "cpu":
        raise TrainingError(
            "bfloat16 trains at two thirds of the speed of float32 on a processor",
            "train.precision",
            "leave it at float32, or train on a GPU",
        )


@contextmanager
def matrix_products(kind: str) -> Iterator[None]:
    """Float32 products in TF32, on NVIDIA hardware, where `kind` is tf32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
