"""How exactly a network computes: `train.precision`, honoured wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


def mixed_precision(device: torch.device, kind: str) -> AbstractContextManager[None]:
    """For a forward pass: bfloat16 where `kind` is bf16; its backward pass follows by itself."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if kind == "bf16" else nullcontext()


@contextmanager
def matrix_products(kind: str) -> Iterator[None]:
    """Float32 products in TF32, on NVIDIA hardware, where `kind` is tf32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
