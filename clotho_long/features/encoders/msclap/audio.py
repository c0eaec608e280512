"""HTS-AT's embedding of one-second windows, rewritten for inference.

After HTS-AT (MIT, Chen et al., arXiv 2202.00874) as MS-CLAP 2023 configures it. The numbers are the same;
what differs from `msclap.models.htsat`:

- only what the mean of the 64 last tokens depends on is computed: no attention maps, no token-semantic
  convolution, no classification head;
- scale and shift of each layer norm live in the linear layer that follows, attention's scale in the queries;
- tokens stay in window order: a block is permuted once, not rolled, partitioned, reversed and rolled;
- position bias and shift mask are one tensor, made once;
- few windows at a time on a processor: with many, the activations of the first stages leave the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clotho_long.features.encoders.msclap.front_end import NORM_EPSILON, FrontEnd
from clotho_long.features.encoders.msclap.layout import (
    DEPTHS,
    HEAD_DIM,
    HEADS,
    SIDE,
    TOKENS,
    WINDOW,
    merge_order,
    relative_position_index,
    reorder,
    shift_mask,
    window_order,
)
from clotho_long.features.encoders.msclap.linear import Linear

State = Mapping[str, Tensor]


class AudioTower(nn.Module):
    """[window, 44100] in [-1, 1] -> [window, 768] float32: the embedding before the projection.

    Args:
        weights: HTS-AT's, named as in `weights.audio_shapes`.
        where: their file, for messages.
        dtype: of the matrix products; sums, norms and the spectrogram stay in float32.
    """

    patch_scale: Tensor
    patch_shift: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, weights: State, *, where: Path, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.front_end = FrontEnd(weights, where=where)
        self.patches = Linear(weights["patch_embed.proj.weight"].flatten(1), weights["patch_embed.proj.bias"])
        self.register_buffer("patch_scale", weights["patch_embed.norm.weight"])
        self.register_buffer("patch_shift", weights["patch_embed.norm.bias"])
        self.stages = nn.ModuleList(
            Stage(_below(weights, f"layers.{index}."), index, dtype) for index in range(len(DEPTHS))
        )
        self.register_buffer("scale", weights["norm.weight"])
        self.register_buffer("shift", weights["norm.bias"])

    def pack(self) -> None:
        """Lay the weights out for oneDNN, see `linear.can_pack`."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.pack()

    def forward(self, windows: Tensor) -> Tensor:
        x = self.patches(self.front_end(windows))
        x = F.layer_norm(x, x.shape[-1:], self.patch_scale, self.patch_shift, NORM_EPSILON)
        for stage in self.stages:
            x = stage(x)
        return torch.addcmul(self.shift, _normalised(x).mean(1), self.scale)


class Stage(nn.Module):
    """Blocks of one resolution, then (but for the last stage) the merging of each four tokens into one."""

    merge: Tensor

    def __init__(self, weights: State, index: int, dtype: torch.dtype) -> None:
        super().__init__()
        side = SIDE >> index
        # the last stage is a single window, where nothing is to be shifted
        shifts = [block % 2 == 1 and side > WINDOW for block in range(DEPTHS[index])]
        orders = [window_order(side, shifted=shifted) for shifted in shifts]
        self.blocks = nn.ModuleList(
            Block(_below(weights, f"blocks.{block}."), HEADS[index], side, shift, dtype)
            for block, shift in enumerate(shifts)
        )
        for block in range(1, len(shifts)):
            if shifts[block] != shifts[block - 1]:
                self.blocks[block].order = reorder(orders[block - 1], orders[block])
        self.reduction: Linear | None = None
        if index < len(DEPTHS) - 1:
            self.register_buffer("merge", merge_order(orders[-1], side))
            scale, shift = weights["downsample.norm.weight"], weights["downsample.norm.bias"]
            self.reduction = Linear.after_norm(
                weights["downsample.reduction.weight"], None, scale, shift, dtype
            )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        if self.reduction is None:
            return x
        batch, tokens, width = x.shape
        merged = x.index_select(1, self.merge).view(batch, tokens // 4, 4 * width)
        reduced: Tensor = self.reduction(_normalised(merged))
        return reduced.float()


class Block(nn.Module):
    """Window attention and an MLP, both on normalised tokens and added to their input.

    `order` is the permutation that brings the tokens of the previous block into this block's window order.
    """

    order: Tensor | None
    bias: Tensor

    def __init__(self, weights: State, heads: int, side: int, shifted: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.register_buffer("order", None)
        bias = weights["attn.relative_position_bias_table"][relative_position_index()].permute(2, 0, 1)
        if shifted:
            bias = (shift_mask(side)[:, None] + bias).flatten(0, 1)
        # [1, head or window * head, query, key]; with fewer axes torch takes a slower path
        self.register_buffer("bias", bias[None].to(dtype).contiguous())
        qkv, qkv_bias = weights["attn.qkv.weight"].clone(), weights["attn.qkv.bias"].clone()
        width = heads * HEAD_DIM
        qkv[:width] *= HEAD_DIM**-0.5
        qkv_bias[:width] *= HEAD_DIM**-0.5
        self.qkv = Linear.after_norm(qkv, qkv_bias, weights["norm1.weight"], weights["norm1.bias"], dtype)
        self.out = Linear(weights["attn.proj.weight"], weights["attn.proj.bias"], dtype)
        self.widen = Linear.after_norm(
            weights["mlp.fc1.weight"],
            weights["mlp.fc1.bias"],
            weights["norm2.weight"],
            weights["norm2.bias"],
            dtype,
        )
        self.narrow = Linear(weights["mlp.fc2.weight"], weights["mlp.fc2.bias"], dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.order is not None:
            x = x.index_select(1, self.order)
        x = x + self.out(self._attention(self.qkv(_normalised(x))))
        y: Tensor = x + self.narrow(F.gelu(self.widen(_normalised(x))))
        return y

    def _attention(self, qkv: Tensor) -> Tensor:
        """[batch, token, 3 * width] -> [batch, token, width]."""
        batch, tokens, _ = qkv.shape
        # a shifted block has another mask for each window: window and head become one axis
        groups = tokens // TOKENS if self.bias.shape[1] > self.heads else 1
        parts = qkv.view(-1, groups, TOKENS, 3, self.heads, HEAD_DIM).permute(3, 0, 1, 4, 2, 5)
        q, k, v = parts.flatten(2, 3).unbind(0)  # [batch * window / group, group * head, 64, 24]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias, scale=1.0)
        mixed = mixed.view(-1, groups, self.heads, TOKENS, HEAD_DIM).transpose(2, 3)
        return mixed.reshape(batch, tokens, self.heads * HEAD_DIM)


def _normalised(x: Tensor) -> Tensor:
    """Layer norm without scale and shift, which the next linear layer contains."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON)


def _below(weights: State, prefix: str) -> State:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
