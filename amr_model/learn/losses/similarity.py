"""Audio should resemble its own text: between items (global) and along the recording (local).

After UVCOM's loss (MIT), `uvcom.py`; what the report keeps of it has weight 0.5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amr_model.config import LossConfig
from amr_model.public.losses import padded_local_term
from amr_model.tensors import Batch, Outputs, Targets


def global_term(outputs: Outputs, batch: Batch, config: LossConfig) -> Tensor:
    """Symmetric contrastive loss over the batch: cross entropy of each item's own text, and audio.

    The mean over B items, each contrasted with all G. One that is asked of a recording which does not hold it
    is contrasted with and has nothing to be close to: it costs nothing of its own.
    """
    assert outputs.sim_global is not None  # computed with for_loss by a model with refinement
    scores = config.sim_scale * outputs.sim_global
    if not config.sim_same_recording:
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(batch.same_recording & ~own, float("-inf"))
    by_audio, by_text = scores.log_softmax(dim=1).diagonal(), scores.T.log_softmax(dim=1).diagonal()
    cost = -(by_audio + by_text)
    if batch.absent is not None:
        cost = cost.masked_fill(batch.absent, 0.0)
    return cost[batch.own].mean() / 2


def local_term(outputs: Outputs, targets: Targets, batch: Batch, config: LossConfig) -> Tensor:
    """Rows that answer should take the softmax over the recording's rows."""
    assert outputs.sim_local is not None
    scores, real = config.sim_scale * outputs.sim_local, batch.audio_mask
    positive = (targets.similarity > 0) & real
    if config.sim_reduction == "reference":
        return padded_local_term(scores, positive)
    scores = scores.masked_fill(~real, torch.finfo(scores.dtype).min)
    total = scores.log_softmax(dim=1).masked_fill(~positive, 0.0).sum(dim=1)
    counted = positive if config.sim_reduction == "positives" else real
    return -(total / counted.sum(dim=1).clamp(min=1)).mean()
