"""Steps that train a system and score it on queries that it has not seen."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pydantic.dataclasses import dataclass

from amr_model.answer.run import predict_set
from amr_model.checkpoint import load_model
from amr_model.config import ExperimentConfig, system
from amr_model.data.sets import RetrievalSet, features_made_by, read_annotations
from amr_model.learn.distributed import local_device
from amr_model.learn.train import BEST, train
from amr_model.model import MomentRetriever
from amr_model.scoring.report import evaluate, table
from amr_model.tensors import Batch, Outputs
from clotho_long.core.devices import find_device
from clotho_long.core.errors import ConfigError
from clotho_long.core.files import write_json, write_text
from clotho_long.core.predictions import write_predictions
from clotho_long.core.settings import build_over, override, to_plain
from pipelines.processes import run_together
from pipelines.steps import Step

logger = logging.getLogger(__name__)

PREDICTIONS, METRICS = "predictions.jsonl", "metrics.json"
MAX_THREADS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """Annotations of one split, and the folder of their features."""

    annotations: Path
    features: Path


def settings_of(name: str, overrides: Sequence[str]) -> ExperimentConfig:
    """System `name` of the report with `section.key=value` settings over it."""
    return override(system(name), overrides)


def train_step(
    name: str,
    config: ExperimentConfig,
    train_on: LabelledSet,
    select_by: LabelledSet,
    run: Path,
    *,
    device: str,
    threads: int | None = None,
    processes: int = 1,
    after: Sequence[str],
    init: tuple[str, Path] | None = None,
) -> Step:
    """Train into `run`.

    Args:
        threads: of the CPU in each process; None for all. With one, several trainings run side by side.
        processes: share each batch, as under `torchrun`: on GPUs one for each, on the CPU its cores.
        after: steps that make the corpora.
        init: the step and the run whose best checkpoint this training starts from.
    """
    return Step(
        name=name,
        action=functools.partial(
            _train,
            config,
            train_on,
            select_by,
            run,
            None if init is None else init[1] / BEST,
            device,
            threads,
            processes,
        ),
        settings={"device": device, "threads": threads, "processes": processes, **to_plain(config)},
        after=(*after, *(() if init is None else (init[0],))),
        files=_users_files(after, train_on, select_by),
        outputs=(run,),
        whole_machine=threads != 1 or processes > 1,
        code=("amr_model.learn.train",),
    )


def score_step(
    name: str,
    config: ExperimentConfig,
    asked: LabelledSet,
    out: Path,
    *,
    device: str,
    threads: int | None = None,
    after: Sequence[str],
    trained: tuple[str, Path] | None,
) -> Step:
    """Predict and score `asked` into `out`.

    Args:
        config: its inference settings are used; the weights may be another system's that differs in no other.
        trained: the step and the run whose best checkpoint answers; None asks a network that is not trained.
    """
    return Step(
        name=name,
        action=functools.partial(
            _score, config, asked, out, None if trained is None else trained[1] / BEST, device, threads
        ),
        settings={"device": device, "threads": threads, **to_plain(config)},
        after=(*after, *(() if trained is None else (trained[0],))),
        files=_users_files(after, asked),
        outputs=(out,),
        whole_machine=threads != 1,
        code=("amr_model.scoring.report", "amr_model.answer.ranking", "amr_model.checkpoint"),
    )


def reading(config: ExperimentConfig, features_of: LabelledSet) -> ExperimentConfig:
    """The settings with the encoder that made these features."""
    facts = features_made_by(features_of.features, read_annotations(features_of.annotations))
    return build_over(config, {"targets": facts}, where=str(features_of.features))


def network_of(
    config: ExperimentConfig, checkpoint: Path | None, device: torch.device
) -> Callable[[Batch], Outputs]:
    """The network of a checkpoint in evaluation mode; without one, a network with its start values."""
    if checkpoint is not None:
        return load_model(checkpoint, device)[0]
    torch.manual_seed(config.train.seed)
    return MomentRetriever(config.model).to(device).eval()


def _users_files(after: Sequence[str], *sets: LabelledSet) -> tuple[Path, ...]:
    """The files of labelled sets that no step makes."""
    return () if after else tuple(dict.fromkeys(p for s in sets for p in (s.annotations, s.features)))


def _train(
    config: ExperimentConfig,
    train_on: LabelledSet,
    select_by: LabelledSet,
    run: Path,
    init: Path | None,
    device: str,
    threads: int | None,
    processes: int,
) -> None:
    if processes == 1:
        _train_alone(config, train_on, select_by, run, init, device, threads)
        return
    where = find_device(device)
    gpus = 1 if where.index is not None else torch.cuda.device_count()
    if where.type == "cuda" and gpus < processes:
        raise ConfigError(f"{processes} processes need a GPU each, and {device} has {gpus}", "processes")
    each = threads or max(1, (os.cpu_count() or 1) // processes)
    run_together(
        functools.partial(_train_alone, config, train_on, select_by, run, init, device, each), processes
    )


def _train_alone(
    config: ExperimentConfig,
    train_on: LabelledSet,
    select_by: LabelledSet,
    run: Path,
    init: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """The part of this process: all, if it is alone."""
    if threads is not None:
        torch.set_num_threads(threads)
    config = reading(config, train_on)
    where = local_device(find_device(device))
    train_set, valid_set = (
        RetrievalSet.load(s.annotations, s.features, config, device=where) for s in (train_on, select_by)
    )
    for line in train_set.report.lines():
        logger.info(line)
    train(config, train_set, valid_set, run, init=init, resume=True)


def _score(
    config: ExperimentConfig,
    asked: LabelledSet,
    out: Path,
    checkpoint: Path | None,
    device: str,
    threads: int | None,
) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    where = find_device(device)
    config = reading(config, asked)
    data = RetrievalSet.load(asked.annotations, asked.features, config, device=where)
    predictions = predict_set(network_of(config, checkpoint, where), data, config)
    report = evaluate(data.queries, predictions)
    write_predictions(out / PREDICTIONS, predictions)
    write_json(out / METRICS, report)
    write_text(out / "table.txt", table(report))
