"""Moments in new recordings of any length by a trained network: from files and sentences to moments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from amr_model.answer.calibration import Calibration
from amr_model.answer.finder import Finder
from amr_model.answer.readout import ReadoutConfig
from amr_model.answer.run import Asker
from amr_model.checkpoint import load_calibrated
from amr_model.config import ExperimentConfig, override_answering
from amr_model.tensors import Batch, Outputs
from clotho_long.audio.choice import SoundChoice
from clotho_long.core.predictions import MAX_RANKED
from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds
from clotho_long.features.encoder import Encoder, encoder_device
from clotho_long.features.extract import EncoderChoice, encode_texts
from clotho_long.features.files import Features
from clotho_long.features.windows import Convention


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retriever(Finder):
    """A network with the encoder whose features it reads, ready to be asked about recordings."""

    network: Callable[[Batch], Outputs]  # in evaluation mode, on `device`
    config: ExperimentConfig
    encoder: Encoder
    device: torch.device
    sound: SoundChoice = dataclasses.field(default_factory=SoundChoice)
    calibration: Calibration | None = None

    def prepare(self, queries: Sequence[str]) -> list[Features]:
        """Each query as the network reads it: [token, dim]."""
        return encode_texts(queries, self.encoder)

    @property
    def asker(self) -> Asker:
        """What is asked about recordings."""
        return Asker(
            network=self.network,
            config=self.config,
            device=self.device,
            calibration=self.calibration,
            num_moments=None,
        )

    @property
    def made_by(self) -> dict[str, str]:
        """As `Finder.made_by`."""
        return {
            "model": self.config.system,
            "readout": self.config.inference.readout,
            "encoder": self.encoder.name,
        }

    @property
    def windows(self) -> Convention:
        """Where the windows of its features lie."""
        return self.config.features.windows

    @property
    def readout(self) -> ReadoutConfig:
        """How curves are read: as calibrated, else by their shape."""
        return ReadoutConfig() if self.calibration is None else self.calibration.readout

    @property
    def min_score(self) -> float:
        """The score from which a moment is an answer: as calibrated for the read-out, else everything is."""
        by_curve = self.config.inference.readout != "decoder"
        return self.calibration.min_score if self.calibration is not None and by_curve else 0.0


def load_retriever(
    checkpoint: Path | str,
    device: torch.device,
    *,
    encoder: str | None = None,
    weights: Path | None = None,
    settings: Sequence[str] = (),
    sound: SoundChoice | None = None,
) -> Retriever:
    """A checkpoint, ours or a public one, with its encoder; arguments as `amr_model.load`.

    Raises:
        ConfigError, TrainingError, FeatureError: as `load_calibrated`, `override_answering` and the encoder.
    """
    network, config, calibration = load_calibrated(checkpoint, device)
    config = override_answering(config, settings)
    return Retriever(
        network=network,
        config=config,
        encoder=listener_for(config, name=encoder, weights=weights, device=device).load(),
        device=device,
        sound=sound or SoundChoice(),
        calibration=calibration,
    )


def listener_for(
    config: ExperimentConfig, *, name: str | None, weights: Path | None, device: torch.device
) -> EncoderChoice:
    """The encoder whose features a model reads, or the one called `name`."""
    chosen = name or config.features.encoder
    return EncoderChoice(name=chosen, weights=weights, device=encoder_device(chosen, str(device)))


def answer_rows(
    rows: Features,
    duration_s: Seconds,
    text: Features,
    network: Callable[[Batch], Outputs],
    config: ExperimentConfig,
    *,
    num_moments: int | None = MAX_RANKED,
    device: torch.device | None = None,
    calibration: Calibration | None = None,
) -> tuple[ScoredMoment, ...]:
    """The moments of one recording, given as features [row, dim], that answer a query [token, dim]."""
    asker = Asker(
        network=network,
        config=config,
        device=device or torch.device("cpu"),
        calibration=calibration,
        num_moments=num_moments,
    )
    return asker.ask(rows, duration_s, [text])[0].moments
