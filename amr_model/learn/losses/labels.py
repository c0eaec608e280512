"""Whether a query answers at all: foreground if matched, else background. After DETR."""

from __future__ import annotations

import torch
from torch import Tensor

from amr_model.learn.matcher import Match
from amr_model.tensors import Outputs


def label_loss(outputs: Outputs, match: Match, *, background_weight: float) -> Tensor:
    """[N]: weighted cross entropy, its mean over all queries (not over the sum of weights)."""
    foreground, background = outputs.logits.log_softmax(dim=-1).unbind(-1)
    return -torch.where(match.matched, foreground, background_weight * background).mean(dim=(1, 2))


def class_error(outputs: Outputs, match: Match) -> Tensor:
    """[N]: percentage of matched queries whose larger logit is background; 0 if none is matched."""
    wrong = match.matched & (outputs.logits[..., 1] > outputs.logits[..., 0])
    return 100.0 * wrong.sum(dim=(1, 2)) / match.matched.sum(dim=(1, 2)).clamp(min=1)
