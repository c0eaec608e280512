"""The pieces of every layer: projections, attention, feed-forward. After DETR and QD-DETR (MIT).

Masks are True on real keys. Every piece works on [batch, position, dim].
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amr_model.model.operations import Dropout, attention, dropout, in_blocks, mask_bias

START_SLOPE = 0.25  # of PReLU


class Mlp(nn.Module):
    """Linear layers with ReLU after all but the last."""

    def __init__(self, in_dim: int, inner_dim: int, out_dim: int, num_layers: int) -> None:
        super().__init__()
        sizes = [in_dim, *[inner_dim] * (num_layers - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


class InputProjection(nn.Module):
    """Features to the hidden width: two layers, each normalised and dropped before it is applied."""

    def __init__(self, in_dim: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.linear1 = nn.LayerNorm(in_dim), nn.Linear(in_dim, dim)
        self.norm2, self.linear2 = nn.LayerNorm(dim), nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.linear1(self.dropout(self.norm1(x))))
        out: Tensor = self.linear2(self.dropout(self.norm2(x)))
        return out


class PackedAttention(nn.Module):
    """Multi-head attention whose query, key and value projections share one matrix."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.in_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out = nn.Linear(dim, dim)
        nn.init.zeros_(self.out.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Query [b, l, dim], key and value [c, s, dim], mask broadcastable to [batch, head, l, s].

        The batch is the larger of b and c; the other side is repeated to it after its projection, which
        is how the passes over several texts share one recording.
        """
        if query is not key and mask.shape[-1] * self.num_heads < query.shape[-1]:
            return self._to_few_keys(query, key, value, mask)
        w_q, w_k, w_v = self.in_weight.chunk(3)
        b_q, b_k, b_v = self.in_bias.chunk(3)
        if query is key:
            dim = query.shape[-1]
            q, k = F.linear(query, self.in_weight[: 2 * dim], self.in_bias[: 2 * dim]).chunk(2, dim=-1)
        else:
            q, k = F.linear(query, w_q, b_q), F.linear(key, w_k, b_k)
        v = F.linear(value, w_v, b_v)
        batch = max(len(q), len(k))
        q, k, v = (repeat_to(x, batch) for x in (q, k, v))
        out: Tensor = self.out(attend(q, k, v, mask, self.num_heads, self.dropout if self.training else 0.0))
        return out

    def _to_few_keys(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """The same where heads * keys < dim: the query and output projections are applied to the few keys.

        (W_q x + b_q) . k = x . (W_q^T k) + b_q . k, and W_o (sum of a v) = sum of a (W_o v), head by head.
        """
        w_q, w_k, w_v = self.in_weight.chunk(3)
        b_q, b_k, b_v = self.in_bias.chunk(3)
        dim, heads = query.shape[-1], self.num_heads
        k = split_heads(F.linear(key, w_k, b_k), heads).transpose(1, 2) * (dim // heads) ** -0.5
        v = split_heads(F.linear(value, w_v, b_v), heads).transpose(1, 2)
        keys = k @ w_q.view(heads, dim // heads, dim)  # [c, head, s, dim]
        shift = (k @ b_q.view(heads, dim // heads, 1)).transpose(-2, -1)
        values = v @ self.out.weight.T.reshape(heads, dim // heads, dim)
        batch = max(len(query), len(keys))
        query, keys, shift, values = (repeat_to(x, batch) for x in (query, keys, shift, values))
        scores = query @ keys.flatten(1, 2).transpose(1, 2)  # [batch, l, head * s]
        scores = scores + (shift + mask_bias(mask)).transpose(1, 2).flatten(-2)
        weights = split_heads(scores, heads).softmax(dim=-1).flatten(-2)
        weights = dropout(weights, self.dropout if self.training else 0.0)
        return weights @ values.flatten(1, 2) + self.out.bias


class FeedForward(nn.Module):
    """Two linear layers with PReLU (one learned slope) and dropout between."""

    def __init__(self, dim: int, inner_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(dim, inner_dim), nn.Linear(inner_dim, dim)
        self.slope = nn.Parameter(torch.full((1,), START_SLOPE))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return in_blocks(self._layers, x, numbers=x.shape[1] * self.linear1.out_features)

    def _layers(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear2(self.dropout(F.prelu(self.linear1(x), self.slope)))
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, num_heads: int, rate: float) -> Tensor:
    """Attention per head over slices of the channels: q [b, l, e], k [b, s, e], v [b, s, d] -> [b, l, d]."""
    q, k, v = (split_heads(x, num_heads).transpose(1, 2) for x in (q, k, v))
    heads = attention(q, k, v, mask, rate)
    return heads.transpose(1, 2).flatten(-2)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[b, n, dim] -> [b, n, head, dim / heads]."""
    return x.view(*x.shape[:2], num_heads, -1)


def repeat_to(x: Tensor, batch: int) -> Tensor:
    """x [b, ...] repeated along the batch to a multiple of b."""
    return x if len(x) == batch else x.repeat(batch // len(x), *[1] * (x.ndim - 1))


def key_mask(mask: Tensor) -> Tensor:
    """[B, S] as a mask that broadcasts over heads and queries."""
    return mask[:, None, None, :]
