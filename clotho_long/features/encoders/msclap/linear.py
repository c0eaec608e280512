"""Linear layers for inference: layer norms folded in, weights laid out for the processor once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """x -> x W^T + b in `dtype`; on AVX-512 processors through oneDNN with weights it has laid out itself.

    There plain matrix products lay the weights out again in every call, which costs more than the product; on
    AVX2 processors they are as fast as the machine (measured: benchmarks/clap.md).
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.register_buffer("weight", weight.to(dtype).contiguous())
        self.register_buffer("bias", None if bias is None else bias.to(dtype).contiguous())
        self._packed: Tensor | None = None

    @classmethod
    def after_norm(
        cls, weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor, dtype: torch.dtype
    ) -> Linear:
        """The layer after a layer norm of this scale and shift, for tokens that are only normalised."""
        full = (weight.double() @ shift.double()).float()
        return cls(weight * scale, full if bias is None else full + bias, dtype)

    def pack(self) -> None:
        """Lay the weights out for oneDNN; the layer stays on the processor afterwards."""
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if self._packed is None:
            return F.linear(x, self.weight, self.bias)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return y


def can_pack() -> bool:
    """Whether this torch and this processor gain from oneDNN's layout."""
    return (
        "AVX512" in torch.backends.cpu.get_cpu_capability()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
