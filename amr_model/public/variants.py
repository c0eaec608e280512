"""What the public networks (Lighthouse d095eaa) compute otherwise than their papers, defects included.

Each is the counterpart of one part of `amr_model.model`; `public/networks.py` puts them in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amr_model.model.encoders import CrossEncoder
from amr_model.model.layers import key_mask, repeat_to
from amr_model.model.padding import Padding


class MisplacedMaskEncoder(CrossEncoder):
    """Each head of the cross attention gets the mask of another item of the batch."""

    def seen(self, x_mask: Tensor, y_mask: Tensor) -> Tensor:
        """The same for each pass on its own: the passes of a batch were batches of their own."""
        size, batch = min(len(x_mask), len(y_mask)), max(len(x_mask), len(y_mask))
        queries, keys = (torch.split(repeat_to(mask, batch), size) for mask in (x_mask, y_mask))
        passes = zip(queries, keys, strict=True)
        return torch.cat([misplaced_mask(x, y, self.num_heads) for x, y in passes])


def misplaced_mask(query_mask: Tensor, keys: Tensor, num_heads: int) -> Tensor:
    """Which keys are seen, [B, head, L, S], of query_mask [B, L] and the keys' mask [B, S].

    The outer product of both paddings is stacked head by head but read item by item, so head h of item b is
    masked as item (b * heads + h) mod B.
    """
    batch, device = len(query_mask), query_mask.device
    owner = torch.arange(batch * num_heads, device=device).view(batch, num_heads) % batch
    hidden = ~query_mask[owner].unsqueeze(-1) & ~keys[owner].unsqueeze(-2)
    return key_mask(keys) & ~hidden


class CountedPadding(Padding):
    """Padded positions count, so what an item is answered depends on who shares its batch."""

    def counted(self, mask: Tensor) -> Tensor:
        """All of them."""
        return torch.ones_like(mask)

    def mean(self, x: Tensor, mask: Tensor) -> Tensor:
        """Over all N of x [B, N, dim]."""
        return x.mean(dim=1)

    def neighbours(self, real: Tensor) -> Tensor:
        """All rows are: a padded one brings the bias of the first convolution."""
        return real.new_ones(())


def product_step(gathered: Tensor, overlap: Tensor, weight: float) -> Tensor:
    """The step of UVCOM's propagation in its port, which multiplies by the matrix that the original inverts.

    `model.refine.propagate` then returns (1 - weight) (I - weight^2 z^T zn) v.
    """
    return -(weight**2) * gathered


def least_preferred(preference: Tensor, same_recording: Tensor) -> Tensor:
    """The least similar text [B] of preference [B, G], which may be the item's own."""
    return preference.argmin(dim=1)
