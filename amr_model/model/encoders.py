"""Encoders: audio that attends to text (or text to audio), and audio that attends to itself.

After QD-DETR (MIT), `transformer.py`. No norm follows a stack.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amr_model.model.layers import FeedForward, PackedAttention, repeat_to
from amr_model.model.operations import Dropout


class Layer(nn.Module):
    """The parts of a layer; how they are wired is what tells the two kinds apart."""

    def __init__(self, dim: int, num_heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = PackedAttention(dim, num_heads, dropout)
        self.feedforward = FeedForward(dim, feedforward_dim, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)


class CrossLayer(Layer):
    """x attends to y, which stays as it is."""

    def forward(self, x: Tensor, x_pos: Tensor | None, y_key: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        attended = self.attention(x if x_pos is None else x + x_pos, y_key, y, mask)
        u = repeat_to(x, len(attended)) + self.dropout(attended)
        # norm1 acts inside the branch only: the residual carries u itself
        out: Tensor = self.norm2(u + self.dropout(self.feedforward(self.norm1(u))))
        return out


class CrossEncoder(nn.Module):
    """Cross layers over one unchanging y."""

    def __init__(
        self, num_layers: int, dim: int, num_heads: int, feedforward_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CrossLayer(dim, num_heads, feedforward_dim, dropout) for _ in range(num_layers)
        )

    def forward(
        self, x: Tensor, y: Tensor, mask: Tensor, *, x_pos: Tensor | None = None, y_pos: Tensor | None = None
    ) -> Tensor:
        """x [b, l, dim] with positions, y [c, s, dim] with positions, mask over y -> [max(b, c), l, dim]."""
        y_key = y if y_pos is None else y + y_pos
        for layer in self.layers:
            x = layer(x, None if x_pos is None else repeat_to(x_pos, len(x)), y_key, y, mask)
        return x


class SelfLayer(Layer):
    """x attends to itself; norms after each residual."""

    def forward(self, x: Tensor, pos: Tensor, mask: Tensor) -> Tensor:
        placed = x + pos
        u = self.norm1(x + self.dropout(self.attention(placed, placed, x, mask)))
        out: Tensor = self.norm2(u + self.dropout(self.feedforward(u)))
        return out


class SelfEncoder(nn.Module):
    """Self layers."""

    def __init__(
        self, num_layers: int, dim: int, num_heads: int, feedforward_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SelfLayer(dim, num_heads, feedforward_dim, dropout) for _ in range(num_layers)
        )

    def forward(self, x: Tensor, pos: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, pos, mask)
        return x


def reference_cross_mask(query_mask: Tensor, key_mask: Tensor, num_heads: int) -> Tensor:
    """The cross-attention mask of the public references, [B, head, L, S], True where a key is seen.

    They stack the outer product of both paddings head by head but read it item by item, so head h of
    item b is masked as item (b * heads + h) mod B. Compatible mode only; `key_mask` alone is right.
    """
    batch, device = len(query_mask), query_mask.device
    owner = torch.arange(batch * num_heads, device=device).view(batch, num_heads) % batch
    hidden = ~query_mask[owner].unsqueeze(-1) & ~key_mask[owner].unsqueeze(-2)
    return key_mask[:, None, None, :] & ~hidden
