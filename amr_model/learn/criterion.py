"""The objective: names, weights and sum of the terms (report Eq. 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from amr_model.config import ExperimentConfig, LossConfig
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
class Losses:
    """What a batch costs."""

    total: Tensor  # [], weighted; the only one with a gradient to use
    terms: dict[str, Tensor]  # unweighted; [N] for span, giou and label, [] for the others
    class_error: Tensor  # [N], percent, for logs
    match: Match

    def values(self) -> Tensor:
        """[1 + terms] detached: the total, then each term summed over layers, in the order of `terms`."""
        return torch.stack([self.total.detach(), *(term.detach().sum() for term in self.terms.values())])


@dataclass(frozen=True)
class Criterion:
    """Scores outputs; a term of weight 0 is not computed."""

    config: LossConfig
    saliency_pairs: Literal["sample", "all"] = "sample"

    @classmethod
    def of(cls, config: ExperimentConfig) -> Criterion:
        """The criterion of an experiment."""
        return cls(config.loss, config.targets.saliency_pairs)

    def __call__(
        self, outputs: Outputs, targets: Targets, batch: Batch, uniforms: Tensor | None = None
    ) -> Losses:
        """`outputs` must come from `for_loss`; `uniforms` (`draw_uniforms`) only serves the boundary loss."""
        outputs = outputs.in_float32()
        config, matched = self.config, match(outputs, targets, self.config)
        terms = {
            "span": span_loss(outputs, targets, matched),
            "giou": giou_loss(outputs, targets, matched),
            "label": label_loss(outputs, matched, background_weight=config.background_weight),
            "saliency": self._saliency(outputs, targets, batch),
        }
        if config.similarity > 0:
            between, along = global_term(outputs, batch, config), local_term(outputs, targets, batch, config)
            terms["similarity"] = 0.5 * between + 0.5 * along
        if config.quality > 0:
            if config.quality_targets == "matched":
                terms["quality"] = matched_quality_loss(outputs, targets, matched)
            else:
                terms["quality"] = banded_quality_loss(outputs, targets)
        if config.frame > 0:
            terms["frame"] = frame_term(outputs, targets, batch, config)
        if config.boundary > 0:
            assert uniforms is not None  # our own loop forgot to draw them
            terms["boundary"] = boundary_loss(outputs, targets, uniforms, config)
        total = torch.stack([getattr(config, name) * term.sum() for name, term in terms.items()]).sum()
        return Losses(total, terms, class_error(outputs, matched), matched)

    def _saliency(self, outputs: Outputs, targets: Targets, batch: Batch) -> Tensor:
        margin = self.config.saliency_margin
        if self.saliency_pairs == "all":
            pairs = all_pairs_term(outputs, targets, batch, margin=margin)
        else:
            pairs = pair_term(outputs, targets, margin=margin)
        return negative_term(outputs, batch, self.config) + ranking_term(outputs, targets, batch) + pairs
