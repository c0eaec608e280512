"""Where matched queries should be: L1 in (centre, width) and gIoU, after DETR."""

from __future__ import annotations

from torch import Tensor

from amr_model.learn.distributed import Total, alone
from amr_model.learn.matcher import Match
from amr_model.spans import cxw_to_xx, temporal_giou
from amr_model.tensors import Outputs, Targets


def span_loss(outputs: Outputs, targets: Targets, match: Match, total: Total = alone) -> Tensor:
    """[N]: mean absolute difference over the matched pairs of the batch and both coordinates."""
    difference = (outputs.spans_cxw - match.spans(targets.spans_cxw)).abs().mean(dim=-1)
    return _mean_of_matched(difference, match, total)


def giou_loss(outputs: Outputs, targets: Targets, match: Match, total: Total = alone) -> Tensor:
    """[N]: mean of 1 - gIoU over the matched pairs of the batch."""
    overlap = temporal_giou(cxw_to_xx(outputs.spans_cxw), cxw_to_xx(match.spans(targets.spans_cxw)))
    return _mean_of_matched(1 - overlap, match, total)


def _mean_of_matched(values: Tensor, match: Match, total: Total) -> Tensor:
    """[N, B, Q] -> [N]; 0 where nothing is matched."""
    matched = match.matched
    return (values * matched).sum(dim=(1, 2)) / total(matched.sum(dim=(1, 2))).clamp(min=1)
