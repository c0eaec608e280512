"""Which query answers for which moment: the cheapest assignment of each item and decoder layer.

After DETR (Apache-2.0), `matcher.py`, with the costs of QD-DETR (MIT).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from amr_model.config import LossConfig
from amr_model.spans import cxw_to_xx, pairwise_giou
from amr_model.tensors import Outputs, Targets

UNMATCHED = -1


@dataclass(frozen=True)
class Match:
    """The assignment, dense, so that the losses need no loop and no index lists."""

    target: Tensor  # [N, B, Q] int64: the moment of each query, or UNMATCHED

    @property
    def matched(self) -> Tensor:
        """[N, B, Q] bool."""
        return self.target >= 0

    def spans(self, spans: Tensor) -> Tensor:
        """[B, J, 2] -> [N, B, Q, 2]: each query's moment; the first one where there is none."""
        index = self.target.clamp(min=0).unsqueeze(-1).expand(-1, -1, -1, 2)
        return spans.expand(len(self.target), -1, -1, -1).gather(2, index)


@torch.no_grad()
def match(outputs: Outputs, targets: Targets, config: LossConfig) -> Match:
    """Minimum-cost assignment within each item and layer; min(Q, J) pairs for an item with J moments."""
    if targets.spans_mask.shape[1] == 0:
        return Match(torch.full(outputs.logits.shape[:3], UNMATCHED, device=outputs.logits.device))
    cost = matching_cost(outputs, targets, config).nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6)
    # one copy for all layers and items; padding travels inside it
    table = cost.masked_fill(~targets.spans_mask[:, None, :], float("inf")).cpu().numpy()
    assigned = np.full(table.shape[:3], UNMATCHED)
    counts = np.isfinite(table[0, :, 0]).sum(axis=1)
    for layer, layer_costs in enumerate(table):
        for item, count in enumerate(counts):
            queries, moments = linear_sum_assignment(layer_costs[item, :, :count])
            assigned[layer, item, queries] = moments
    return Match(torch.from_numpy(assigned).to(cost.device, non_blocking=True))


def matching_cost(outputs: Outputs, targets: Targets, config: LossConfig) -> Tensor:
    """[N, B, Q, J]: weighted distance in (centre, width) minus gIoU minus the foreground's probability."""
    spans, moments = outputs.spans_cxw.float(), targets.spans_cxw
    distance = (spans.unsqueeze(-2) - moments.unsqueeze(-3)).abs().sum(dim=-1)
    overlap = pairwise_giou(cxw_to_xx(spans), cxw_to_xx(moments).expand(len(spans), -1, -1, -1))
    foreground = outputs.logits.float().softmax(dim=-1)[..., :1]
    return config.match_span * distance - config.match_giou * overlap - config.match_class * foreground
