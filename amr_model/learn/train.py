"""Training, from settings to the best checkpoint. Reads top to bottom.

A run stopped anywhere and resumed ends in the same weights as one that was never stopped: the order of
queries, the labels drawn, dropout and boundary negatives all depend on (seed, epoch, step), and
`checkpoint-last.pt` carries the rest. (Of the same machine: arithmetic differs between kinds of hardware.)
"""

from __future__ import annotations

import contextlib
import dataclasses
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

from amr_model.answer.calibrate import calibrate
from amr_model.answer.run import Asker
from amr_model.checkpoint import (
    Checkpoint,
    TrainingState,
    initialise,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from amr_model.config import ExperimentConfig
from amr_model.data.sets import RetrievalSet, refuse_without_moments
from amr_model.errors import TrainingError
from amr_model.learn.curves import Curves
from amr_model.learn.distributed import Processes, processes
from amr_model.learn.engine import Trainer, validate
from amr_model.learn.interruptions import Held, held_signals
from amr_model.learn.runs import (
    BEST,
    HISTORY,
    LAST,
    PREDICTIONS,
    SETTINGS,
    earlier,
    locked,
    made_of,
    refuse_other_data,
    write_record,
)
from amr_model.model import MomentRetriever
from amr_model.precision import refuse_slow_training
from amr_model.public.networks import network_of
from clotho_long.core.files import write_text
from clotho_long.core.predictions import write_predictions
from clotho_long.core.settings import to_plain

__all__ = ["BEST", "LAST", "Trained", "train"]

logger = logging.getLogger(__name__)

# Raised when the same settings and data train by another objective or recipe than before: pipelines then
# train anew. Not for the same distributions drawn in another order (as dropout is since 0.1): another seed.
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
    init: Path | str | None = None,
    resume: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a model and keep the checkpoint that validates best.

    Ctrl-C and SIGTERM are heeded between two steps, after `checkpoint-last.pt` is saved.

    Args:
        train_set, valid_set: on the device to train on, made with this `config`.
        run: folder for config.yml, run.json, checkpoints, metrics.jsonl, predictions and curves.png.
        init: a checkpoint to start the weights from (fine-tuning); the optimiser starts fresh.
        resume: go on from `run`; without it a run that exists is an error.
        on_step: called with (epoch, steps done), for progress bars.

    Raises:
        TrainingError: the run exists, is worked on, was made with other settings or data, the precision is
            slower than float32 on this device, or a loss is not finite.
        ManifestError: no query of a set has a moment.
    """
    refuse_slow_training(train_set.device, config.train.precision)
    for name, data in (("training", train_set), ("validation", valid_set)):
        refuse_without_moments(data.queries, data.sources[0].annotations or f"the {name} set")
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(processes(train_set.device))
        _refuse_whole_batches(config, mine)
        if mine.is_first:
            stack.enter_context(locked(run))
        held = stack.enter_context(held_signals())
        return _train(
            config, train_set, valid_set, run, mine, held, init=init, resume=resume, on_step=on_step
        )


def _train(
    config: ExperimentConfig,
    train_set: RetrievalSet,
    valid_set: RetrievalSet,
    run: Path,
    mine: Processes,
    held: Held,
    *,
    init: Path | str | None,
    resume: bool,
    on_step: Callable[[int, int], None] | None,
) -> Trained:
    config = _noting_stretch(config, train_set)
    settings = config.train
    before = earlier(run, config, resume=resume)
    facts = made_of(train_set, valid_set, init)
    if before is not None:
        if not before.made_of and mine.is_first:
            logger.warning("%s: made by a version that did not record its data; it goes on with these", run)
        facts = refuse_other_data(run, before, facts)
    mine.wait_for_all()  # nobody looks at what the first writes from here on

    # model and optimiser; the seed decides the start values of what no checkpoint sets
    torch.manual_seed(settings.seed)
    model = network_of(config.model).to(train_set.device)
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
        write_text(run / SETTINGS, yaml.safe_dump(to_plain(config), sort_keys=False))
        if before is None or not before.made_of:
            write_record(run, facts, train_set, valid_set, init)
    board = _tensorboard(run, epoch) if mine.is_first else None
    curves = Curves(run / "curves.png", settings.select_by)

    def save_last(done: int, sums: Tensor) -> None:
        state = TrainingState(
            epoch=epoch, step=done, optimizer=optimizer.state_dict(), loss_sums=sums.cpu(), best=best
        )
        save_checkpoint(run / LAST, snapshot(state))

    def snapshot(state: TrainingState | None = None) -> Checkpoint:
        return Checkpoint(
            config=config,
            model=model.state_dict(),
            history=tuple(history),
            training=state,
            made_of=facts,
        )

    def stop_if_asked() -> None:
        """Save first: all of `epoch`, `step` and the weights belong together here."""
        if mine.is_first and held.signal is not None:
            save_last(step, loss_sums)
            curves.draw(history)
            held.check()

    if mine.is_first and before is None:
        save_last(step, loss_sums)  # from now on the run can be resumed
    saved_at = time.monotonic()
    while epoch < settings.epochs:
        started = time.monotonic()
        for done, sums in trainer.epoch(epoch, first_step=step, loss_sums=loss_sums):
            step, loss_sums = done, sums
            if on_step is not None:
                on_step(epoch, done)
            stop_if_asked()
            if mine.is_first and time.monotonic() - saved_at >= settings.save_every_s:
                save_last(step, loss_sums)
                saved_at = time.monotonic()
        losses = dict(zip(trainer.loss_names, (loss_sums / step).tolist(), strict=True))

        # the model that is scored is the model that is saved
        record, validated = None, None
        if mine.is_first:
            validated = validate(model, valid_set, config, between=stop_if_asked)
            rate = optimizer.param_groups[0]["lr"]
            record = {"epoch": epoch, "learning_rate": rate, "loss": losses, "valid": validated.figures}
            record["valid_loss"] = trainer.loss_of(valid_set, between=stop_if_asked)
            if validated.centre_spread is not None:
                record["centre_spread"] = validated.centre_spread
        history.append(mine.same_everywhere(record))
        figure = history[-1]["valid"][settings.select_by]
        improved = best is None or figure > best
        best = figure if improved else best
        if validated is not None:
            if improved:
                write_predictions(run / PREDICTIONS, validated.predictions)
                save_checkpoint(run / BEST, snapshot())
            _write_history(run, history, board)
            curves.after_epoch(history)
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
        curves.draw(history)
        _calibrate(run / BEST, model, valid_set)
    return _summary(run, history, settings.select_by)


def _noting_stretch(config: ExperimentConfig, train_set: RetrievalSet) -> ExperimentConfig:
    """The settings with the length of the longest recording to learn on: it is never asked about more."""
    rows = int(train_set.num_rows.max())
    return dataclasses.replace(config, features=dataclasses.replace(config.features, stretch_rows=rows))


def _calibrate(best: Path, model: MomentRetriever, valid_set: RetrievalSet) -> None:
    """Fit how the best model's curve is read, if that is how it answers, unless that is done."""
    checkpoint = load_checkpoint(best)
    config = checkpoint.config
    if config.inference.readout == "decoder" or checkpoint.calibration is not None:
        return
    load_weights(model, checkpoint.model, where=best)
    asker = Asker(network=model.eval(), config=config, device=valid_set.device)
    calibration = calibrate(asker, valid_set, seed=config.train.seed)
    save_checkpoint(best, dataclasses.replace(checkpoint, calibration=calibration))
    for line in calibration.lines():
        logger.info("%s", line)


def _start_from(model: MomentRetriever, init: Path | str) -> None:
    """Load what fits, and say what starts fresh."""
    result = initialise(model, load_checkpoint(init).model, where=init)
    if result.fresh:
        logger.info("not in %s, freshly initialised: %s", init, ", ".join(result.fresh))
    if result.unused:
        logger.info("of %s not used: %s", init, ", ".join(result.unused))


def _write_history(run: Path, history: list[dict[str, Any]], board: Any) -> None:
    write_text(run / HISTORY, "".join(json.dumps(record) + "\n" for record in history))
    if board is not None:
        record = history[-1]
        for group in ("loss", "valid_loss", "valid", "centre_spread"):
            for name, value in record.get(group, {}).items():
                board.add_scalar(f"{group}/{name}", value, record["epoch"])


def _refuse_whole_batches(config: ExperimentConfig, mine: Processes) -> None:
    if mine.count > 1 and config.model.cross_mask == "reference":
        raise TrainingError(
            "model.cross_mask: reference gives items the masks of others, so it needs the whole batch",
            f"{mine.count} processes",
            "train in one process, or set model.cross_mask=item",
        )


def _tensorboard(run: Path, epoch: int) -> Any:
    """A writer, which goes on before `epoch`, if TensorBoard is installed, else None."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(run / "tensorboard", purge_step=epoch)


def _summary(run: Path, history: list[dict[str, Any]], select_by: str) -> Trained:
    best = max(history, key=lambda record: record["valid"][select_by])  # the first of equals, as saved
    return Trained(run / BEST, best["epoch"], best["valid"], tuple(history))
