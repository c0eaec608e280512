"""The two loops: one epoch of training, one pass over a validation set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from amr_model.answer.run import predict_set
from amr_model.config import ExperimentConfig
from amr_model.data.rows import Indices
from amr_model.data.sets import RetrievalSet
from amr_model.errors import TrainingError
from amr_model.learn.criterion import Criterion, Losses
from amr_model.learn.distributed import Processes
from amr_model.learn.losses.boundary import draw_uniforms
from amr_model.model import MomentRetriever
from amr_model.precision import matrix_products, mixed_precision
from amr_model.scoring.metrics import official_result, score_queries
from amr_model.tensors import Batch, Outputs, Targets
from clotho_long.core.predictions import Prediction
from clotho_long.core.seeds import generator

# what metrics call the figures that a run can be selected by
FIGURES = {"R1@0.5": "MR-full-R1@0.5", "R1@0.7": "MR-full-R1@0.7", "mAP": "MR-full-mAP"}


@dataclass
class Trainer:
    """A model on its way: everything that one training step needs."""

    config: ExperimentConfig
    model: MomentRetriever
    optimizer: torch.optim.Optimizer
    data: RetrievalSet
    processes: Processes
    criterion: Criterion = field(init=False)
    forward: Callable[..., Outputs] = field(init=False)  # the model, compiled if asked for

    def __post_init__(self) -> None:
        self.criterion = Criterion.of(self.config)
        # recordings differ in length, so shapes are compiled as variables
        self.forward = torch.compile(self.model, dynamic=True) if self.config.train.compile else self.model

    @property
    def loss_names(self) -> tuple[str, ...]:
        """What `epoch` sums up."""
        return self.criterion.names

    def epoch(self, epoch: int, *, first_step: int, loss_sums: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Train through an epoch from `first_step` on; yields (steps done, loss sums) after each step.

        The sums stay on the device. A loss that is not finite is noticed one step later, when reading it
        no longer makes the device wait.

        Raises:
            TrainingError: a loss was not finite; the message names the queries of its batch.
        """
        settings = self.config.train
        self.model.train()
        set_learning_rate(self.optimizer, self.config, epoch)
        data = self.data.in_epoch(settings.seed, epoch)
        targets = data.draw_targets(settings.seed, epoch)
        batches = data.epoch_batches(
            batch_size=settings.batch_size,
            seed=settings.seed,
            epoch=epoch,
            by_length=settings.batching == "length",
        )
        unread: tuple[Tensor, Any] | None = None
        for step in range(first_step, len(batches)):
            values = self._step(data, batches[step], targets, epoch, step)
            self._refuse_non_finite(unread, epoch)
            unread = (_on_its_way(values), batches[step])
            loss_sums = loss_sums + values
            if step + 1 == len(batches):
                self._refuse_non_finite((values, batches[step]), epoch)
            yield step + 1, loss_sums

    def _step(self, data: RetrievalSet, indices: Indices, targets: Targets, epoch: int, step: int) -> Tensor:
        """One optimiser step on a global batch; returns the loss values of all of it."""
        settings = self.config.train
        # a batch that is too small to be shared is the first process's
        shared = len(indices) >= self.processes.count
        team = self.processes if shared else Processes()
        self._seed_dropout(epoch, step)
        self.optimizer.zero_grad(set_to_none=True)
        values = torch.zeros(len(self.loss_names), device=self.data.device)
        if shared or self.processes.is_first:
            # around the backward pass as well, which holds two thirds of the products
            with matrix_products(settings.precision):
                losses = self.losses(data, indices, targets, epoch, step, team)
                losses.total.backward()  # type: ignore[no-untyped-call]
            values = losses.values()
        values = self.processes.sum_gradients(self.model, values)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm)
        self.optimizer.step()
        return values

    def losses(
        self,
        data: RetrievalSet,
        indices: Indices,
        targets: Targets,
        epoch: int,
        step: int,
        team: Processes,
    ) -> Losses:
        """What our part of a global batch costs, as a share of what all of it costs."""
        model, device, part = self.config.model, self.data.device, team.part(len(indices))
        batch = data.batch(indices, part)
        uniforms = self._boundary_uniforms(len(indices), epoch, step)
        choose = model.negatives != "roll" and epoch >= model.negatives_from_epoch
        with mixed_precision(device, self.config.train.precision):
            outputs = self.forward(
                batch,
                for_loss=True,
                choose_negatives=choose,
                # loading the compiler takes a second: only where there is something to keep it from
                gather=None if team.count == 1 else torch.compiler.disable(team.gather),  # type: ignore[no-untyped-call]
            )
        return self.criterion(
            outputs,
            data.batch_targets(targets, indices, part),
            batch,
            None if uniforms is None else uniforms[part].to(device, non_blocking=True),
            total=team.total,
        )

    @torch.inference_mode()
    def loss_of(self, data: RetrievalSet, *, between: Callable[[], None] = lambda: None) -> dict[str, float]:
        """The mean loss terms over a set in batches of the training's size, which contrasts depend on.

        Always the same batches and draws, so that epochs can be compared; the model in evaluation mode.
        """
        settings, alone = self.config.train, Processes()
        self.model.eval()
        targets = data.draw_targets(settings.seed, 0)
        batches = data.epoch_batches(batch_size=settings.batch_size, seed=settings.seed, epoch=0)
        sums = torch.zeros(len(self.loss_names), device=data.device)
        for step, indices in enumerate(batches):
            between()
            with matrix_products(settings.precision):
                sums += self.losses(data, indices, targets, 0, step, alone).values()
        return dict(zip(self.loss_names, (sums / len(batches)).tolist(), strict=True))

    def _boundary_uniforms(self, size: int, epoch: int, step: int) -> Tensor | None:
        if self.config.loss.boundary == 0:
            return None
        return draw_uniforms(
            self.config.train.seed,
            epoch,
            step,
            size=size,
            config=self.config.loss,
            queries=self.config.model.num_queries,
        )

    def _seed_dropout(self, epoch: int, step: int) -> None:
        """Dropout depends on the step as well, so that a resumed run needs no state of a generator."""
        scope = ("dropout", str(epoch), str(step), str(self.processes.rank))
        torch.manual_seed(int(generator(self.config.train.seed, *scope).integers(2**63)))

    def _refuse_non_finite(self, unread: tuple[Tensor, Any] | None, epoch: int) -> None:
        if unread is None or bool(unread[0].isfinite().all()):
            return
        qids = ", ".join(self.data.queries[index].qid for index in unread[1])
        bad = [
            name
            for name, value in zip(self.loss_names, unread[0].tolist(), strict=True)
            if value - value != 0
        ]
        raise TrainingError(
            f"loss {', '.join(bad)} is not finite in epoch {epoch} for the batch of qids {qids}",
            "training",
            "check the features of these queries, or lower the learning rate",
        )


def _on_its_way(values: Tensor) -> Tensor:
    """A copy to the host that nobody waits for: the next step's assignment makes it arrive."""
    if values.device.type != "cuda":
        return values
    return torch.empty(values.shape, pin_memory=True).copy_(values, non_blocking=True)


@dataclass(frozen=True)
class Validated:
    """What a model makes of a set, and how good it is."""

    figures: dict[str, float]  # R1@0.5, R1@0.7, mAP in percent
    predictions: list[Prediction]
    centre_spread: dict[str, float] | None = None  # of the refinement, see `refine.centre_spread`


def validate(
    model: MomentRetriever,
    data: RetrievalSet,
    config: ExperimentConfig,
    *,
    between: Callable[[], None] = lambda: None,
) -> Validated:
    """Predict every query of a set and score it; the model is put into evaluation mode.

    Args:
        between: called before every batch; may raise to leave.
    """
    model.eval()
    spreads: list[Tensor] = []

    def network(batch: Batch) -> Outputs:
        between()
        outputs: Outputs = model(batch)
        if outputs.centre_spread is not None:
            spreads.append(outputs.centre_spread)
        return outputs

    predictions = predict_set(network, data, config)
    brief = official_result(score_queries(data.queries, predictions))["brief"]
    return Validated(
        {name: brief[key] for name, key in FIGURES.items()},
        predictions,
        dict(zip(("text", "audio"), torch.stack(spreads).float().mean(dim=0).tolist(), strict=True))
        if spreads
        else None,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, config: ExperimentConfig, epoch: int) -> None:
    """StepLR as a function of the epoch, so that there is no schedule to save."""
    settings = config.train
    rate = settings.learning_rate * settings.lr_gamma ** (epoch // settings.lr_drop)
    for group in optimizer.param_groups:
        group["lr"] = rate
