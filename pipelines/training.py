"""Steps that train a system and score it on queries that it has not seen."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from amr_model.answer.ranking import ANSWERING_VERSION
from amr_model.config import ExperimentConfig
from amr_model.learn.train import BEST, TRAINING_VERSION
from amr_model.scoring.report import SCORING_VERSION
from clotho_long.core.devices import find_device
from clotho_long.core.errors import ConfigError
from clotho_long.core.settings import build_config, to_plain
from pipelines.processes import run_together
from pipelines.runs import LabelledSet, score_run, train_run
from pipelines.steps import Step


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
    action = functools.partial(
        train_run,
        config,
        train_on,
        select_by,
        run,
        init=None if init is None else init[1] / BEST,
        device=device,
    )
    return Step(
        name=name,
        action=functools.partial(_train, action, device, threads, processes),
        settings=shaping(config),
        versions={"training": TRAINING_VERSION},
        after=(*after, *(() if init is None else (init[0],))),
        files=users_files(after, train_on, select_by),
        outputs=(run,),
        whole_machine=threads != 1 or processes > 1,
        today=shaping_of_today,
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
    checkpoint = None if trained is None else trained[1] / BEST
    return Step(
        name=name,
        action=functools.partial(score_run, config, asked, out, checkpoint, device=device, threads=threads),
        settings=shaping(config),
        versions={"answering": ANSWERING_VERSION, "scoring": SCORING_VERSION},
        after=(*after, *(() if trained is None else (trained[0],))),
        files=users_files(after, asked),
        outputs=(out,),
        whole_machine=threads != 1,
        today=shaping_of_today,
    )


def shaping(config: ExperimentConfig) -> dict[str, Any]:
    """The settings that shape a result."""
    plain = to_plain(config)
    del plain["train"]["save_every_s"]
    return plain


def users_files(after: Sequence[str], *sets: LabelledSet) -> tuple[Path, ...]:
    """The files of labelled sets that no step makes."""
    return () if after else tuple(dict.fromkeys(p for s in sets for p in (s.annotations, s.features)))


def shaping_of_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`shaping` of an earlier release's settings: what they do not name has its default."""
    try:
        return shaping(build_config(ExperimentConfig, settings, where="stamp"))
    except ConfigError:  # no longer a setting: the training is another one
        return dict(settings)


def _train(action: functools.partial[None], device: str, threads: int | None, processes: int) -> None:
    where = find_device(device)
    if processes == 1:
        action(threads=threads)
        return
    gpus = 1 if where.index is not None else torch.cuda.device_count()
    if where.type == "cuda" and gpus < processes:
        raise ConfigError(f"{processes} processes need a GPU each, and {device} has {gpus}", "processes")
    each = threads or max(1, (os.cpu_count() or 1) // processes)
    run_together(functools.partial(action, threads=each), processes)
