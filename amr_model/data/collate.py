"""Rows of recordings and texts as one padded batch: for training, evaluation and prediction alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from amr_model.tensors import NO_NEGATIVE, Batch
from clotho_long.features.files import Features


def collate(
    audio: tuple[Tensor, Tensor],
    text: tuple[Tensor, Tensor],
    *,
    negative_index: Tensor | None = None,
    same_recording: Tensor | None = None,
    absent: Tensor | None = None,
    first: int = 0,
    qids: tuple[str, ...] = (),
    recording_ids: tuple[str, ...] = (),
) -> Batch:
    """A batch of padded rows with their masks, [item, row, dim] and [item, row], as `padded` gives them.

    Args:
        negative_index, same_recording, absent: what only losses read; by default no item has a negative
            text, no two items ask of one recording, and every recording is taken to hold its query.
        first: place of the first item among the texts, where several processes share a batch.
    """
    (rows, audio_mask), (tokens, text_mask) = audio, text
    size, device = len(rows), rows.device
    if negative_index is None:
        negative_index = torch.full((size,), NO_NEGATIVE, device=device)
    if same_recording is None:
        same_recording = torch.eye(size, dtype=torch.bool, device=device)
    return Batch(
        audio=rows,
        audio_mask=audio_mask,
        tef=temporal_endpoints(audio_mask.sum(dim=1), audio_mask),
        text=tokens,
        text_mask=text_mask,
        negative_index=negative_index,
        same_recording=same_recording,
        absent=absent,
        first=first,
        qids=qids,
        recording_ids=recording_ids,
    )


def padded(matrices: Sequence[Features], device: torch.device) -> tuple[Tensor, Tensor]:
    """[item, row, dim] with zeros after each item's rows, and the mask of its real ones, on `device`."""
    lengths = np.array([len(matrix) for matrix in matrices])
    rows = np.zeros((len(matrices), lengths.max(), matrices[0].shape[1]), dtype=np.float32)
    for place, matrix in enumerate(matrices):
        rows[place, : len(matrix)] = matrix
    mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])
    return torch.from_numpy(rows).to(device), mask.to(device)


def temporal_endpoints(num_rows: Tensor, mask: Tensor) -> Tensor:
    """[item, row, 2] where row i of n starts and ends: (i/n, i/n + 1/n), 0 on padding."""
    count = num_rows.float()[:, None]
    start = torch.arange(mask.shape[1], device=mask.device, dtype=torch.float32) / count
    # this form and not (i + 1)/n: the weights were trained on its rounding
    return torch.stack([start, start + 1.0 / count], dim=2) * mask[:, :, None]
