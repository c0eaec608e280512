"""Training, from settings to the best checkpoint. Reads top to bottom.

A run stopped anywhere and resumed ends in the same weights as one that was never stopped: the order of
queries, the labels drawn, dropout and boundary negatives all hang on (seed, epoch, step), and
`checkpoint-last.pt` carries the rest. (Of the same machine: arithmetic differs between kinds of hardware.)
"""

from __future__ import annotations

import importlib.util
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from amr_model.checkpoint import (
    Checkpoint,
    TrainingState,
    initialise,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from amr_model.config import ExperimentConfig
from amr_model.data.sets import RetrievalSet
from amr_model.errors import TrainingError
from amr_model.learn.curves import draw_curves
from amr_model.learn.distributed import Processes, processes
from amr_model.learn.engine import Trainer, validate
from amr_model.model import MomentRetriever
from clotho_long.core.files import write_text
from clotho_long.core.predictions import write_predictions
from clotho_long.core.settings import to_plain

logger = logging.getLogger(__name__)

BEST, LAST = "checkpoint-best.pt", "checkpoint-last.pt"
# Raised when the same settings and data train to other weights than before: pipelines then train anew.
TRAINING_VERSION = 1


@dataclass(frozen=True)
class Trained:
    """How a run ended."""

    best: Path  # checkpoint-best.pt
    best_epoch: int
    figures: dict[str, float]  # of the best epoch on the validation set, percent
    history: tuple[dict[str, Any], ...]


def train(
    config: ExperimentConfig,
    train_set: RetrievalSet,
    valid_set: RetrievalSet,
    run: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a model and keep the checkpoint that validates best.

    Args:
        train_set, valid_set: on the device to train on, made with this `config`.
        run: folder for config.yml, checkpoints, metrics.jsonl, predictions-valid.jsonl and curves.png.
        init: a checkpoint to start the weights from (fine-tuning); the optimiser starts fresh.
        resume: go on from `run`; without it a run that exists is an error.
        on_step: called with (epoch, steps done), for progress bars.

    Raises:
        TrainingError: the run exists, was made with other settings, or a loss is not finite.
    """
    with processes(train_set.device) as mine:
        return _train(config, train_set, valid_set, run, mine, init=init, resume=resume, on_step=on_step)


def _train(
    config: ExperimentConfig,
    train_set: RetrievalSet,
    valid_set: RetrievalSet,
    run: Path,
    mine: Processes,
    *,
    init: Path | None,
    resume: bool,
    on_step: Callable[[int, int], None] | None,
) -> Trained:
    settings = config.train
    before = _earlier_run(run, config, resume=resume)

    # model and optimiser; the seed decides the start values of what no checkpoint sets
    torch.manual_seed(settings.seed)
    model = MomentRetriever(config.model).to(train_set.device)
    if before is not None:
        load_weights(model, before.model, where=run / LAST)
    elif init is not None:
        _start_from(model, init)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    trainer = Trainer(config, model, optimizer, train_set, mine)

    # where we stand
    history: list[dict[str, Any]] = [] if before is None else list(before.history)
    state = None if before is None else before.training
    epoch, step, best = 0, 0, None
    loss_sums = torch.zeros(len(trainer.loss_names), device=train_set.device)
    if state is not None:
        epoch, step, best = state.epoch, state.step, state.best
        loss_sums = state.loss_sums.to(train_set.device)
        optimizer.load_state_dict(state.optimizer)
    if mine.is_first:
        write_text(run / "config.yml", yaml.safe_dump(to_plain(config), sort_keys=False))
    board = _tensorboard(run) if mine.is_first else None

    def save_last(done: int, sums: Tensor) -> None:
        state = TrainingState(
            epoch=epoch, step=done, optimizer=optimizer.state_dict(), loss_sums=sums.cpu(), best=best
        )
        save_checkpoint(
            run / LAST,
            Checkpoint(config=config, model=model.state_dict(), history=tuple(history), training=state),
        )

    saved_at = time.monotonic()
    while epoch < settings.epochs:
        started = time.monotonic()
        for done, sums in trainer.epoch(epoch, first_step=step, loss_sums=loss_sums):
            step, loss_sums = done, sums
            if on_step is not None:
                on_step(epoch, done)
            if mine.is_first and time.monotonic() - saved_at >= settings.save_every_s:
                save_last(step, loss_sums)
                saved_at = time.monotonic()
        losses = dict(zip(trainer.loss_names, (loss_sums / step).tolist(), strict=True))

        # the model that is scored is the model that is saved
        record, validated = None, None
        if mine.is_first:
            validated = validate(model, valid_set, config)
            rate = optimizer.param_groups[0]["lr"]
            record = {"epoch": epoch, "learning_rate": rate, "loss": losses, "valid": validated.figures}
            if validated.centre_spread is not None:
                record["centre_spread"] = validated.centre_spread
        history.append(mine.same_everywhere(record))
        figure = history[-1]["valid"][settings.select_by]
        improved = best is None or figure > best
        best = figure if improved else best
        if validated is not None:
            if improved:
                write_predictions(run / "predictions-valid.jsonl", validated.predictions)
                save_checkpoint(
                    run / BEST, Checkpoint(config=config, model=model.state_dict(), history=tuple(history))
                )
            _write_history(run, history, board)
            logger.info(
                "epoch %d: loss %.3f, %s, %.1f s",
                epoch,
                losses["total"],
                ", ".join(f"{name} {value:.2f}" for name, value in validated.figures.items()),
                time.monotonic() - started,
            )
        epoch, step, loss_sums = epoch + 1, 0, torch.zeros_like(loss_sums)
        if mine.is_first and (
            epoch == settings.epochs or time.monotonic() - saved_at >= settings.save_every_s
        ):
            save_last(step, loss_sums)
            saved_at = time.monotonic()
    if mine.is_first:
        draw_curves(history, run / "curves.png")
    return _summary(run, history, settings.select_by)


def _earlier_run(run: Path, config: ExperimentConfig, *, resume: bool) -> Checkpoint | None:
    """What to go on from; None for a start."""
    last = run / LAST
    if not last.exists():
        return None
    if not resume:
        raise TrainingError("this run exists", run, "resume it with --resume, or choose another --out")
    before = load_checkpoint(last)
    ours, theirs = _comparable(config), _comparable(before.config)
    different = [key for key in ours if ours[key] != theirs.get(key)]
    if different:
        raise TrainingError(
            f"was made with other settings ({', '.join(different)})",
            last,
            "resume with the settings in its config.yml, or choose another --out",
        )
    return before


def _comparable(config: ExperimentConfig) -> dict[str, Any]:
    """Settings that shape the weights; a longer run or more frequent saving may be asked for."""
    return {
        f"{section}.{key}": value
        for section, values in to_plain(config).items()
        if isinstance(values, dict)
        for key, value in values.items()
        if (section, key) not in {("train", "epochs"), ("train", "save_every_s")}
    }


def _start_from(model: MomentRetriever, init: Path) -> None:
    """Load what fits, and say what starts fresh."""
    result = initialise(model, load_checkpoint(init).model, where=init)
    if result.fresh:
        logger.info("not in %s, freshly initialised: %s", init, ", ".join(result.fresh))
    if result.unused:
        logger.info("of %s not used: %s", init, ", ".join(result.unused))


def _write_history(run: Path, history: list[dict[str, Any]], board: Any) -> None:
    write_text(run / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in history))
    if board is not None:
        record = history[-1]
        for group in ("loss", "valid", "centre_spread"):
            for name, value in record.get(group, {}).items():
                board.add_scalar(f"{group}/{name}", value, record["epoch"])


def _tensorboard(run: Path) -> Any:
    """A writer if TensorBoard is installed, else None."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(run / "tensorboard")


def _summary(run: Path, history: list[dict[str, Any]], select_by: str) -> Trained:
    best = max(history, key=lambda record: record["valid"][select_by])  # the first of equals, as saved
    return Trained(run / BEST, best["epoch"], best["valid"], tuple(history))
