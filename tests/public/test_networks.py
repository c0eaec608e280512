"""Each switch between ours and the reference is a setting of its own, and none is lost on the way."""

from __future__ import annotations

import ast
import itertools
from typing import Any, get_args, get_type_hints

import pytest
import torch

from amr_model.config import ModelConfig
from amr_model.model.encoders import CrossEncoder
from amr_model.model.moment_detr import most_preferred
from amr_model.model.padding import MASKED
from amr_model.model.refine import inverse_step
from amr_model.public.networks import CROSS_MASK, NEGATIVES, PADDING, PROPAGATION, network_of
from amr_model.public.variants import CountedPadding, MisplacedMaskEncoder, least_preferred, product_step
from tests.core.test_architecture import ROOT, modules
from tests.model.builders import small

TABLES: dict[str, dict[str, Any]] = {
    "cross_mask": CROSS_MASK,
    "padding": PADDING,
    "propagation": PROPAGATION,
    "negatives": NEGATIVES,
}


def parts(*settings: str) -> tuple[Any, ...]:
    """What is built for UVCOM's parts with these settings; every place that has a part has the same."""
    model = network_of(small("S2", "model.head=uvcom", *settings).model)
    assert model.refiner is not None
    assert model.slots is not None
    encoders = {type(model.refiner.text_to_audio), type(model.refiner.audio_to_text)}
    padding = {model.padding, model.refiner.padding, model.refiner.local.padding, model.slots.padding}
    (encoder,), (padding_of_all,) = encoders, padding
    return encoder, padding_of_all, model.refiner.step, model.choose


@pytest.mark.parametrize("key", TABLES)
def test_each_value_of_a_switch_stands_for_a_part(key: str) -> None:
    assert set(TABLES[key]) == set(get_args(get_type_hints(ModelConfig)[key]))


def test_a_switch_changes_its_part_and_no_other() -> None:
    ours = (CrossEncoder, MASKED, inverse_step, most_preferred)
    assert parts() == ours
    public = (MisplacedMaskEncoder, CountedPadding, product_step, least_preferred)
    settings = ("cross_mask=reference", "padding=reference", "propagation=product", "negatives=reference")
    for place, setting in enumerate(settings):
        changed = parts(f"model.{setting}")
        assert [i for i in range(4) if changed[i] != ours[i]] == [place]
    together = parts(*(f"model.{setting}" for setting in settings))
    assert together == (public[0], PADDING["reference"], *public[2:])


def test_the_network_without_refinement_has_the_mask_of_its_setting() -> None:
    for value, encoder in CROSS_MASK.items():
        assert type(network_of(small("S1", f"model.cross_mask={value}").model).text_to_audio) is encoder


def test_no_switch_changes_what_a_checkpoint_holds() -> None:
    plain = shapes(small("S2", "model.head=uvcom").model)
    for values in itertools.product(*TABLES.values()):
        switches = (f"model.{key}={value}" for key, value in zip(TABLES, values, strict=True))
        assert shapes(small("S2", "model.head=uvcom", *switches).model) == plain


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in network_of(config).state_dict().items()}


def test_networks_are_built_in_one_place() -> None:
    """`MomentRetriever(config)` alone would take settings of a public network and be another one."""
    others = [
        (path.stem, path) for folder in ("benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    builders = {
        module
        for module, path in (*modules(), *others)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "MomentRetriever"
    }
    assert builders == {"amr_model.public.networks"}
