"""Each second on its own: does it answer or not? Makes sigmoid(saliency) a probability.

The other terms on the saliency only say which second should score above which, so no threshold on it means
the same in two recordings. Sound event detectors learn with this term; with it the moments can be read off
the curve (Komatsu and Munakata, arXiv 2610.05737, 2026, weigh the saliency up for the same purpose).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from amr_model.config import LossConfig
from amr_model.learn.distributed import Total, alone
from amr_model.tensors import Batch, Outputs, Targets


def frame_term(
    outputs: Outputs, targets: Targets, batch: Batch, config: LossConfig, total: Total = alone
) -> Tensor:
    """Binary cross entropy of the saliency against the labels of all moments, a mean over real rows.

    The rows under the negative text count as rows that do not answer: a recording is asked for what it does
    not hold as often as for what it does. Each item weighs the same, whatever its length.

    Args:
        config: its `frame_positive_weight` multiplies rows that answer, which are one in ten.
    """
    weight = torch.as_tensor(config.frame_positive_weight, device=outputs.saliency.device)
    own = F.binary_cross_entropy_with_logits(
        outputs.saliency, targets.saliency, pos_weight=weight, reduction="none"
    )
    cost = _row_mean(own, batch.audio_mask)
    if outputs.saliency_negative is None or outputs.negative_index is None:
        return cost.sum() / total(torch.as_tensor(len(cost), device=cost.device))
    # the softplus form of -ln(1 - sigmoid) stays finite
    other = _row_mean(F.softplus(outputs.saliency_negative), batch.audio_mask)
    has_negative = outputs.negative_index >= 0
    return (cost.sum() + (other * has_negative).sum()) / total(len(cost) + has_negative.sum())


def _row_mean(cost: Tensor, real: Tensor) -> Tensor:
    """[B] mean over the real rows of each item."""
    return cost.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1)
