"""The quality head should say how well its window fits: report Eq. 2."""

from __future__ import annotations

import torch
from torch import Tensor

from amr_model.learn.distributed import Total, alone
from amr_model.learn.matcher import Match
from amr_model.spans import cxw_to_xx, pairwise_iou, temporal_iou
from amr_model.tensors import Outputs, Targets

BANDS = (0.3, 0.7)  # of IoU, as BAM-DETR averages them


def matched_quality_loss(outputs: Outputs, targets: Targets, match: Match, total: Total = alone) -> Tensor:
    """Mean of |quality - IoU| over the matched pairs of the last layer; 0 if there are none."""
    assert outputs.quality is not None
    last = Match(match.target[-1:])
    # without gradient: the head could lower its loss by moving windows
    fit = temporal_iou(cxw_to_xx(outputs.spans_cxw[-1].detach()), cxw_to_xx(last.spans(targets.spans_cxw)[0]))
    matched = last.matched[0]
    return ((outputs.quality - fit).abs() * matched).sum() / total(matched.sum()).clamp(min=1)


def banded_quality_loss(outputs: Outputs, targets: Targets, total: Total = alone) -> Tensor:
    """Every query against its best window: means within three bands of IoU, then over the bands in use."""
    assert outputs.quality is not None
    fit = best_iou(outputs.spans_cxw[-1].detach(), targets)
    error, low, high = (outputs.quality - fit).abs(), fit <= BANDS[0], fit > BANDS[1]
    bands = torch.stack((low, ~low & ~high, high))
    counts = total(bands.sum(dim=(1, 2)))
    means = (error * bands).sum(dim=(1, 2)) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum()


def best_iou(spans_cxw: Tensor, targets: Targets) -> Tensor:
    """[B, Q]: IoU of each query's span with the moment that it overlaps most; 0 without moments."""
    if targets.spans_mask.shape[1] == 0:
        return spans_cxw.new_zeros(spans_cxw.shape[:2])
    fit = pairwise_iou(cxw_to_xx(spans_cxw), cxw_to_xx(targets.spans_cxw))
    return fit.masked_fill(~targets.spans_mask.unsqueeze(1), 0.0).amax(dim=-1)
