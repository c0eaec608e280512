"""Decoder content by slot attention, as UVCOM (MIT) starts its queries.

After "Object-Centric Learning with Slot Attention" (Locatello et al., 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amr_model.model.layers import Mlp
from amr_model.model.padding import MASKED, Padding


class SlotAttention(nn.Module):
    """Slots that share the rows among themselves, repeatedly."""

    def __init__(self, dim: int, inner_dim: int, num_iterations: int, *, padding: Padding = MASKED) -> None:
        super().__init__()
        self.num_iterations, self.padding = num_iterations, padding
        self.norm_inputs, self.norm_slots = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.norm_mlp, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.mlp = Mlp(dim, inner_dim, dim, 3)

    def forward(self, slots: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
        """slots [B, S, dim], rows [B, L, dim], mask [B, L] -> [B, S, dim].

        Slots that start equal stay equal, so one slot stands for any number of them.
        """
        rows = self.norm_inputs(rows)
        keys, values = self.key(rows), self.value(rows)
        padding, uncounted = ~mask[:, None, :], ~self.padding.counted(mask)[:, None, :]
        for _ in range(self.num_iterations):
            logits = self.query(self.norm_slots(slots)) @ keys.transpose(1, 2) * keys.shape[-1] ** -0.5
            # a column of equal numbers gives equal shares, should padding count
            weights = logits.masked_fill(padding, torch.finfo(logits.dtype).min).softmax(dim=1)
            weights = weights.masked_fill(uncounted, 0.0)
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-8)
            slots = slots + weights @ values
            slots = slots + self.mlp(self.norm_mlp(slots))
        out: Tensor = self.norm_out(slots)
        return out
