"""Laws of the network, the assignment, the spans and the losses, on made-up numbers."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from amr_model.config import ExperimentConfig
from amr_model.learn.criterion import Criterion
from amr_model.learn.losses.boundary import draw_uniforms, hard_negatives
from amr_model.learn.matcher import match, matching_cost
from amr_model.model.layers import PackedAttention, key_mask
from amr_model.model.refine import centre_spread
from amr_model.public.presets import compat_lighthouse
from amr_model.spans import cxw_to_xx, pairwise_giou, pairwise_iou, temporal_giou, temporal_iou, xx_to_cxw
from amr_model.tensors import Batch, Outputs, Targets
from clotho_long.core.settings import override
from tests.model.builders import make_batch, make_model, make_targets, small

# a few networks each; as a decorator, since a profile that is loaded here would stay for the files after it
few = settings(deadline=None, max_examples=8, derandomize=True)

SYSTEM = st.sampled_from(["S1", "S2", "S8"])
LENGTHS = st.lists(st.integers(2, 20), min_size=2, max_size=4)
SPAN = st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)).map(sorted)


def items(batch: Batch, order: list[int]) -> Batch:
    """The batch with its items in another order."""
    index = torch.tensor(order)
    place = {old: new for new, old in enumerate(order)}
    negative = torch.tensor([place[int(batch.negative_index[old])] for old in order])
    kept = {name: getattr(batch, name)[index] for name in ("audio", "audio_mask", "tef", "text", "text_mask")}
    same = batch.same_recording[index][:, index]
    return dataclasses.replace(batch, **kept, negative_index=negative, same_recording=same)


def valid(outputs: Outputs, item: int, length: int) -> list[torch.Tensor]:
    """What an item's outputs mean."""
    found = [outputs.logits[:, item], outputs.spans_cxw[:, item], outputs.saliency[item, :length]]
    if outputs.saliency_negative is not None:
        found.append(outputs.saliency_negative[item, :length])
    if outputs.quality is not None:
        found.append(outputs.quality[item])
    if outputs.sim_local is not None:
        found.append(outputs.sim_local[item, :length])
    return found


def close(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=3e-5, rtol=1e-4)


@few
@given(name=SYSTEM, lengths=LENGTHS, seed=st.integers(0, 99))
def test_permuting_the_batch_permutes_the_outputs(name: str, lengths: list[int], seed: int) -> None:
    config = small(name)
    model, batch = make_model(config), make_batch(config, lengths, [1 + x % 4 for x in lengths], seed=seed)
    order = list(reversed(range(len(lengths))))
    plain, moved = model(batch, for_loss=True), model(items(batch, order), for_loss=True)
    for new, old in enumerate(order):
        close(valid(moved, new, lengths[old]), valid(plain, old, lengths[old]))


@few
@given(name=SYSTEM, lengths=LENGTHS, more=st.integers(1, 9), seed=st.integers(0, 99))
def test_padding_and_company_change_nothing(name: str, lengths: list[int], more: int, seed: int) -> None:
    config, tokens = small(name), [1 + x % 4 for x in lengths]
    model = make_model(config)
    batch = make_batch(config, lengths, tokens, seed=seed)
    padded = make_batch(
        config,
        lengths,
        tokens,
        seed=seed,
        padded_length=max(lengths) + more,
        padded_tokens=max(tokens) + more,
    )
    together, wide = model(batch), model(padded)
    alone = model(make_batch(config, lengths[:1], tokens[:1], seed=seed))
    close(valid(alone, 0, lengths[0]), valid(together, 0, lengths[0]))
    for item, length in enumerate(lengths):
        close(valid(wide, item, length), valid(together, item, length))


@pytest.mark.parametrize("name", ["S1", "S8"])
def test_losses_do_not_depend_on_padding(name: str) -> None:
    config = small(name, "targets.saliency_pairs=all")
    model, totals = make_model(config), []
    for more in (0, 7):
        batch = make_batch(config, [12, 8], [3, 2], padded_length=12 + more, padded_tokens=3 + more)
        targets = make_targets(batch, [[(0.25, 0.5)], [(0.5, 0.75), (0.0, 0.25)]])
        uniforms = draw_uniforms(0, 0, 0, size=2, config=config.loss, queries=4)
        totals.append(
            Criterion.of(config)(model(batch, for_loss=True), targets, batch, uniforms).total.item()
        )
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


@few
@given(name=SYSTEM, length=st.integers(1, 20), count=st.integers(0, 3))
def test_a_batch_of_one_has_finite_losses_with_or_without_moments(name: str, length: int, count: int) -> None:
    config = small(name)
    model, batch = make_model(config), make_batch(config, [length], [2])
    targets = make_targets(batch, [[(0.2, 0.6), (0.1, 0.3), (0.7, 0.9)][:count]])
    uniforms = draw_uniforms(0, 0, 0, size=1, config=config.loss, queries=4)
    losses = Criterion.of(config)(model(batch, for_loss=True), targets, batch, uniforms)
    losses.total.backward()
    assert math.isfinite(losses.total.item())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    if count == 0:
        zero = ("span", "giou", "quality", "boundary")
        assert all(losses.terms[term].sum() == 0 for term in zero if term in losses.terms)
        assert not losses.match.matched.any()


@few
@given(
    moments=st.lists(st.lists(SPAN, max_size=6), min_size=1, max_size=4),
    queries=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_the_assignment_costs_what_scipy_s_costs(moments: list[Any], queries: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    size = len(moments)
    outputs = Outputs(
        logits=torch.randn(2, size, queries, 2, generator=rng),
        spans_cxw=torch.rand(2, size, queries, 2, generator=rng),
        saliency=torch.zeros(size, 3),
    )
    batch = make_batch(small("S1"), [3] * size, [1] * size)
    targets, config = make_targets(batch, moments), small("S1").loss
    cost, found = matching_cost(outputs, targets, config), match(outputs, targets, config).target
    for layer in range(2):
        for item, windows in enumerate(moments):
            block = cost[layer, item, :, : len(windows)]
            rows, columns = linear_sum_assignment(block.numpy())
            chosen = found[layer, item]
            taken = chosen[chosen >= 0]
            assert len(set(taken.tolist())) == len(taken) == min(queries, len(windows))
            ours = block[torch.nonzero(chosen >= 0).flatten(), taken].sum().item()
            assert ours == pytest.approx(float(block[rows, columns].sum()), abs=1e-4)


@few
@given(a=SPAN, b=SPAN)
def test_overlaps_are_bounded_symmetric_and_never_nan(a: list[float], b: list[float]) -> None:
    first, second = torch.tensor(a), torch.tensor(b)
    iou, giou = temporal_iou(first, second), temporal_giou(first, second)
    assert 0 <= iou <= 1
    assert -1 <= giou <= 1
    assert giou <= iou + 1e-6
    assert iou == temporal_iou(second, first)
    assert giou == temporal_giou(second, first)
    assert pairwise_iou(first[None], second[None])[0, 0] == iou
    assert pairwise_giou(first[None], second[None])[0, 0] == giou
    if a[1] > a[0]:
        assert temporal_iou(first, first) == 1
    torch.testing.assert_close(cxw_to_xx(xx_to_cxw(first)), first, atol=1e-6, rtol=0)


def test_gradients_of_overlaps_are_finite_for_empty_spans() -> None:
    spans = torch.tensor([[0.5, 0.5], [0.2, 0.4]], requires_grad=True)
    (temporal_giou(spans, torch.tensor([[0.5, 0.5], [0.6, 0.9]]))).sum().backward()
    assert spans.grad is not None
    assert spans.grad.isfinite().all()


@few
@given(span=SPAN.filter(lambda s: s[1] - s[0] > 0.003), seed=st.integers(0, 999))
def test_hard_negatives_keep_their_iou_range_and_the_recording(span: list[float], seed: int) -> None:
    uniforms = draw_uniforms(seed, 1, 2, size=1, config=small("S6").loss, queries=50)
    truth = torch.tensor(span).expand(1, 50, 2)
    windows, kept = hard_negatives(truth, uniforms, (0.45, 0.75))
    fit = temporal_iou(windows, truth[..., None, None, :])[kept]
    assert ((fit >= 0.45 - 1e-5) & (fit <= 0.75 + 1e-5)).all()
    assert (windows[kept][:, 0] >= -1e-5).all()
    assert (windows[kept][:, 1] <= 1 + 1e-5).all()
    assert kept[:, :, 1].float().mean() > 0.9  # under-coverage always fits


@pytest.mark.parametrize(
    ("kind", "u1", "u2", "expected"),
    [
        (0, 0.5, 0.0, (1 / 3, 2 / 3)),
        (1, 0.5, 0.0, (0.44, 0.56)),
        (2, 0.0, 0.0, (0.45, 0.65)),
        (3, 0.0, 0.0, (0.4 - 0.2 / 0.6 + 0.2, 0.6)),
        (3, 0.0, 0.9, (0.48, 0.60)),
    ],
)
def test_each_kind_of_negative_has_its_stated_window(kind: int, u1: float, u2: float, expected: Any) -> None:
    uniforms = torch.zeros(4, 1, 3)
    uniforms[kind, 0] = torch.tensor([(0.6 - 0.45) / 0.30, u1, u2])
    windows, kept = hard_negatives(torch.tensor([0.4, 0.6]), uniforms, (0.45, 0.75))
    assert windows[kind, 0].tolist() == pytest.approx(expected, abs=1e-4)
    assert kept[kind, 0]


def test_boundary_draws_hang_on_the_step_alone() -> None:
    config = small("S6").loss
    draws = [draw_uniforms(7, 1, step, size=3, config=config, queries=4) for step in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].shape == (3, 4, 4, 1, 3)


def test_items_without_a_negative_text_are_left_out_of_its_term() -> None:
    config = small("S1")
    model = make_model(config)
    batch = make_batch(config, [8, 8], [2, 2])
    targets = make_targets(batch, [[(0.2, 0.6)], [(0.1, 0.4)]])
    changed = dataclasses.replace(batch, negative_index=torch.tensor([1, -1]))

    outputs = model(changed, for_loss=True)
    assert outputs.saliency_negative is not None

    def saliency(shift: list[float]) -> float:
        """The term when the scores under the negative text are shifted, item by item."""
        moved = outputs.saliency_negative + torch.tensor(shift)[:, None]
        shifted = dataclasses.replace(outputs, saliency_negative=moved)
        return Criterion.of(config)(shifted, targets, changed).terms["saliency"].item()

    assert math.isfinite(saliency([0.0, 0.0]))
    assert saliency([0.0, 3.0]) == saliency([0.0, 0.0])
    assert saliency([3.0, 0.0]) != saliency([0.0, 0.0])


def test_hard_negatives_of_text_are_the_most_similar_of_another_recording() -> None:
    config = small("S2", "model.negatives=hard")
    model, batch = make_model(config), make_batch(config, [8, 8, 9, 7], [2, 3, 2, 2])
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    batch = dataclasses.replace(batch, same_recording=same)
    outputs = model(batch, for_loss=True, choose_negatives=True)
    assert outputs.negative_index is not None
    assert not same[torch.arange(4), outputs.negative_index].any()
    alone = dataclasses.replace(batch, same_recording=torch.ones(4, 4, dtype=torch.bool))
    assert model(alone, for_loss=True, choose_negatives=True).negative_index.tolist() == [-1] * 4


def test_inference_computes_nothing_that_only_losses_read() -> None:
    config = small("S8")
    outputs = make_model(config)(make_batch(config, [8, 6], [2, 3]))
    assert outputs.saliency_negative is None
    assert outputs.sim_global is None
    assert outputs.quality is not None


def test_few_keys_are_the_same_attention() -> None:
    torch.manual_seed(0)
    layer = PackedAttention(32, 4, dropout=0.0)
    torch.nn.init.xavier_uniform_(layer.in_weight)
    torch.nn.init.normal_(layer.in_bias)
    x, y = torch.randn(2, 9, 32), torch.randn(4, 8, 32)
    mask = key_mask(torch.arange(8) < torch.tensor([8, 3, 5, 7])[:, None])
    many = layer(x, y, y, mask)
    for seen in (3, 5):
        few = layer(x, y[:, :seen], y[:, :seen], mask[..., :seen])
        hidden = layer(x, y, y, mask & (torch.arange(8) < seen))
        torch.testing.assert_close(few, hidden, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(many[1], many[0])


def describe(config: ExperimentConfig, batch: Batch, targets: Targets) -> dict[str, float]:
    outputs = make_model(config)(batch, for_loss=True)
    losses = Criterion.of(config)(outputs, targets, batch)
    return {name: term.sum().item() for name, term in losses.terms.items()}


@pytest.mark.parametrize(
    ("setting", "term"),
    [
        ("loss.neg_reduction=mean", "saliency"),
        ("loss.sim_scale=10.0", "similarity"),
        ("loss.sim_reduction=positives", "similarity"),
        ("loss.quality_targets=all", "quality"),
        ("targets.saliency_pairs=all", "saliency"),
        ("loss.background_weight=1.0", "label"),
    ],
)
def test_a_loss_switch_changes_its_term_and_no_other(setting: str, term: str) -> None:
    config = small("S7")
    batch = make_batch(config, [12, 8], [3, 2])
    targets = make_targets(batch, [[(0.25, 0.5)], [(0.5, 0.75)]])
    plain, changed = describe(config, batch, targets), describe(override(config, [setting]), batch, targets)
    assert {name for name in plain if plain[name] != changed[name]} == {term}


def test_centre_spread_is_the_largest_cosine_distance_of_two_centres() -> None:
    centres = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]], [[1.0, 0.0], [5.0, 0.0], [2.0, 0.0]]])
    assert centre_spread(centres).item() == pytest.approx((1.0 + 0.0) / 2)


@pytest.mark.parametrize(
    "setting",
    ["em_sigma=0.3", "propagation=product", "padding=reference", "width_floor=0.9", "em_iterations=1"],
)
def test_a_model_switch_changes_the_outputs(setting: str) -> None:
    config = small("S2")
    batch = make_batch(config, [12, 8], [3, 2])
    plain, changed = (make_model(c)(batch).saliency for c in (config, override(config, [f"model.{setting}"])))
    spans = [make_model(c)(batch).spans_cxw for c in (config, override(config, [f"model.{setting}"]))]
    assert not (torch.equal(plain, changed) and torch.equal(*spans))


def test_bbox_zero_init_lets_the_first_references_stay_put() -> None:
    model = make_model(small("S1"))
    batch = make_batch(small("S1"), [8], [2])
    kept: list[torch.Tensor] = []
    model.decoder.register_forward_hook(lambda module, args, out: kept.append(out[1]))
    model(batch)
    torch.testing.assert_close(kept[0][1], kept[0][0], atol=1e-3, rtol=0)
    assert compat_lighthouse("qd_detr").model.bbox_zero_init is False
