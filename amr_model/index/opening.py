"""An index with somebody who answers about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from amr_model.answer.finder import Finder
from amr_model.answer.retriever import Retriever
from amr_model.answer.similarity import SimilarityRetriever
from amr_model.checkpoint import load_calibrated
from amr_model.config import ExperimentConfig
from amr_model.index.catalog import read_catalog
from amr_model.index.search import Index, refuse_other_encoder
from clotho_long.core.devices import find_device
from clotho_long.core.work import Watch, unwatched
from clotho_long.features.encoder import encoder_device, shared_space

Adjust = Callable[[ExperimentConfig], ExperimentConfig]


def open_index(
    folder: Path | str,
    *,
    checkpoint: Path | str | None = None,
    weights: Path | str | None = None,
    device: str | torch.device = "auto",
    cross_mask: Literal["reference", "item"] | None = None,
    adjust: Adjust = lambda config: config,
    watch: Watch = unwatched,
) -> Index:
    """An index, asked with a checkpoint's network, or by the encoder's own similarity (S0).

    Args:
        weights: of the encoder, if they are not where they were when the index was made.
        device: as `find_device` reads it.
        adjust: what is to be changed in the checkpoint's settings.

    Raises:
        ManifestError: there is no index, or it is damaged.
        TrainingError, ConfigError: the checkpoint cannot be read, or the device does not exist.
        FeatureError: index, checkpoint and encoder do not belong together.
    """
    catalog = read_catalog(Path(folder))
    where = find_device(device) if isinstance(device, str) else device
    name, hearing = catalog.hearing.encoder, catalog.hearing
    finder: Finder | None = None
    chosen = hearing.choice(
        device=encoder_device(name, str(where)), weights=None if weights is None else Path(weights)
    )
    if checkpoint is not None:
        network, config, calibration = load_calibrated(checkpoint, where, cross_mask=cross_mask)
        config = adjust(config)
        refuse_other_encoder(catalog, config.features.encoder)
        finder = Retriever(
            network=network,
            config=config,
            encoder=chosen.load(),
            device=where,
            sound=hearing.sound,
            calibration=calibration,
        )
    elif shared_space(chosen.load()) is not None:
        finder = SimilarityRetriever(encoder=chosen.load(), sound=hearing.sound, windows=hearing.windows)
    return Index(catalog=catalog, encoder=chosen.load(), finder=finder, watch=watch)
