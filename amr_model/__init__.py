"""Trains, evaluates and runs audio moment retrieval models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amr_model.index.search import Index


def open_index(
    path: Path | str,
    *,
    checkpoint: Path | str | None = None,
    weights: Path | str | None = None,
    device: str = "auto",
) -> Index:
    """A collection that `amr index` heard, ready to be asked.

        index = amr_model.open_index("heard", checkpoint="run/checkpoint-best.pt")
        index.search("a dog barks")  # a pandas table: query, recording, onset_s, offset_s, score

    Args:
        checkpoint: whose network answers; None for the encoder's own similarity (S0).
        weights: of the encoder, if they are not where they were when the index was made.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ClothoLongError: there is no such index, or it does not belong with the checkpoint.
    """
    from amr_model.index.opening import open_index as opened

    return opened(path, checkpoint=checkpoint, weights=weights, device=device)
