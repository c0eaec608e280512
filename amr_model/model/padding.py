"""What padding does to an item: nothing."""

from __future__ import annotations

from torch import Tensor


class Padding:
    """Where a padded position could leave a trace outside attention, and leaves none.

    Public networks let it (`public/variants.py`), so what they answer depends on who shares the batch.
    """

    def counted(self, mask: Tensor) -> Tensor:
        """Positions that take part in centres, propagation and slots: mask [B, N] -> [B, N]."""
        return mask

    def mean(self, x: Tensor, mask: Tensor) -> Tensor:
        """Mean over the positions: x [B, N, dim], mask [B, N] -> [B, dim]."""
        return masked_mean(x, mask)

    def neighbours(self, real: Tensor) -> Tensor:
        """1 on rows that are neighbours in a convolution over time, 0 on those that are its border.

        real [B, L, 1], 1 on real rows and 0 on padded ones -> broadcastable to it.
        """
        return real


MASKED = Padding()


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the positions that are real: [B, N, dim] and [B, N] -> [B, dim]."""
    real = mask.unsqueeze(-1).to(x.dtype)
    return (x * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0)
