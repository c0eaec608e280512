"""What passes between data, network and losses: tensors with their shapes.

Sizes: B items (a query and its recording), L padded rows, T padded tokens, J padded moments, P pairs,
Q decoder queries, N decoder layers. Masks are True on real positions, which come first. Where several
processes share a batch, each reads B of its G items, and the texts of all; alone, B is G.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

Tensors = TypeVar("Tensors", "Batch", "Targets", "Outputs")

NO_NEGATIVE = -1  # in `Batch.negative_index`: this item has no text that could serve as its negative


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the network reads. Padded rows of features are zero."""

    audio: Tensor  # [B, L, audio_dim] float32, rows normalised
    audio_mask: Tensor  # [B, L] bool
    tef: Tensor  # [B, L, 2] float32, temporal endpoint feature (i/n, i/n + 1/n)
    text: Tensor  # [G, T, text_dim] float32
    text_mask: Tensor  # [G, T] bool
    negative_index: Tensor  # [B] int64: the text of G that is this item's negative, or NO_NEGATIVE
    # [G, G] bool: the two items ask of one recording, or one asks of what the other's text is of (True on
    # the diagonal)
    same_recording: Tensor
    absent: Tensor | None = None  # [G] bool: asked of a recording that does not hold it; None: no item is
    first: int = 0  # of G, the first item of B
    qids: tuple[str, ...] = ()
    recording_ids: tuple[str, ...] = ()

    @property
    def own(self) -> slice:
        """The items of B among those of G."""
        return slice(self.first, self.first + len(self.audio))

    @property
    def share(self) -> float:
        """Items of B by items of G: what a mean over B counts for in the mean over G."""
        return len(self.audio) / len(self.text)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Batch:
        """A copy on `device`."""
        return _moved(self, device, non_blocking)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the losses compare with. Spans are fractions of the item's timeline."""

    spans_cxw: Tensor  # [B, J, 2] float32, centre and width; 0 on padding
    spans_mask: Tensor  # [B, J] bool
    saliency: Tensor  # [B, L] float32, 1 on rows that answer the query
    saliency_positives: Tensor  # [B, P] int64, rows
    saliency_negatives: Tensor  # [B, P] int64, rows
    saliency_pairs_mask: Tensor  # [B, P] bool; all False where a side is empty
    similarity: Tensor  # [B, L] float32, 1 on rows that should resemble the text

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Targets:
        """A copy on `device`."""
        return _moved(self, device, non_blocking)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the network says; the last decoder layer is the prediction, earlier ones are auxiliary."""

    logits: Tensor  # [N, B, Q, 2]: foreground, background
    spans_cxw: Tensor  # [N, B, Q, 2] in (0, 1)
    saliency: Tensor  # [B, L], unbounded; meaningless on padding
    saliency_negative: Tensor | None = None  # [B, L] for the negative text; None at inference
    negative_index: Tensor | None = None  # [B] int64, the text that was used, or NO_NEGATIVE
    quality: Tensor | None = None  # [B, Q] in (0, 1); None without a quality head
    sim_global: Tensor | None = None  # [G, G] cosine of audio (row) and text (column); None without cim
    sim_local: Tensor | None = None  # [B, L] cosine of each row and the item's text; None without cim
    centre_spread: Tensor | None = None  # [2] of text and audio, see `refine.centre_spread`; evaluation only

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Outputs:
        """A copy on `device`."""
        return _moved(self, device, non_blocking)

    def in_float32(self) -> Outputs:
        """Full precision, whatever the network ran in."""
        halves: dict[str, Any] = {
            field.name: value.float()
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor) and value.is_floating_point()
        }
        return dataclasses.replace(self, **halves)


def _moved(value: Tensors, device: torch.device, non_blocking: bool) -> Tensors:
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    moved: dict[str, Any] = {
        name: field.to(device, non_blocking=non_blocking)
        for name, field in fields.items()
        if isinstance(field, Tensor)
    }
    return dataclasses.replace(value, **moved)
