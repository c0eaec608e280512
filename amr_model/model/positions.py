"""Sine codes of rows and of decoder references, and the inverse sigmoid between refinements.

After DETR (Apache-2.0), `position_encoding.py`, and DAB-DETR (Apache-2.0), `transformer.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0
INVERSE_SIGMOID_FLOOR = 1e-3


def row_positions(audio_mask: Tensor, dim: int) -> Tensor:
    """Code of each row's place among the valid ones: [B, L] bool -> [B, L, dim].

    Every recording spans one turn whatever its length. Padded rows get the code of the last valid one.
    """
    count = audio_mask.cumsum(1, dtype=torch.float32)
    return _sine_code(2 * math.pi * count / (count[:, -1:] + 1e-6), dim)


def reference_positions(references: Tensor, dim: int) -> Tensor:
    """Code of (centre, width) pairs: [..., 2] -> [..., dim], half of the channels for each."""
    return _sine_code(2 * math.pi * references, dim // 2).flatten(-2)


def inverse_sigmoid(x: Tensor) -> Tensor:
    """The logit of x, finite at and beyond 0 and 1."""
    x = x.clamp(0.0, 1.0)
    return torch.log(x.clamp(min=INVERSE_SIGMOID_FLOOR) / (1 - x).clamp(min=INVERSE_SIGMOID_FLOOR))


def _sine_code(angles: Tensor, dim: int) -> Tensor:
    """[...] -> [..., dim]: sine on even channels, cosine on odd ones, ever slower."""
    pair = torch.arange(dim // 2, dtype=torch.float32, device=angles.device)
    angles = angles.unsqueeze(-1) / TEMPERATURE ** (2 * pair / dim)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)
