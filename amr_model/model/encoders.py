"""Encoders: audio that attends to text (or text to audio), and audio that attends to itself.

After QD-DETR (MIT), `transformer.py`. No norm follows a stack.
"""

from __future__ import annotations

from torch import Tensor, nn

from amr_model.model.layers import FeedForward, PackedAttention, key_mask, repeat_to
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
        self.num_heads = num_heads
        self.layers = nn.ModuleList(
            CrossLayer(dim, num_heads, feedforward_dim, dropout) for _ in range(num_layers)
        )

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        x_mask: Tensor,
        y_mask: Tensor,
        *,
        x_pos: Tensor | None = None,
        y_pos: Tensor | None = None,
    ) -> Tensor:
        """What x gathers from y, [max(b, c), l, dim]; the smaller of b and c is repeated to the larger.

        Args:
            x: [b, l, dim] with its mask [b, l] and positions.
            y: [c, s, dim] with its mask [c, s] and positions.
        """
        mask = self.seen(x_mask, y_mask)
        y_key = y if y_pos is None else y + y_pos
        for layer in self.layers:
            x = layer(x, None if x_pos is None else repeat_to(x_pos, len(x)), y_key, y, mask)
        return x

    def seen(self, x_mask: Tensor, y_mask: Tensor) -> Tensor:
        """Which keys an item sees, broadcastable to [max(b, c), head, l, s]: its own real ones."""
        return key_mask(repeat_to(y_mask, max(len(x_mask), len(y_mask))))


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
