"""The loss of each second on its own."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from amr_model.config import LossConfig
from amr_model.learn.criterion import Criterion
from amr_model.learn.losses.frame import frame_term
from amr_model.tensors import NO_NEGATIVE, Outputs
from clotho_long.core.errors import ConfigError
from tests.model.builders import make_batch, make_model, make_targets, small

CONFIG = LossConfig(frame=1.0, frame_positive_weight=3.0)


def make_case(*, negative: bool = True):
    config = small("S4")
    batch = make_batch(config, [6, 4], [3, 2], padded_length=8)
    targets = make_targets(batch, [[(0.0, 0.5)], [(0.25, 0.5)]])
    torch.manual_seed(0)
    saliency, other = torch.randn(2, 8, requires_grad=True), torch.randn(2, 8, requires_grad=True)
    outputs = Outputs(
        logits=torch.zeros(1, 2, 4, 2),
        spans_cxw=torch.zeros(1, 2, 4, 2),
        saliency=saliency,
        saliency_negative=other if negative else None,
        negative_index=torch.tensor([1, 0]) if negative else None,
    )
    return outputs, targets, batch


def test_it_is_the_mean_over_items_of_the_mean_over_their_real_rows():
    outputs, targets, batch = make_case()
    costs = []
    for item, count in enumerate((6, 4)):
        labels = targets.saliency[item, :count]
        weight = 1 + 2 * labels
        own = outputs.saliency[item, :count]
        costs.append(binary_cross_entropy_with_logits(own, labels, weight=weight))
        other = outputs.saliency_negative[item, :count]
        costs.append(binary_cross_entropy_with_logits(other, torch.zeros(count)))
    assert frame_term(outputs, targets, batch, CONFIG).item() == pytest.approx(
        torch.stack(costs).mean().item(), rel=1e-6
    )


def test_padding_gets_no_gradient_and_real_rows_are_pushed_the_right_way():
    outputs, targets, batch = make_case()
    frame_term(outputs, targets, batch, CONFIG).backward()
    own, other = outputs.saliency.grad, outputs.saliency_negative.grad
    assert (own[~batch.audio_mask] == 0).all()
    assert (other[~batch.audio_mask] == 0).all()
    positive = (targets.saliency > 0) & batch.audio_mask
    assert (own[positive] < 0).all()
    assert (own[batch.audio_mask & ~positive] > 0).all()
    assert (other[batch.audio_mask] > 0).all()


def test_its_gradient_is_right():
    outputs, targets, batch = make_case()
    real, other = (
        v.detach().double().requires_grad_() for v in (outputs.saliency, outputs.saliency_negative)
    )
    labels = dataclasses.replace(targets, saliency=targets.saliency.double())

    def cost(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        changed = dataclasses.replace(outputs, saliency=a, saliency_negative=b)
        return frame_term(changed, labels, batch, CONFIG)

    assert torch.autograd.gradcheck(cost, (real, other))


def test_an_item_without_a_negative_text_counts_once():
    outputs, targets, batch = make_case()
    none = dataclasses.replace(outputs, negative_index=torch.tensor([NO_NEGATIVE, NO_NEGATIVE]))
    alone, _, _ = make_case(negative=False)
    assert frame_term(none, targets, batch, CONFIG).item() == pytest.approx(
        frame_term(alone, targets, batch, CONFIG).item()
    )


def test_certain_and_wrong_is_finite():
    outputs, targets, batch = make_case()
    certain = dataclasses.replace(
        outputs, saliency=torch.full((2, 8), -1e4), saliency_negative=torch.full((2, 8), 1e4)
    )
    assert frame_term(certain, targets, batch, CONFIG).isfinite()


def test_only_s9_computes_it():
    for name, expected in (("S4", False), ("S9", True)):
        config = small(name)
        batch = make_batch(config, [6, 4], [3, 2])
        outputs = make_model(config)(batch, for_loss=True)
        losses = Criterion.of(config)(outputs, make_targets(batch, [[(0.0, 0.5)], [(0.5, 1.0)]]), batch)
        assert ("frame" in losses.terms) == expected


def test_labels_of_the_first_window_alone_cannot_teach_it():
    with pytest.raises(ConfigError, match=r"loss.frame needs targets.saliency_moments: all"):
        small("S1", "loss.frame=1.0")
