"""The compatible mode gives the public reference's numbers (Lighthouse d095eaa)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from amr_model.learn.criterion import Criterion, Losses
from amr_model.learn.losses.saliency import negative_term, pair_term, ranking_term
from amr_model.learn.losses.similarity import global_term, local_term
from amr_model.learn.matcher import matching_cost
from amr_model.model.positions import inverse_sigmoid, reference_positions, row_positions
from amr_model.model.refine import aggregate, propagate
from amr_model.model.slots import SlotAttention
from amr_model.public.networks import PROPAGATION, network_of
from amr_model.public.variants import CountedPadding
from amr_model.spans import cxw_to_xx, pairwise_giou, pairwise_iou
from amr_model.tensors import Outputs
from tests.model.reference import (
    GOLDEN,
    batch_of,
    load,
    load_with_base,
    our_names,
    recipe_weight,
    retriever,
    settings,
    targets_of,
)

# file -> switches that differ from the compatible preset
FILES: dict[str, dict[str, Any]] = {
    "qddetr_small": {},
    "qddetr_small_mask": {"cross_mask": "item"},
    "qddetr_full": {},
    "uvcom_small": {},
    "uvcom_small_em1": {"em_iterations": 1},
    "uvcom_small_mask": {"cross_mask": "item"},
    "uvcom_small_bmrw": {"propagation": "inverse"},
    "uvcom_small_both": {"cross_mask": "item", "propagation": "inverse"},
    "uvcom_small_negchoose": {"negatives": "reference"},
    "uvcom_full": {},
}
OUTPUTS = {"atol": 2e-5, "rtol": 1e-4}
LOSSES = {"atol": 1e-4, "rtol": 1e-5}


class Run:
    """One golden file and what our model makes of it."""

    def __init__(self, name: str) -> None:
        self.name, self.arrays, self.config = name, load_with_base(name), settings(name, **FILES[name])
        self.model = retriever(name, self.arrays, self.config)
        self.batch, self.targets = batch_of(self.arrays), targets_of(self.arrays)
        self.num_layers = self.config.model.decoder_layers

    def outputs(self) -> Outputs:
        return self.model(self.batch, for_loss=True, choose_negatives="negchoose" in self.name)

    def losses(self, outputs: Outputs) -> Losses:
        return Criterion.of(self.config)(outputs, self.targets, self.batch)

    def layer_key(self, layer: int, last: str, earlier: str) -> str:
        return last if layer == self.num_layers - 1 else earlier.format(layer)


def close(ours: torch.Tensor, theirs: torch.Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(ours.detach().double(), theirs.double(), **(tolerance or OUTPUTS))


@pytest.mark.parametrize("name", FILES)
def test_outputs_are_the_reference_s(name: str) -> None:
    run = Run(name)
    outputs = run.outputs()
    for layer in range(run.num_layers):
        prefix = run.layer_key(layer, "out/", "out/aux{}/")
        close(outputs.spans_cxw[layer], run.arrays[f"{prefix}pred_spans"])
        close(outputs.logits[layer], run.arrays[f"{prefix}pred_logits"])
    close(outputs.saliency, run.arrays["out/saliency_scores"])
    close(outputs.saliency_negative, run.arrays["out/saliency_scores_neg"])
    if "out/sim/global" in run.arrays:
        close(outputs.sim_global, run.arrays["out/sim/global"])
        close(outputs.sim_local, run.arrays["out/sim/local"])
    if "out/negative_idx" in run.arrays:
        assert outputs.negative_index.tolist() == run.arrays["out/negative_idx"].tolist()


@pytest.mark.parametrize("name", FILES)
def test_losses_assignments_and_gradients_are_the_reference_s(name: str) -> None:
    run = Run(name)
    losses = run.losses(run.outputs())
    for term in ("span", "giou", "label"):
        for layer in range(run.num_layers):
            key = run.layer_key(layer, f"loss/loss_{term}", f"loss/loss_{term}_{{}}")
            close(losses.terms[term][layer], run.arrays[key], **LOSSES)
    for layer in range(run.num_layers):
        close(
            losses.class_error[layer],
            run.arrays[run.layer_key(layer, "loss/class_error", "loss/class_error_{}")],
        )
        pairs = run.layer_key(layer, "match/last", "match/aux{}")
        items, queries, moments = (run.arrays[f"{pairs}/{kind}"] for kind in ("batch", "query", "gt"))
        assert torch.equal(losses.match.target[layer, items, queries], moments)
        assert losses.match.matched[layer].sum() == len(items)
    close(losses.terms["saliency"], run.arrays["loss/loss_saliency"], **LOSSES)
    if "loss/loss_sim" in run.arrays:
        close(losses.terms["similarity"], run.arrays["loss/loss_sim"], **LOSSES)
    close(losses.total, run.arrays["loss/total"], **LOSSES)
    losses.total.backward()
    assert_gradients(run)


def assert_gradients(run: Run) -> None:
    names, parameters = our_names(run.name, run.config), dict(run.model.named_parameters())
    norms = zip(run.arrays["grad_norm/names"], run.arrays["grad_norm/values"].tolist(), strict=True)
    for theirs, norm in norms:
        # what we do not have (a token that is overwritten) must have no gradient there
        grad = parameters[names[theirs]].grad if theirs in names else None
        ours = 0.0 if grad is None else grad.double().norm().item()
        assert abs(ours - norm) <= 2e-3 * norm + 1e-5, theirs
    for key in run.arrays:
        if key.startswith("grad/"):
            ours = parameters[names[key[5:]]].grad
            assert ours is not None
            close(ours, run.arrays[key], atol=1e-4, rtol=2e-3)


@pytest.mark.parametrize("name", FILES)
def test_each_part_of_the_saliency_and_similarity_losses_is_the_formula_s(name: str) -> None:
    run = Run(name)
    outputs, config = run.outputs(), run.config.loss
    terms = {
        "saliency_neg": negative_term(outputs, run.batch, config),
        "saliency_rank": ranking_term(outputs, run.targets, run.batch),
        "saliency_margin": pair_term(outputs, run.targets, margin=config.saliency_margin),
    }
    if outputs.sim_global is not None:
        terms["sim_inter"] = global_term(outputs, run.batch, config)
        terms["sim_clip"] = local_term(outputs, run.targets, run.batch, config)
    for key, value in terms.items():
        assert value.item() == pytest.approx(run.arrays[f"loss_terms/{key}"].item(), abs=1e-4, rel=1e-5), key


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith(("qddetr_small", "uvcom_small"))])
def test_three_optimiser_steps_follow_the_reference(name: str) -> None:
    run = Run(name)
    if "train/loss" not in run.arrays:
        pytest.skip("the file has no steps")
    optimizer = torch.optim.AdamW(run.model.parameters(), lr=1e-4, weight_decay=1e-4)
    totals, norms = [], []
    for step in range(4):
        total = run.losses(run.outputs()).total
        totals.append(total.item())
        if step < 3:
            optimizer.zero_grad()
            total.backward()
            norms.append(torch.nn.utils.clip_grad_norm_(run.model.parameters(), 0.1).item())
            optimizer.step()
    np.testing.assert_allclose(totals, run.arrays["train/loss"].numpy(), atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(norms, run.arrays["train/total_grad_norm"].numpy(), rtol=2e-3)


@pytest.mark.parametrize("name", ["qddetr_small", "uvcom_small", "uvcom_small_em1"])
def test_intermediate_tensors_are_the_reference_s(name: str) -> None:
    run = Run(name)
    model, seen = run.model, {}

    def keep(key: str) -> Any:
        return lambda module, args, out: seen.setdefault(key, out)

    watched = {"proj_txt": model.text_projection, "encoder": model.encoder, "decoder": model.decoder}
    if model.refiner is None:
        watched["t2v_out"] = model.text_to_audio
    else:
        watched |= {"proj_aud": model.audio_projection, "proj_vid": model.tef_projection}
        watched |= {"t2v_out": model.refiner.text_to_audio, "v2t_out": model.refiner.audio_to_text}
        watched |= {"slots": model.slots}
    for key, module in watched.items():
        module.register_forward_hook(keep(key))
    model(run.batch)
    length, mid = run.batch.audio.shape[1], {k[4:]: v for k, v in run.arrays.items() if k.startswith("mid/")}
    close(row_positions(run.batch.audio_mask, run.config.model.hidden_dim), mid["pos_audio"])
    close(seen["proj_txt"], mid["proj_txt"])
    close(seen["t2v_out"], mid["t2v_out"][:, 1 : 1 + length])
    close(seen["encoder"][:, 1:], mid["memory"])
    close(seen["encoder"][:, 0], mid["memory_global"])
    hidden, references = seen["decoder"]
    close(hidden, mid["hs"])
    close(references, mid["ref"])
    if model.refiner is not None:
        close(seen["proj_aud"], mid["proj_aud"])
        close(seen["proj_vid"], mid["proj_vid"])
        close(seen["v2t_out"], mid["v2t_out"][:, 1 + length :])
        close(seen["slots"].expand(-1, mid["slots"].shape[1], -1), mid["slots"])
        close(model.refiner.pooled_text(seen["v2t_out"], run.batch.text_mask), mid["txt_seq"])


def test_single_operations_are_the_reference_s() -> None:
    ops = load("ops")
    for iterations in (1, 2, 5):
        ours = aggregate(ops["em/mu"], ops["em/x"], num_iterations=iterations, sigma=1.2)
        close(ours, ops[f"em/out_iter{iterations}"])
    for form in ("product", "inverse"):
        for weight in (0.5, 0.3):
            ours = propagate(ops["bmrw/x"], ops["bmrw/y"], weight=weight, step=PROPAGATION[form])
            close(ours, ops[f"bmrw/out_{form}_w{weight}"])
    close(inverse_sigmoid(ops["inverse_sigmoid/in"]), ops["inverse_sigmoid/out"])
    for dim in (32, 256):
        close(row_positions(ops["sine_audio/mask"].bool(), dim), ops[f"sine_audio/out{dim}"])
        close(reference_positions(ops["sine_query/in"], dim), ops[f"sine_query/out{dim}"])


def test_overlaps_are_the_reference_s_and_zero_where_it_has_none() -> None:
    ops = load("ops")
    a, b = cxw_to_xx(ops["span/a_cxw"]), cxw_to_xx(ops["span/b_cxw"])
    close(a, ops["span/a_xx"])
    close(pairwise_iou(a, b), ops["span/iou"].nan_to_num(nan=0.0))
    close(pairwise_giou(a, b), ops["span/giou"].nan_to_num(nan=0.0))


def test_slot_attention_is_the_reference_s_and_one_slot_stands_for_equal_ones() -> None:
    ops = load("ops")
    inputs, mask, start = ops["slots/inputs"], ops["slots/mask"], ops["slots/init"]
    slots = SlotAttention(inputs.shape[-1], 1024, 5, padding=CountedPadding())
    names = {"project_q": "query", "project_k": "key", "project_v": "value"}
    back = {ours: theirs for theirs, ours in names.items()}
    state = {}
    for key, value in slots.state_dict().items():
        head, _, rest = key.partition(".")
        theirs = f"slots.{back.get(head, head)}.{rest}"
        state[key] = recipe_weight(theirs, list(value.shape), seed=int(ops["slots/recipe_seed"]))
    slots.load_state_dict(state)
    real = ~mask  # the reference marks padding
    with torch.no_grad():
        close(slots(start, inputs, real), ops["slots/out"])
        same = ops["slots/out_same_init"]
        close(slots(start[:, :1], inputs, real).expand_as(same), same)


def _margin(cost: np.ndarray) -> float:
    """How much dearer the second-best assignment of an item is: the best one without one of its pairs."""
    queries, moments = linear_sum_assignment(cost)
    others = []
    for query, moment in zip(queries, moments, strict=True):
        without = cost.copy()
        without[query, moment] = 1e6
        others.append(without[linear_sum_assignment(without)].sum())
    return float(min(others, default=np.inf) - cost[queries, moments].sum())


def test_the_assignment_leaves_a_clear_margin() -> None:
    """The golden assignment is no accident of rounding: costs agree to 1e-5, the margin is 0.004."""
    run = Run("qddetr_small")
    outputs = run.outputs()
    cost = matching_cost(outputs, run.targets, run.config.loss)
    chosen = run.losses(outputs).match.target
    margins = [
        _margin(cost[layer, item, :, :count].detach().double().numpy())
        for layer in range(len(cost))
        for item, count in enumerate(run.targets.spans_mask.sum(dim=1).tolist())
    ]
    assert min(margins) > 0.003
    assert (chosen >= 0).sum() == 2 * sum(min(5, int(count)) for count in run.targets.spans_mask.sum(dim=1))


def test_our_models_have_every_tensor_of_the_public_checkpoints_and_no_other() -> None:
    published = json.loads((GOLDEN / "checkpoint_keys.json").read_text())
    for name, count in (("qddetr_full", 178), ("uvcom_full", 331)):
        config = settings(name)
        kind = "uvcom" if name.startswith("uvcom") else "qd_detr"
        names, ours = our_names(name, config), network_of(config.model).state_dict()
        assert set(names.values()) == set(ours)
        assert len(names) == len(set(names.values()))
        left = set(published[kind]) - set(names)
        unused = {key for key in left if key.startswith("txt_position_embed.")}
        assert left - unused == ({"global_rep_token"} if kind == "uvcom" else set())
        assert len(published[kind]) == count
        for theirs, our_name in names.items():
            shape = tuple(published[kind][theirs])
            assert shape in (tuple(ours[our_name].shape), (*ours[our_name].shape, 1)), theirs
