"""Finds the moments of long recordings that a sentence describes.

    import amr_model

    retriever = amr_model.load("finetuned/checkpoint-best.pt")
    for moment in retriever.find("street.mp4", "a dog barks twice"):
        print(moment.onset_s, moment.offset_s, moment.score)

`load` takes a checkpoint of `amr train`, or a public one of Lighthouse or of the DCASE 2026 Task 6 baseline.
Recordings may have any length and any audio or video format. Errors that a user can mend are
`clotho_long.core.errors.ClothoLongError`, one line each.

Further in: `amr_model.answer` (curves, moments, calibration), `amr_model.scoring` (the official metrics),
`amr_model.learn` (training), `amr_model.config` (every setting with its reason). Commands: `amr --help`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amr_model.answer.retriever import Retriever
    from amr_model.index.search import Index

__all__ = ["load", "open_index"]


def load(
    checkpoint: Path | str,
    *,
    device: str = "auto",
    encoder: str | None = None,
    weights: Path | str | None = None,
    settings: Sequence[str] = (),
) -> Retriever:
    """A trained network with the encoder whose features it reads, ready to be asked.

    Args:
        checkpoint: a file, or a name such as `hf://OWNER/REPOSITORY/FILE`; see docs/public_weights.md.
        device: auto, cpu, cuda, cuda:1, mps.
        encoder: None for the one that the network was trained with.
        weights: of the encoder; None for those that are found or downloaded.
        settings: as `--set` takes them, such as `inference.readout=curve`.

    Raises:
        ClothoLongError: the checkpoint, the encoder's weights, the device or a setting cannot be used.
    """
    from amr_model.answer.retriever import load_retriever
    from clotho_long.core.devices import find_device

    return load_retriever(
        checkpoint,
        find_device(device),
        encoder=encoder,
        weights=None if weights is None else Path(weights),
        settings=settings,
    )


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
        checkpoint: whose network answers, as for `load`; None for the encoder's own similarity (S0).
        weights: of the encoder, if they are not where they were when the index was made.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ClothoLongError: there is no such index, or it does not belong with the checkpoint.
    """
    from amr_model.index.opening import open_index as opened

    return opened(path, checkpoint=checkpoint, weights=weights, device=device)
