"""Feed-forward layers and attention for CPUs, block by block, with their backward passes.

What PyTorch's operators write to memory in whole is produced, used and forgotten here while it is in the
cache: the wide rows of a feed-forward layer and the weights of an attention with dropout. Each function keeps
for its backward pass one tensor of floats and the random bits, where autograd would keep three or four.
`operations` decides when these are used.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_BYTES = 4 << 20  # of one intermediate: a few of them fit the last cache

_LEVELS = 1 << 8  # a random byte decides on an element

Result = TypeVar("Result")


@dataclass(frozen=True)
class DropoutBits:
    """Which elements a dropout keeps, decided by a random byte each."""

    bits: Tensor  # uint8
    dropped: int  # how many of the 256 values drop an element

    @property
    def scale(self) -> float:
        """Of the elements that are kept."""
        return 1 / (1 - self.dropped / _LEVELS)

    def kept(self, out: Tensor | None = None) -> Tensor:
        """1.0 where an element is kept, 0.0 where it is dropped."""
        return torch.ge(self.bits, self.dropped, out=torch.empty(self.bits.shape) if out is None else out)


def draw_dropout(shapes: Sequence[tuple[int, ...]], rate: float) -> list[DropoutBits]:
    """Bits for tensors of these shapes, which depend on PyTorch's CPU generator and nothing else.

    A call drops 25 or 26 in 256 for a rate of 0.1, at random so that the rate is right on average over calls;
    what is kept is scaled by what was dropped, so the mean is right in each. PyTorch's `bernoulli_` draws one
    number at a time on one thread and takes ten times as long.
    """
    first, *seeds = torch.empty(1 + len(shapes), dtype=torch.int64).random_().tolist()
    dropped = min(int(rate * _LEVELS + first / 2**63), _LEVELS - 1)
    return [
        DropoutBits(torch.from_numpy(words.view(np.uint8))[: math.prod(shape)].view(shape), dropped)
        for words, shape in zip(_map_threads(_draw_words, seeds, shapes), shapes, strict=True)
    ]


def _draw_words(seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    return np.random.SFC64(seed).random_raw((math.prod(shape) + 7) // 8)


def _map_threads(function: Callable[..., Result], *arguments: Sequence[Any]) -> Iterator[Result]:
    threads = torch.get_num_threads()
    return map(function, *arguments) if threads == 1 else _pool(threads).map(function, *arguments)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def dropout(x: Tensor, rate: float) -> Tensor:
    """Zero a share `rate` of the elements and scale the rest up."""
    width = x.shape[-1]
    factors = torch.empty(x.shape)
    rows, blocks = factors.view(-1, width), _blocks(x.numel() // width, 4 * width)
    for block, drawn in zip(blocks, draw_dropout([(_length(b), width) for b in blocks], rate), strict=True):
        drawn.kept(rows[block]).mul_(drawn.scale)
    return x * factors


def feed_forward(
    x: Tensor, weight1: Tensor, bias1: Tensor, slope: Tensor, weight2: Tensor, bias2: Tensor, rate: float
) -> Tensor:
    """linear2(dropout(prelu(linear1(x)))) for x [rows, dim] and a PReLU of one slope [1]."""
    out: Tensor = _FeedForward.apply(x, weight1, bias1, slope, weight2, bias2, rate)  # type: ignore[no-untyped-call]
    return out


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, rate: float) -> Tensor:
    """dropout(softmax(q k^T / sqrt(e) + bias)) v.

    Args:
        q, k: [batch, head, l, e] and [batch, head, s, e].
        v: [batch, head, s, f].
        bias: broadcastable to [batch, head, l, s], without gradient.
    Returns:
        [batch, head, l, f], a view of memory in the order batch, l, head, f.
    """
    out: Tensor = _Attention.apply(q, k, v, bias, rate)  # type: ignore[no-untyped-call]
    return out


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        slope: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        rate: float,
    ) -> Tensor:
        (rows, _), inner = x.shape, len(weight1)
        blocks = _blocks(rows, 4 * inner)
        remembers = any(ctx.needs_input_grad)
        wide = [torch.empty(_length(block), inner) for block in (blocks if remembers else blocks[:1])]
        out = torch.empty(rows, len(weight2))
        dropped = _draw_if(rate, [(_length(block), inner) for block in blocks])
        scaled = weight2 if dropped[0] is None else weight2 * dropped[0].scale
        for index, (block, bits) in enumerate(zip(blocks, dropped, strict=True)):
            hidden = wide[index] if remembers else wide[0][: _length(block)]
            torch.addmm(bias1, x[block], weight1.T, out=hidden)
            active = F.leaky_relu(hidden, slope.item(), inplace=not remembers)
            if bits is not None:
                active *= bits.kept()
            torch.addmm(bias2, active, scaled.T, out=out[block])
        if remembers:
            ctx.save_for_backward(x, weight1, slope, scaled, *wide)
            ctx.dropped, ctx.blocks = dropped, blocks
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight1, slope, scaled, *wide = ctx.saved_tensors
        grad = grad.contiguous()
        x_grad, weight1_grad, weight2_grad = torch.empty_like(x), *map(torch.zeros_like, (weight1, scaled))
        bias1_grad, slope_grad = torch.zeros(len(weight1)), torch.zeros(())
        for block, bits, hidden in zip(ctx.blocks, ctx.dropped, wide, strict=True):
            active = F.leaky_relu(hidden, slope.item())
            below = grad[block] @ scaled
            if bits is not None:
                kept = bits.kept()
                active *= kept
                below *= kept
            weight2_grad.addmm_(grad[block].T, active)
            slope_grad += torch.dot(below.flatten(), hidden.clamp(max=0).flatten())
            below = torch.ops.aten.leaky_relu_backward(below, hidden, slope.item(), False)
            bias1_grad += below.sum(dim=0)
            weight1_grad.addmm_(below.T, x[block])
            torch.mm(below, weight1, out=x_grad[block])
        if ctx.dropped[0] is not None:
            weight2_grad *= ctx.dropped[0].scale
        return x_grad, weight1_grad, bias1_grad, slope_grad.view(1), weight2_grad, grad.sum(dim=0), None


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, rate: float) -> Tensor:
        batch, heads, length, _ = q.shape
        keys = k.shape[2]
        blocks = _blocks(batch, 4 * heads * length * keys)
        weights = [torch.empty(_length(block), heads, length, keys) for block in blocks]
        out = torch.empty(batch, length, heads, v.shape[-1]).transpose(1, 2)
        ctx.dropped = _draw_if(rate, [(_length(block), heads, length, keys) for block in blocks])
        q, k, v = torch.mul(q, q.shape[-1] ** -0.5, out=torch.empty(q.shape)), k.contiguous(), v.contiguous()
        for block, bits, share in zip(blocks, ctx.dropped, weights, strict=True):
            torch.matmul(q[block], k[block].transpose(-2, -1), out=share)
            if bias is not None:
                share += bias[block] if len(bias) > 1 else bias
            torch.softmax(share, dim=-1, out=share)
            value = v[block]
            if bits is not None:
                share, value = share * bits.kept(), value * bits.scale
            out[block] = share @ value
        ctx.save_for_backward(q, k, v, *weights)
        ctx.blocks = blocks
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *weights = ctx.saved_tensors
        q_grad, k_grad, v_grad = (_empty_as_heads(x) for x in (q, k, v))
        scale = q.shape[-1] ** -0.5
        for block, bits, share in zip(ctx.blocks, ctx.dropped, weights, strict=True):
            outer = grad[block].contiguous()
            if bits is None:
                used = share
                below = outer @ v[block].transpose(-2, -1)
            else:
                outer = outer * bits.scale
                kept = bits.kept()
                used = share * kept
                below = outer @ v[block].transpose(-2, -1)
                below *= kept
            v_grad[block] = used.transpose(-2, -1) @ outer
            below = torch._softmax_backward_data(below, share, -1, torch.float32)
            q_grad[block] = (below @ k[block]).mul_(scale)
            k_grad[block] = below.transpose(-2, -1) @ q[block]
        return q_grad, k_grad, v_grad, None, None


def _draw_if(rate: float, shapes: Sequence[tuple[int, ...]]) -> Sequence[DropoutBits | None]:
    return draw_dropout(shapes, rate) if rate > 0 else [None] * len(shapes)


def _empty_as_heads(x: Tensor) -> Tensor:
    """An empty tensor [batch, head, n, e] that lies in memory as [batch, n, head, e], as projections do."""
    return torch.empty(x.transpose(1, 2).shape).transpose(1, 2)


def _blocks(rows: int, bytes_a_row: int) -> list[slice]:
    size = max(1, BLOCK_BYTES // bytes_a_row)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _length(block: slice) -> int:
    return int(block.stop - block.start)
