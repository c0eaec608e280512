"""What processors do faster than by PyTorch's operators alone: dropout, and wide layers few items at a time.

PyTorch's `bernoulli_` draws one number at a time on one thread; here a random byte decides on each element,
drawn by all threads. What a wide layer produces on its way lies in pieces that the C library keeps: larger
ones go back to the system, which hands them out again page by page, slower than the layer computes. On other
devices, in other precisions and in compiled code PyTorch's operators are used, on all items at once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 1 << 8  # a random byte decides on an element
BLOCK_NUMBERS = 1 << 21  # that a block of items produces: 8 MB; from 32 MB on, the C library keeps none
PIECE_BYTES = 1 << 20  # drawn at once: fits the cache, and large tensors have one for each thread


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
    return F.dropout(x, rate) if _has_better(x) else x * dropout_factors(x.shape, rate)


def dropout_factors(shape: Sequence[int], rate: float) -> Tensor:
    """What dropout multiplies by: 0 on a share `rate` of the elements, one number above 1 on the others.

    They depend on PyTorch's CPU generator and nothing else. A call drops 25 or 26 in 256 for a rate of 0.1,
    at random so that the rate is right on average over calls; what is kept is scaled by what was dropped, so
    the mean is right in each.
    """
    size = math.prod(shape)
    first, *seeds = torch.empty(1 + -(-size // PIECE_BYTES), dtype=torch.int64).random_().tolist()
    dropped = min(int(rate * LEVELS + first / 2**63), LEVELS - 1)
    factors = np.empty(size, np.float32)

    def fill(place: int) -> None:
        piece = factors[place * PIECE_BYTES : (place + 1) * PIECE_BYTES]
        words = np.random.SFC64(seeds[place]).random_raw((len(piece) + 7) // 8)
        np.greater_equal(words.view(np.uint8)[: len(piece)], dropped, out=piece, casting="unsafe")
        piece *= np.float32(1 / (1 - dropped / LEVELS))

    threads = torch.get_num_threads()
    # a pool returns what its function does: asking for it raises what went wrong
    list((map if threads == 1 else _pool(threads).map)(fill, range(len(seeds))))
    return torch.from_numpy(factors).view(*shape)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, rate: float) -> Tensor:
    """softmax(q k^T / sqrt(e)) v per head, with dropout of the weights.

    Args:
        q: [batch, head, l, e].
        k, v: [batch, head, s, e] and [batch, head, s, f].
        mask: True where a key is seen, broadcastable to [batch, head, l, s].
    """
    if rate == 0 or _has_better(q):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
    seen = [] if mask is None else [mask_bias(mask).expand(len(q), -1, -1, -1)]
    attend = functools.partial(_attention, rate=rate)
    return in_blocks(attend, q, k, v, *seen, numbers=q.shape[1] * q.shape[2] * k.shape[2])


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, *, rate: float) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if bias is not None:
        scores += bias
    return dropout(scores.softmax(dim=-1), rate) @ v


def in_blocks(function: Callable[..., Tensor], *tensors: Tensor, numbers: int) -> Tensor:
    """`function` of tensors that share their first dimension, a few items at a time on processors.

    Args:
        function: treats every item on its own.
        numbers: how many numbers `function` produces on its way for each item.
    """
    block = max(1, BLOCK_NUMBERS // numbers)
    if len(tensors[0]) <= block or _has_better(tensors[0]):
        return function(*tensors)
    return torch.cat(
        [function(*some) for some in zip(*(torch.split(x, block) for x in tensors), strict=True)]
    )


def mask_bias(mask: Tensor) -> Tensor:
    """0 where a key is seen, -inf elsewhere: to add to scores, which is faster than filling them."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))


def _has_better(x: Tensor) -> bool:
    mixed = x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    return x.device.type != "cpu" or mixed or torch.compiler.is_compiling()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
