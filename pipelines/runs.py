"""One training, one set of answers: load what it needs, run, write. Every pipeline's steps call these."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic.dataclasses import dataclass

from amr_model.answer.calibration import Calibration
from amr_model.answer.run import Asker, as_predictions
from amr_model.checkpoint import load_calibrated, load_checkpoint
from amr_model.config import ExperimentConfig, system
from amr_model.data.sets import RetrievalSet, features_made_by, read_annotations
from amr_model.learn.distributed import local_device
from amr_model.learn.train import train
from amr_model.public.networks import network_of
from amr_model.scoring.report import evaluate, table
from amr_model.tensors import Batch, Outputs
from clotho_long.core.devices import find_device
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.core.files import write_json, write_text
from clotho_long.core.predictions import Prediction, write_predictions
from clotho_long.core.settings import build_over, override

logger = logging.getLogger(__name__)

PREDICTIONS, METRICS = "predictions.jsonl", "metrics.json"
MAX_THREADS = 4096

PretrainLabels = Literal["first", "all"]  # windows of a query that are positives in pretraining


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """Annotations of one split, and the folder of their features."""

    annotations: Path
    features: Path


def settings_of(name: str, overrides: Sequence[str]) -> ExperimentConfig:
    """System `name` of the report with `section.key=value` settings over it: the recipe of fine-tuning."""
    return override(system(name), overrides)


def pretraining_of(name: str, overrides: Sequence[str], labels: PretrainLabels = "first") -> ExperimentConfig:
    """System `name` as it is pretrained; docs/reproducing_the_report.md says why its labels differ."""
    # a frame loss has no meaning without dense labels
    first = labels == "first" and system(name).loss.frame == 0
    return settings_of(name, [*(["targets.saliency_moments=first"] if first else []), *overrides])


def refuse_overrides(overrides: Sequence[str], elsewhere: Mapping[str, str]) -> None:
    """Refuse `section.key=value` settings that another setting decides: they would be ignored.

    Args:
        elsewhere: the settings that decide, by the key that is not to be overridden.

    Raises:
        ConfigError: one of them is overridden.
    """
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key in elsewhere:
            raise ConfigError(f"{key} is not for this", f"--set {text}", f"set {elsewhere[key]} instead")


def train_run(
    config: ExperimentConfig,
    train_on: LabelledSet,
    select_by: LabelledSet,
    run: Path,
    *,
    init: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Train into `run`, or go on there; of several processes, the part of this one.

    Raises:
        FeatureError: the features are not what the checkpoint to start from has learnt to read.
    """
    _use_threads(threads)
    config = reading(config, train_on)
    if init is not None:
        _refuse_other_encoder(init, config, train_on)
    where = local_device(find_device(device))
    train_set, valid_set = (
        RetrievalSet.load(s.annotations, s.features, config, device=where) for s in (train_on, select_by)
    )
    for line in train_set.report.lines():
        logger.info(line)
    train(config, train_set, valid_set, run, init=init, resume=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A network in evaluation mode, and queries that are prepared for it."""

    network: Callable[[Batch], Outputs]
    data: RetrievalSet
    config: ExperimentConfig
    calibration: Calibration | None = None

    @property
    def asker(self) -> Asker:
        """The network with what decides how it is read."""
        return Asker(
            network=self.network,
            config=self.config,
            device=self.data.device,
            calibration=self.calibration,
            num_moments=self.config.inference.num_moments,
        )

    def answers(self) -> list[Prediction]:
        """The ranked moments of every query."""
        return as_predictions(self.data.queries, self.asker.answers(self.data))


def ask(
    config: ExperimentConfig,
    asked: LabelledSet,
    checkpoint: Path | None,
    *,
    device: str = "cpu",
    threads: int | None = None,
) -> Asked:
    """Load a network and the queries that it is asked.

    Args:
        config: its inference settings, precision and batch size are used; what the network is, and what it
            reads, its checkpoint says.
        checkpoint: None for a network with the start values of this seed, which reads any features.

    Raises:
        FeatureError: the features were made by another encoder than the network reads, or other windows.
    """
    _use_threads(threads)
    where = find_device(device)
    if checkpoint is None:
        config = reading(config, asked)
        torch.manual_seed(config.train.seed)
        model, calibration = network_of(config.model).to(where).eval(), None
    else:
        model, trained, calibration = load_calibrated(checkpoint, where)
        config = dataclasses.replace(trained, inference=config.inference, train=config.train)
    data = RetrievalSet.load(asked.annotations, asked.features, config, device=where)
    return Asked(network=model, data=data, config=config, calibration=calibration)


def score_run(
    config: ExperimentConfig,
    asked: LabelledSet,
    out: Path,
    checkpoint: Path | None,
    *,
    device: str,
    threads: int | None,
) -> None:
    """Write into `out` what a checkpoint answers, and what that is worth."""
    retrieval = ask(config, asked, checkpoint, device=device, threads=threads)
    predictions = retrieval.answers()
    report = evaluate(retrieval.data.queries, predictions)
    write_predictions(out / PREDICTIONS, predictions)
    write_json(out / METRICS, report)
    write_text(out / "table.txt", table(report))


def reading(config: ExperimentConfig, features_of: LabelledSet) -> ExperimentConfig:
    """The settings with the encoder that made these features, where the features say it."""
    facts = features_made_by(features_of.features, read_annotations(features_of.annotations))
    return build_over(config, {"features": facts}, where=str(features_of.features))


def _refuse_other_encoder(init: Path, config: ExperimentConfig, train_on: LabelledSet) -> None:
    before, now = load_checkpoint(init).config.features, config.features
    if before.encoder != now.encoder:
        raise FeatureError(
            f"the features were made with encoder {now.encoder}, {init} has learnt to read {before.encoder}",
            train_on.features,
            "use features of one encoder in pretraining and fine-tuning",
        )
    if before.windows != now.windows:
        logger.info(
            "%s has %s windows, %s has learnt %s", train_on.features, now.windows, init, before.windows
        )


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
