"""Terms of the objective as the public networks compute them (Lighthouse d095eaa)."""

from __future__ import annotations

from torch import Tensor


def padded_local_term(scores: Tensor, positive: Tensor) -> Tensor:
    """The local similarity loss of `uvcom.py`: its softmax is over padding too, and so is its mean.

    Args:
        scores: [B, L] scaled similarity of rows to their text.
        positive: [B, L] bool, rows that answer.
    """
    total = scores.log_softmax(dim=1).masked_fill(~positive, 0.0).sum(dim=1)
    return -(total / scores.shape[1]).mean()
