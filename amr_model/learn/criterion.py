"""The objective: names, weights and sum of the terms (report Eq. 8).

A term is a name, a weight of that name in `LossConfig`, and a function in `TERMS`. Nothing else lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from amr_model.config import ExperimentConfig, LossConfig
from amr_model.learn.distributed import Total, alone
from amr_model.learn.losses.boundary import boundary_loss
from amr_model.learn.losses.frame import frame_term
from amr_model.learn.losses.labels import class_error, label_loss
from amr_model.learn.losses.quality import banded_quality_loss, matched_quality_loss
from amr_model.learn.losses.saliency import all_pairs_term, negative_term, pair_term, ranking_term
from amr_model.learn.losses.similarity import global_term, local_term
from amr_model.learn.losses.spans import giou_loss, span_loss
from amr_model.learn.matcher import Match, match
from amr_model.tensors import Batch, Outputs, Targets


@dataclass(frozen=True)
class Scored:
    """What a term may read: of the B items of this process, and what it takes to be a share of all G.

    A term that is a mean over items is multiplied by `batch.share`; one that is divided by another count
    divides by the `total` of that count. Then the shares of all processes add up to the term.
    """

    outputs: Outputs
    targets: Targets
    batch: Batch
    match: Match
    config: LossConfig
    saliency_pairs: Literal["sample", "all"]
    uniforms: Tensor | None  # of the boundary loss
    total: Total


def _span(scored: Scored) -> Tensor:
    return span_loss(scored.outputs, scored.targets, scored.match, scored.total)


def _giou(scored: Scored) -> Tensor:
    return giou_loss(scored.outputs, scored.targets, scored.match, scored.total)


def _label(scored: Scored) -> Tensor:
    weight = scored.config.background_weight
    return label_loss(scored.outputs, scored.match, background_weight=weight) * scored.batch.share


def _saliency(scored: Scored) -> Tensor:
    outputs, targets, batch, config = scored.outputs, scored.targets, scored.batch, scored.config
    if scored.saliency_pairs == "all":
        pairs = all_pairs_term(outputs, targets, batch, margin=config.saliency_margin)
    else:
        pairs = pair_term(outputs, targets, margin=config.saliency_margin)
    negative = negative_term(outputs, batch, config, scored.total)
    return negative + ranking_term(outputs, targets, batch) * batch.share + pairs * batch.share


def _similarity(scored: Scored) -> Tensor:
    between = global_term(scored.outputs, scored.batch, scored.config)
    along = local_term(scored.outputs, scored.targets, scored.batch, scored.config)
    return (0.5 * between + 0.5 * along) * scored.batch.share


def _quality(scored: Scored) -> Tensor:
    if scored.config.quality_targets == "matched":
        return matched_quality_loss(scored.outputs, scored.targets, scored.match, scored.total)
    return banded_quality_loss(scored.outputs, scored.targets, scored.total)


def _frame(scored: Scored) -> Tensor:
    return frame_term(scored.outputs, scored.targets, scored.batch, scored.config, scored.total)


def _boundary(scored: Scored) -> Tensor:
    assert scored.uniforms is not None  # our own loop forgot to draw them
    return boundary_loss(scored.outputs, scored.targets, scored.uniforms, scored.config, scored.total)


Term = Callable[[Scored], Tensor]

# Of every system: computed, and logged, whatever their weight.
BASE_TERMS: dict[str, Term] = {"span": _span, "giou": _giou, "label": _label, "saliency": _saliency}
# Of some: not computed where their weight is 0.
OPTIONAL_TERMS: dict[str, Term] = {
    "similarity": _similarity,
    "quality": _quality,
    "frame": _frame,
    "boundary": _boundary,
}


@dataclass(frozen=True)
class Losses:
    """What a batch costs; of several processes, our shares of it."""

    total: Tensor  # [], weighted; the only one with a gradient to use
    terms: dict[str, Tensor]  # unweighted; [N] for span, giou and label, [] for the others
    class_error: Tensor  # [N], percent, for logs
    match: Match

    def values(self) -> Tensor:
        """[1 + terms] detached: the total, then each term summed over layers; `Criterion.names`."""
        return torch.stack([self.total.detach(), *(term.detach().sum() for term in self.terms.values())])


@dataclass(frozen=True)
class Criterion:
    """Scores outputs."""

    config: LossConfig
    saliency_pairs: Literal["sample", "all"] = "sample"

    @classmethod
    def of(cls, config: ExperimentConfig) -> Criterion:
        """The criterion of an experiment."""
        return cls(config.loss, config.targets.saliency_pairs)

    @property
    def terms(self) -> dict[str, Term]:
        """The terms that are computed, by name."""
        used = {name: term for name, term in OPTIONAL_TERMS.items() if getattr(self.config, name) > 0}
        return BASE_TERMS | used

    @property
    def names(self) -> tuple[str, ...]:
        """What `Losses.values` holds: the weighted total, then each term."""
        return ("total", *self.terms)

    def __call__(
        self,
        outputs: Outputs,
        targets: Targets,
        batch: Batch,
        uniforms: Tensor | None = None,
        *,
        total: Total = alone,
    ) -> Losses:
        """`outputs` must come from `for_loss`; `uniforms` (`draw_uniforms`) only serves the boundary loss."""
        outputs = outputs.in_float32()
        matched = match(outputs, targets, self.config)
        scored = Scored(outputs, targets, batch, matched, self.config, self.saliency_pairs, uniforms, total)
        terms = {name: term(scored) for name, term in self.terms.items()}
        weighted = torch.stack([getattr(self.config, name) * term.sum() for name, term in terms.items()])
        return Losses(weighted.sum(), terms, class_error(outputs, matched), matched)
