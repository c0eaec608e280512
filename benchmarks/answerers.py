"""Who answers in `joined_recordings`: a checkpoint's decoder, or what is read off its curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from amr_model.answer.retriever import answer_rows
from amr_model.checkpoint import load_model
from amr_model.config import ExperimentConfig
from amr_model.model import MomentRetriever
from clotho_long.core.settings import override
from clotho_long.core.units import Seconds
from clotho_long.features.files import Features
from pipelines.simulation.joined import Answer, Answerer


@dataclasses.dataclass(frozen=True)
class DecoderAnswerer:
    """The windows of the decoder, merged over stretches."""

    network: MomentRetriever
    config: ExperimentConfig
    min_score: float | None = None  # a decoder's scores rank within one recording

    def __call__(self, rows: Features, duration_s: Seconds, text: Features) -> Answer:
        windows = answer_rows(rows, duration_s, "", text, self.network, self.config)
        return Answer(moments=windows, presence=windows[0][2] if windows else 0.0)


def decoder_answerer(checkpoint: Path, stretch_rows: int, overrides: Sequence[str]) -> Answerer:
    """The decoder of a checkpoint, asked about stretches of `stretch_rows`."""
    network, config = load_model(checkpoint, torch.device("cpu"))
    config = override(config, [f"targets.audio_max={stretch_rows}", *overrides])
    return DecoderAnswerer(network, config)


# By name: what makes one of a checkpoint, the rows of a stretch, and settings as `KEY=VALUE`.
ANSWERERS: dict[str, Callable[[Path, int, Sequence[str]], Answerer]] = {"decoder": decoder_answerer}
