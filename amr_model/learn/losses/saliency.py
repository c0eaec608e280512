"""Which rows answer: three terms on the saliency scores, after QD-DETR (MIT).

The reference ranks eleven levels of labels; labels here are 0 or 1, of which only the first level exists,
but its division by twelve stays.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from amr_model.config import LossConfig
from amr_model.learn.distributed import Total, alone
from amr_model.tensors import Batch, Outputs, Targets

TEMPERATURE = 0.5
PADDED_SCORE = -1000.0
RANK_LEVELS = 12
EPSILON = 1e-6


def negative_term(outputs: Outputs, batch: Batch, config: LossConfig, total: Total = alone) -> Tensor:
    """Clips under a text that does not belong to them should score low: -ln(1 - sigmoid(score)).

    Summed (or averaged) over the rows, averaged over the items that have a negative text.
    """
    scores, has_negative = _negative_side(outputs)
    # the softplus form is finite where ln(1 - sigmoid) is not
    cost = F.softplus(scores).masked_fill(~batch.audio_mask, 0.0).sum(dim=1)
    if config.neg_reduction == "mean":
        cost = cost / batch.audio_mask.sum(dim=1)
    return (cost * has_negative).sum() / total(has_negative.sum()).clamp(min=1)


def ranking_term(outputs: Outputs, targets: Targets, batch: Batch) -> Tensor:
    """Positive rows should stand out from all rows under both texts: contrastive, per item."""
    negative, has_negative = _negative_side(outputs)
    scores = torch.cat((outputs.saliency, negative), dim=1)
    real = torch.cat((batch.audio_mask, batch.audio_mask & has_negative.unsqueeze(1)), dim=1)
    logits = torch.where(real, scores, PADDED_SCORE) / TEMPERATURE
    logits = logits - logits.amax(dim=1, keepdim=True)
    log_share = logits - torch.log(logits.exp().sum(dim=1, keepdim=True) + EPSILON)
    positive = (targets.saliency > 0) & batch.audio_mask
    total = log_share[:, : positive.shape[1]].masked_fill(~positive, 0.0).sum(dim=1)
    return -(total / (positive.sum(dim=1) + EPSILON)).mean() / RANK_LEVELS


def pair_term(outputs: Outputs, targets: Targets, *, margin: float) -> Tensor:
    """A drawn positive row should score above a drawn negative one by the margin."""
    gap = outputs.saliency.gather(1, targets.saliency_negatives) - outputs.saliency.gather(
        1, targets.saliency_positives
    )
    hinge = (margin + gap).clamp(min=0) * targets.saliency_pairs_mask
    return 2 * hinge.mean()


def all_pairs_term(outputs: Outputs, targets: Targets, batch: Batch, *, margin: float) -> Tensor:
    """`pair_term` over every pair of a positive and a negative row instead of two drawn ones."""
    positive = (targets.saliency > 0) & batch.audio_mask
    negative = batch.audio_mask & ~positive
    gap = margin + outputs.saliency.unsqueeze(1) - outputs.saliency.unsqueeze(2)  # [B, positive, negative]
    pairs = positive.unsqueeze(2) & negative.unsqueeze(1)
    return 2 * ((gap.clamp(min=0) * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)).mean()


def _negative_side(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Scores under the negative text [B, L] and which items have one [B]."""
    assert outputs.saliency_negative is not None  # computed with for_loss
    assert outputs.negative_index is not None
    return outputs.saliency_negative, outputs.negative_index >= 0
