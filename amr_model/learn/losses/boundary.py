"""Nearly right windows should come closer to the truth than typical boundary errors: report Eqs. 4-7.

All windows are (start, end) in fractions of the timeline, last decoder layer only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amr_model.config import LossConfig
from amr_model.learn.distributed import Total, alone
from amr_model.spans import cxw_to_xx, pairwise_iou, temporal_giou, temporal_iou, xx_to_cxw
from amr_model.tensors import Outputs, Targets
from clotho_long.core.seeds import generator

NUM_TYPES = 4  # over-expansion, under-coverage, shift, single boundary
TOLERANCE = 1e-6  # rounding, of IoU and of the recording's ends


def draw_uniforms(seed: int, epoch: int, step: int, *, size: int, config: LossConfig, queries: int) -> Tensor:
    """The random numbers of one training step, [size, queries, 4, K, 3] on the CPU.

    They depend on (seed, epoch, step) alone and are drawn for every query, selected or not, so that
    neither the predictions nor an interruption can move the stream.
    """
    shape = (size, queries, NUM_TYPES, config.boundary_negatives, 3)
    draws = generator(seed, "boundary", str(epoch), str(step)).random(shape, dtype="float32")
    return torch.from_numpy(draws)


def boundary_loss(
    outputs: Outputs, targets: Targets, uniforms: Tensor, config: LossConfig, total: Total = alone
) -> Tensor:
    """Margin loss over the candidates of the batch; 0, connected to the graph, if there are none."""
    spans = cxw_to_xx(outputs.spans_cxw[-1])
    if targets.spans_mask.shape[1] == 0:
        return spans.sum() * 0.0
    candidates = select(spans.detach(), targets, config.boundary_iou)
    negatives, valid = hard_negatives(candidates.truth, uniforms, config.boundary_negative_iou)
    truth = candidates.truth[..., None, None, :]
    near = distance(spans, candidates.truth)[..., None, None]
    hinge = (config.boundary_margin + near - distance(negatives, truth)).clamp(min=0) * valid
    per_type = hinge.sum(dim=-1) / valid.sum(dim=-1).clamp(min=1)  # [B, Q, type]
    per_query = per_type.sum(dim=-1) / valid.any(dim=-1).sum(dim=-1).clamp(min=1)
    counted = candidates.selected & valid.any(dim=(-2, -1))
    confidence = outputs.logits[-1].detach().softmax(dim=-1)[..., 0].clamp(min=config.boundary_epsilon)
    sum_p = total((confidence * counted).sum()).clamp(min=config.boundary_epsilon)
    # omega_i / N = (p_i / (sum p / N)) / N = p_i / sum p
    return (confidence / sum_p * per_query * counted).sum()


@dataclass(frozen=True)
class Candidates:
    """Each query's best window of the truth, and whether it is close enough to learn from."""

    truth: Tensor  # [B, Q, 2]
    selected: Tensor  # [B, Q] bool


def select(spans: Tensor, targets: Targets, bounds: tuple[float, float]) -> Candidates:
    """Report Eqs. 4 and 5: spans [B, Q, 2] whose IoU with their best window lies within the bounds."""
    windows = cxw_to_xx(targets.spans_cxw)
    fit = pairwise_iou(spans, windows).masked_fill(~targets.spans_mask.unsqueeze(1), -1.0)
    best, index = fit.max(dim=-1)
    truth = windows.gather(1, index.unsqueeze(-1).expand(-1, -1, 2))
    return Candidates(truth, (best >= bounds[0]) & (best <= bounds[1]))


def hard_negatives(truth: Tensor, uniforms: Tensor, bounds: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Four kinds of wrong window around each true one, at an IoU drawn within the bounds.

    Args:
        truth: [..., 2] start, end.
        uniforms: [..., 4, K, 3] in [0, 1).
    Returns:
        Windows [..., 4, K, 2], and [..., 4, K] bool: False where the window fails its IoU range, is
        empty or leaves the recording.
    """
    start, end = (truth[..., i, None, None].expand(uniforms.shape[:-1]) for i in (0, 1))
    iou = bounds[0] + (bounds[1] - bounds[0]) * uniforms[..., 0]
    makers = (_expanded, _shrunk, _shifted, _one_moved)
    windows = torch.stack(
        [
            torch.stack(
                make(
                    start[..., kind, :],
                    end[..., kind, :],
                    iou[..., kind, :],
                    *uniforms[..., kind, :, 1:].unbind(-1),
                ),
                dim=-1,
            )
            for kind, make in enumerate(makers)
        ],
        dim=-3,
    )
    fit = temporal_iou(windows, truth[..., None, None, :])
    valid = (
        (windows[..., 1] > windows[..., 0]) & (fit >= bounds[0] - TOLERANCE) & (fit <= bounds[1] + TOLERANCE)
    )
    inside = (windows[..., 0] >= -TOLERANCE) & (windows[..., 1] <= 1 + TOLERANCE)
    return windows, valid & inside


def distance(a: Tensor, b: Tensor) -> Tensor:
    """L1 in (centre, width) plus 1 - gIoU, which alone tells short windows apart."""
    return (xx_to_cxw(a) - xx_to_cxw(b)).abs().sum(dim=-1) + 1 - temporal_giou(a, b)


Pair = tuple[Tensor, Tensor]


def _expanded(start: Tensor, end: Tensor, iou: Tensor, u1: Tensor, u2: Tensor) -> Pair:
    """Longer on both sides; what does not fit into the recording goes to the other side."""
    more = (end - start) * (1 / iou - 1)
    left = (0.25 + 0.5 * u1) * more
    right = more - left
    room_left, room_right = start.clamp(min=0), (1 - end).clamp(min=0)
    over_left, over_right = (left - room_left).clamp(min=0), (right - room_right).clamp(min=0)
    return (
        start - torch.minimum(left - over_left + over_right, room_left),
        end + torch.minimum(right - over_right + over_left, room_right),
    )


def _shrunk(start: Tensor, end: Tensor, iou: Tensor, u1: Tensor, u2: Tensor) -> Pair:
    """Shorter on both sides."""
    less = (end - start) * (1 - iou)
    left = (0.25 + 0.5 * u1) * less
    return start + left, end - (less - left)


def _shifted(start: Tensor, end: Tensor, iou: Tensor, u1: Tensor, u2: Tensor) -> Pair:
    """Moved as a whole; to the other side if it would leave the recording."""
    shift = (end - start) * (1 - iou) / (1 + iou)
    fits_right, fits_left = end + shift <= 1, start - shift >= 0
    rightward = torch.where(u1 < 0.5, fits_right, ~fits_left)
    shift = torch.where(rightward, shift, -shift)
    return start + shift, end + shift


def _one_moved(start: Tensor, end: Tensor, iou: Tensor, u1: Tensor, u2: Tensor) -> Pair:
    """One end moved, outward or inward; inward if outward would leave the recording."""
    width, at_start = end - start, u1 < 0.5
    outward, inward = width * (1 / iou - 1), width * (1 - iou)
    fits = torch.where(at_start, start - outward >= 0, end + outward <= 1)
    move = torch.where((u2 < 0.5) & fits, outward, -inward)  # away from the window's middle
    return torch.where(at_start, start - move, start), torch.where(at_start, end, end + move)
