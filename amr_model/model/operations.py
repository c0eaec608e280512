"""Dropout, feed-forward and attention, with other paths for CPUs where PyTorch's own are slow.

Measured on AVX2: `bernoulli_` draws one number at a time and takes ten times as long as drawing 64 bits for
four elements; the backward pass of PReLU writes a whole tensor for one slope; fused attention does not know
dropout. On other devices, in other precisions and in compiled code, PyTorch's operators are used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amr_model.model import blocked


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
    return F.dropout(x, rate) if _has_better(x) else blocked.dropout(x, rate)


def feed_forward(x: Tensor, inner: nn.Linear, slope: Tensor, outer: nn.Linear, rate: float) -> Tensor:
    """Two linear layers with PReLU (slope [1]) and dropout between: [..., dim] -> [..., dim]."""
    if _has_better(x):
        out: Tensor = outer(dropout(F.prelu(inner(x), slope), rate))
        return out
    rows = x.reshape(-1, x.shape[-1])
    return blocked.feed_forward(rows, inner.weight, inner.bias, slope, outer.weight, outer.bias, rate).view(
        x.shape
    )


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, rate: float) -> Tensor:
    """softmax(q k^T / sqrt(e)) v per head, with dropout of the weights.

    Args:
        q: [batch, head, l, e].
        k, v: [batch, head, s, e] and [batch, head, s, f].
        mask: True where a key is seen, broadcastable to [batch, head, l, s].
    """
    if rate == 0 or _has_better(q):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
    return blocked.attention(q, k, v, None if mask is None else mask_bias(mask), rate)


def mask_bias(mask: Tensor) -> Tensor:
    """0 where a key is seen, -inf elsewhere: to add to scores, which is faster than filling them."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))


def _has_better(x: Tensor) -> bool:
    mixed = x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    return x.device.type != "cpu" or mixed or torch.compiler.is_compiling()
