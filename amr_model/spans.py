"""Spans as (start, end) or as (centre, width), and how two of them overlap. The only copy.

gIoU after "Generalized Intersection over Union" (Rezatofighi et al., 2019) in one dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cxw_to_xx(spans_cxw: Tensor) -> Tensor:
    """(centre, width) -> (start, end), [..., 2]; nothing is clamped."""
    centre, width = spans_cxw.unbind(-1)
    return torch.stack((centre - 0.5 * width, centre + 0.5 * width), dim=-1)


def xx_to_cxw(spans_xx: Tensor) -> Tensor:
    """(start, end) -> (centre, width), [..., 2]."""
    start, end = spans_xx.unbind(-1)
    return torch.stack(((start + end) * 0.5, end - start), dim=-1)


def temporal_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of spans that broadcast (report Eqs. 2, 4 and 5).

    Args:
        a: [..., 2] start, end; end >= start.
        b: [..., 2] start, end, in the unit of `a`.
    Returns:
        [...] in [0, 1]. Two empty spans give 0, never NaN.
    """
    return _overlap(a, b)[0]


def temporal_giou(a: Tensor, b: Tensor) -> Tensor:
    """IoU minus the share of the hull that neither span covers; arguments as `temporal_iou`.

    Returns:
        [...] in [-1, 1]. Two spans in one point give 0, never NaN.
    """
    iou, union = _overlap(a, b)
    hull = torch.maximum(a[..., 1], b[..., 1]) - torch.minimum(a[..., 0], b[..., 0])
    return (iou - _ratio(hull - union, hull)).clamp(-1.0, 1.0)  # rounding alone passes the bounds


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """`temporal_iou` of every pair: [..., N, 2] and [..., M, 2] -> [..., N, M]."""
    return temporal_iou(a.unsqueeze(-2), b.unsqueeze(-3))


def pairwise_giou(a: Tensor, b: Tensor) -> Tensor:
    """`temporal_giou` of every pair: [..., N, 2] and [..., M, 2] -> [..., N, M]."""
    return temporal_giou(a.unsqueeze(-2), b.unsqueeze(-3))


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and length of the union."""
    shared = (torch.minimum(a[..., 1], b[..., 1]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0.0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared
    return _ratio(shared, union).clamp(max=1.0), union


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    # the inner choice keeps the gradient finite too: where() passes 0 * inf of the branch not taken
    positive = whole > 0
    return torch.where(positive, part / torch.where(positive, whole, 1.0), 0.0)
