"""From a model's outputs to ranked moments in seconds, for a whole batch at once.

`report`: the technical report's procedure (quality in the score, short proposals, clipping, rounding, NMS,
ten moments). `reference`: Lighthouse's (`public/ranking.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from amr_model.config import InferenceConfig, TimeScale
from amr_model.public.ranking import rank_as_lighthouse
from amr_model.spans import cxw_to_xx
from amr_model.tensors import Outputs
from clotho_long.core.errors import ManifestError
from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds

# Raised when the same weights and features get other answers than before: pipelines then ask anew.
ANSWERING_VERSION = 1

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


def rank_moments(
    outputs: Outputs,
    *,
    durations_s: Sequence[Seconds],
    num_rows: Integers,
    inference: InferenceConfig,
    row_s: Seconds,
    time_scale: TimeScale = "features",
) -> list[tuple[ScoredMoment, ...]]:
    """The scored moments of each item, best first.

    Args:
        num_rows: valid audio rows of each item.
        row_s: seconds of a row.
        time_scale: what a fraction of the timeline is worth, see `TargetConfig`.

    Raises:
        ManifestError: the outputs are not finite.
    """
    duration = np.asarray(durations_s, dtype=np.float64)
    features_s = num_rows * row_s
    scores, spans_xx = (
        _scores(outputs, inference.quality_power),
        cxw_to_xx(outputs.spans_cxw[-1]).float().cpu(),
    )
    if not (np.isfinite(scores).all() and torch.isfinite(spans_xx).all()):
        raise ManifestError(
            "the model's outputs are not finite", "checkpoint", "train it again, or take another"
        )
    scale_s = features_s if time_scale == "features" else duration
    end_s = _timeline_end(inference, duration, features_s)
    if inference.procedure == "reference":
        # float32 throughout, as the order of operations of the reference implies
        moments = (spans_xx * torch.as_tensor(scale_s, dtype=torch.float32)[:, None, None]).numpy()
        return [
            rank_as_lighthouse(item, score, float(end), row_s, inference.num_moments)
            for item, score, end in zip(moments, scores, end_s, strict=True)
        ]
    moments = spans_xx.double().numpy() * scale_s[:, None, None]
    valid = np.ones(scores.shape, dtype=bool)
    if inference.short_proposals:
        saliency = outputs.saliency.float().cpu().double().numpy()
        short, share, exists = short_proposals(saliency, num_rows, inference)
        moments = np.concatenate([moments, short * row_s], axis=1)
        # at most a quarter of the best decoder score: a proposal never comes first
        top = inference.proposal_score * scores.max(axis=1, keepdims=True)
        scores = np.concatenate([scores, top * share], axis=1)
        valid = np.concatenate([valid, exists], axis=1)
    moments = fit_moments(moments, end_s, grid_s=row_s, min_length_s=inference.min_length_s)
    return _listed(*_ranked(moments, scores, valid, inference))


def short_proposals(
    saliency: Floats, num_rows: Integers, inference: InferenceConfig
) -> tuple[Floats, Floats, Booleans]:
    """Moments of one, two and three rows around the peaks of each item's saliency.

    Args:
        saliency: [item, row], any scale; rows from num_rows on are padding.
    Returns:
        moments [item, peak * length, 2] in rows, their mean saliency scaled to [0, 1] [item, peak * length],
        and which of them exist.
    """
    num_items, num_columns = saliency.shape
    real = np.arange(num_columns) < num_rows[:, None]
    low = np.where(real, saliency, np.inf).min(axis=1, keepdims=True)
    high = np.where(real, saliency, -np.inf).max(axis=1, keepdims=True)
    rises = high > low  # a flat curve has no peaks
    scaled = np.where(real & rises, (saliency - low) / np.where(rises, high - low, 1.0), -np.inf)
    beyond = np.full((num_items, 1), -np.inf)
    before = np.concatenate([beyond, scaled[:, :-1]], axis=1)
    after = np.concatenate([scaled[:, 1:], beyond], axis=1)
    candidates = (scaled >= inference.proposal_threshold) & (scaled >= before) & (scaled > after) & real
    peaks, exists = _highest_peaks(scaled, candidates, inference)
    items = np.arange(num_items)[:, None]
    to_the_left = before[items, peaks] > after[items, peaks]
    starts, lengths = [], np.array(inference.proposal_lengths)
    for length in inference.proposal_lengths:
        # an odd moment is centred on its peak, an even one leans to the higher neighbour
        lean = (length % 2 == 0) & ~to_the_left
        starts.append(peaks - length // 2 + lean)
    start = np.stack(starts, axis=2).reshape(num_items, -1)
    lengths = np.tile(lengths, inference.proposal_peaks)
    start = np.clip(start, 0, np.maximum(num_rows[:, None] - lengths, 0))
    end = np.minimum(start + lengths, num_rows[:, None])
    sums = np.concatenate(
        [np.zeros((num_items, 1)), np.where(real & rises, scaled, 0).cumsum(axis=1)], axis=1
    )
    mean = (sums[items, end] - sums[items, start]) / np.maximum(end - start, 1)
    share = np.clip(mean, 0.0, 1.0)  # differences of sums may pass the bounds by rounding
    moments = np.stack([start, end], axis=2).astype(np.float64)
    return moments, share, exists.repeat(len(inference.proposal_lengths), axis=1)


def fit_moments(moments: Floats, end_s: Floats, *, grid_s: Seconds, min_length_s: Seconds) -> Floats:
    """Clip to the recording, round to the grid (halves to even), and let no moment be empty.

    A second application changes nothing. Every edge lies on the grid, except the end of a recording that is
    shorter than one step of it.

    Args:
        moments: [item, moment, 2] seconds.
        end_s: [item] where the timeline ends.
        min_length_s: what an empty moment grows to; 0 leaves it empty.
    """
    whole = np.floor(end_s / grid_s) * grid_s
    end = np.where(whole > 0, whole, end_s)[:, None]
    rounded = np.rint(np.clip(moments, 0.0, end_s[:, None, None]) / grid_s) * grid_s
    onset, offset = np.moveaxis(np.minimum(rounded, end[:, :, None]), 2, 0)
    empty = offset <= onset
    grown = np.minimum(onset + min_length_s, end)
    offset = np.where(empty, grown, offset)
    onset = np.where(empty, np.maximum(offset - min_length_s, 0.0), onset)
    return np.stack([onset, offset], axis=2)


def suppress(moments: Floats, valid: Booleans, threshold: float) -> Booleans:
    """Greedy non-maximum suppression: which moments stay, [item, moment].

    A moment is dropped if its IoU with a kept one listed before it exceeds the threshold.

    Args:
        moments: [item, moment, 2], best first.
        valid: [item, moment], False on padding.
    """
    a, b = moments[:, :, None], moments[:, None]
    inter = np.clip(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inter
    too_close = inter > threshold * union
    kept = valid.copy()
    for place in range(moments.shape[1]):
        kept &= ~(too_close[:, place] & kept[:, place, None]) | (np.arange(moments.shape[1]) <= place)
    return kept


def _highest_peaks(
    scaled: Floats, candidates: Booleans, inference: InferenceConfig
) -> tuple[Integers, Booleans]:
    """[item, peak] rows, highest first (the earlier of equals), none close to a higher one; which exist."""
    left, rows = candidates.copy(), np.arange(scaled.shape[1])
    peaks = np.zeros((len(scaled), inference.proposal_peaks), dtype=np.int64)
    exists = np.zeros(peaks.shape, dtype=bool)
    for place in range(inference.proposal_peaks):
        peak = np.where(left, scaled, -np.inf).argmax(axis=1)
        peaks[:, place], exists[:, place] = peak, left.any(axis=1)
        left &= np.abs(rows - peak[:, None]) > inference.proposal_distance
    return peaks, exists


def _scores(outputs: Outputs, quality_power: float) -> Floats:
    """[item, query]: foreground probability, times quality^gamma if the model judges it (report Eq. 3)."""
    scores = outputs.logits[-1].float().softmax(dim=-1)[..., 0]
    if outputs.quality is not None:
        scores = scores * outputs.quality.float() ** quality_power
    result: Floats = scores.cpu().double().numpy()
    return result


def _timeline_end(inference: InferenceConfig, duration_s: Floats, features_s: Floats) -> Floats:
    if inference.timeline_end == "duration":
        return duration_s
    if inference.timeline_end == "features":
        return np.maximum(duration_s, features_s)
    return np.full(duration_s.shape, float(inference.timeline_end))


def _ranked(
    moments: Floats, scores: Floats, valid: Booleans, inference: InferenceConfig
) -> tuple[Floats, Floats, Booleans]:
    """Windows and scores in order of score, and which of them are answers."""
    order = np.argsort(np.where(valid, -scores, np.inf), axis=1, kind="stable")
    moments = np.take_along_axis(moments, order[:, :, None], axis=1)
    scores, valid = np.take_along_axis(scores, order, axis=1), np.take_along_axis(valid, order, axis=1)
    if inference.nms_iou is not None:
        valid = suppress(moments, valid, inference.nms_iou)
    if inference.num_moments is not None:
        valid &= valid.cumsum(axis=1) <= inference.num_moments
    return moments, scores, valid


def _listed(moments: Floats, scores: Floats, valid: Booleans) -> list[tuple[ScoredMoment, ...]]:
    return [
        tuple(
            ScoredMoment(onset, offset, float(f"{score:.4f}"))
            for (onset, offset), score, keep in zip(*item, strict=True)
            if keep
        )
        for item in zip(moments.tolist(), scores.tolist(), valid.tolist(), strict=True)
    ]
