"""Dropout, PReLU and attention, with other paths for CPUs where PyTorch's own are slow.

Measured on AVX2: `bernoulli_` draws one number at a time and takes six times as long as drawing 64 bits for
four elements; the backward pass of PReLU writes a whole tensor for one slope; fused attention does not know
dropout; and a block of memory above 32 MiB is returned to the system after each use, so that touching it
again costs more than the arithmetic. On other devices, and in compiled code, PyTorch's operators are used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK_BYTES = 16 << 20  # of one intermediate on a CPU: well below what glibc's malloc gives back at once


class Dropout(nn.Module):
    """`nn.Dropout`, faster on CPUs."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.rate) if self.training else x


def dropout(x: Tensor, rate: float) -> Tensor:
    """Zero a share `rate` of the elements and scale the rest up."""
    if rate == 0:
        return x
    if _has_better(x):
        return F.dropout(x, rate)
    return x * _dropout_factors(x, rate)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """x where positive, slope * x elsewhere; slope [1]."""
    if _has_better(x):
        return F.prelu(x, slope)
    out: Tensor = _PRelu.apply(x, slope)  # type: ignore[no-untyped-call]
    return out


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, rate: float) -> Tensor:
    """softmax(q k^T / sqrt(e)) v per head, with dropout of the weights.

    Args:
        q: [batch, head, l, e].
        k, v: [batch, head, s, e] and [batch, head, s, f].
        mask: True where a key is seen, broadcastable to [batch, head, l, s].
    """
    if rate == 0 or _has_better(q):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
    per_item = 4 * q.shape[1] * q.shape[2] * k.shape[2]
    items = max(1, BLOCK_BYTES // per_item)
    biases = [None] * len(q) if mask is None else _split(mask_bias(mask).expand(len(q), -1, -1, -1), items)
    blocks = zip(
        _split(q * q.shape[-1] ** -0.5, items), _split(k, items), _split(v, items), biases, strict=False
    )
    return torch.cat([_attend_block(*block, rate) for block in blocks])


def row_blocks(x: Tensor, width: int) -> tuple[Tensor, ...]:
    """x [rows, dim] in pieces whose intermediates of `width` columns fit a block; whole off the CPU."""
    return (x,) if _has_better(x) else _split(x, max(1, BLOCK_BYTES // (4 * width)))


def mask_bias(mask: Tensor) -> Tensor:
    """0 where a key is seen, -inf elsewhere: to add to scores, which is faster than filling them."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))


def _attend_block(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, rate: float) -> Tensor:
    scores = q @ k.transpose(-2, -1)
    if bias is not None:
        scores += bias
    return dropout(scores.softmax(dim=-1), rate) @ v


def _has_better(x: Tensor) -> bool:
    return x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling()


def _split(x: Tensor, size: int) -> tuple[Tensor, ...]:
    return torch.split(x, size)


def _dropout_factors(x: Tensor, rate: float) -> Tensor:
    """0 with probability `rate` (to 2^-16), else 1 / (1 - rate), in the shape of x."""
    count = x.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    dropped = round(rate * 65536)
    factors = torch.empty(x.shape)
    torch.ge(bits.view(torch.int16)[:count].view(x.shape), dropped - 32768, out=factors)
    return factors.mul_(1 / (1 - dropped / 65536))


class _PRelu(torch.autograd.Function):
    """PReLU with one slope, whose gradient is a dot product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.leaky_relu(x, slope.item())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        below = torch.dot(grad.flatten(), x.clamp(max=0).flatten())
        return torch.ops.aten.leaky_relu_backward(grad, x, slope.item(), False), below.view(1)
