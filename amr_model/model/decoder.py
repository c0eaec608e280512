"""The decoder: queries refine (centre, width) references while they attend to the audio.

After DAB-DETR (Apache-2.0) and QD-DETR (MIT), `transformer.py`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from amr_model.model.layers import FeedForward, Mlp, attend, key_mask, split_heads
from amr_model.model.operations import Dropout, dropout, mask_bias
from amr_model.model.positions import inverse_sigmoid, reference_positions


class DecoderLayer(nn.Module):
    """Self attention among the queries, cross attention to the rows by content and by position."""

    def __init__(
        self, dim: int, num_heads: int, feedforward_dim: int, dropout: float, *, is_first: bool
    ) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = num_heads, dropout
        self.self_query, self.self_query_pos = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.self_key, self.self_key_pos = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.self_value, self.self_out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.cross_query, self.cross_query_sine = nn.Linear(dim, dim), nn.Linear(dim, dim)
        # only the first layer mixes positions into the content: later queries know where they are
        self.cross_query_pos = nn.Linear(dim, dim) if is_first else None
        self.cross_key, self.cross_key_pos = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.cross_value, self.cross_out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.feedforward = FeedForward(dim, feedforward_dim, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.dropout = Dropout(dropout)
        nn.init.zeros_(self.self_out.bias)
        nn.init.zeros_(self.cross_out.bias)

    def forward(
        self, x: Tensor, query_pos: Tensor, sine: Tensor, memory: Tensor, memory_pos: Tensor, mask: Tensor
    ) -> Tensor:
        """x, query_pos, sine [B, Q, dim]; memory and its positions [B, L, dim]; mask [B, 1, 1, L]."""
        x = self.norm1(x + self.dropout(self._among_queries(x, query_pos)))
        x = self.norm2(x + self.dropout(self._to_rows(x, query_pos, sine, memory, memory_pos, mask)))
        out: Tensor = self.norm3(x + self.dropout(self.feedforward(x)))
        return out

    def _among_queries(self, x: Tensor, query_pos: Tensor) -> Tensor:
        q = self.self_query(x) + self.self_query_pos(query_pos)
        k = self.self_key(x) + self.self_key_pos(query_pos)
        out: Tensor = self.self_out(attend(q, k, self.self_value(x), None, self.num_heads, self._drop))
        return out

    def _to_rows(
        self, x: Tensor, query_pos: Tensor, sine: Tensor, memory: Tensor, memory_pos: Tensor, mask: Tensor
    ) -> Tensor:
        """Scores are content . content + position . position, per head.

        The key and value projections are applied to the few queries and to what they gathered instead of
        to every row; a key's bias adds the same to all scores of a query, so it drops out of the softmax.
        """
        heads, (size, num, dim) = self.num_heads, x.shape
        place = self.cross_query_sine(sine)
        content = self.cross_query(x)
        if self.cross_query_pos is not None:
            content = content + self.cross_query_pos(query_pos)
            place = place + content  # the first layer's keys hold the position in their content as well
        scale = (2 * dim // heads) ** -0.5
        by_content = self._onto(content * scale, self.cross_key.weight)
        by_place = self._onto(place * scale, self.cross_key_pos.weight)
        scores = by_content @ memory.transpose(1, 2) + by_place @ memory_pos.transpose(1, 2)
        weights = dropout((scores + mask_bias(mask).squeeze(1)).softmax(dim=-1), self._drop)
        gathered = (weights @ memory).view(size, heads, num, dim)
        value = self.cross_value.weight.view(heads, dim // heads, dim)
        bias = self.cross_value.bias.view(heads, 1, dim // heads)
        share = weights.sum(dim=-1).view(size, heads, num, 1)  # 1 but for dropout
        out = gathered @ value.transpose(1, 2) + share * bias
        projected: Tensor = self.cross_out(out.transpose(1, 2).flatten(-2))
        return projected

    def _onto(self, queries: Tensor, weight: Tensor) -> Tensor:
        """Queries [b, n, dim] through each head's part of a key projection: [b, head * n, dim]."""
        dim = weight.shape[1]
        per_head = split_heads(queries, self.num_heads).transpose(1, 2)
        return (per_head @ weight.view(self.num_heads, -1, dim)).flatten(1, 2)

    @property
    def _drop(self) -> float:
        return self.attention_dropout if self.training else 0.0


class Decoder(nn.Module):
    """Layers that share the heads which place, scale and refine the references."""

    def __init__(
        self,
        num_layers: int,
        dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        *,
        reference_of_layer: Literal["start", "end"],
        width_floor: float,
    ) -> None:
        """`reference_of_layer`: whether a prediction starts from the reference that its layer began with
        (QD-DETR) or from the one that it ended with (UVCOM)."""
        super().__init__()
        self.dim, self.reference_of_layer, self.width_floor = dim, reference_of_layer, width_floor
        self.layers = nn.ModuleList(
            DecoderLayer(dim, num_heads, feedforward_dim, dropout, is_first=index == 0)
            for index in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.query_scale = Mlp(dim, dim, dim, 2)
        self.query_position = Mlp(dim, dim, dim, 2)
        self.query_width = Mlp(dim, dim, 1, 2)
        self.refine = Mlp(dim, dim, 2, 3)

    def forward(
        self, content: Tensor, references: Tensor, memory: Tensor, memory_pos: Tensor, memory_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What each layer makes of the queries, and the reference that its prediction starts from.

        Args:
            content: [B, Q, dim].
            references: [B, Q, 2] in (0, 1).
            memory: [B, L, dim] with its positions and mask [B, L].
        Returns:
            [layer, B, Q, dim] after the shared norm, and [layer, B, Q, 2].
        """
        mask = key_mask(memory_mask)
        hidden, kept = [], []
        start = references  # with gradient; `references` loses it from the second layer on
        for index, layer in enumerate(self.layers):
            sine = reference_positions(references, self.dim)
            query_pos = self.query_position(sine)
            if index > 0:
                sine = sine * self.query_scale(content)
            width = references[..., 1:]
            if self.width_floor > 0:
                width = width.clamp(min=self.width_floor)
            sine = sine * (self.query_width(content).sigmoid() / width)
            content = layer(content, query_pos, sine, memory, memory_pos, mask)
            hidden.append(self.norm(content))
            end = (self.refine(content) + inverse_sigmoid(references)).sigmoid()
            kept.append(start if self.reference_of_layer == "start" else end)
            start, references = end, end.detach()
        return torch.stack(hidden), torch.stack(kept)
