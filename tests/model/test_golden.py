"""The arithmetic stays what it was when it matched the public reference (tests/golden/model_make.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))

import model_make

RECORDED = json.loads(model_make.FILE.read_text())


@pytest.fixture(scope="module", params=list(RECORDED))
def pair(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    return model_make.compute(model_make.cases()[request.param]), RECORDED[request.param]


def test_outputs_and_losses_are_as_recorded(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, recorded = pair
    for key in ("spans_cxw", "logits"):
        np.testing.assert_allclose(ours[key], recorded[key], atol=2e-5, rtol=1e-4)
    for row, expected in zip(ours["saliency"], recorded["saliency"], strict=True):
        np.testing.assert_allclose(row, expected, atol=2e-5, rtol=1e-4)
    assert ours["terms"].keys() == recorded["terms"].keys()
    for name, value in recorded["terms"].items():
        np.testing.assert_allclose(ours["terms"][name], value, atol=1e-4, rtol=1e-5, err_msg=name)
    assert ours["total"] == pytest.approx(recorded["total"], abs=1e-4, rel=1e-5)


def test_assignments_and_gradients_are_as_recorded(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, recorded = pair
    assert ours["target"] == recorded["target"]
    assert ours["gradient_norms"].keys() == recorded["gradient_norms"].keys()
    for key, norm in recorded["gradient_norms"].items():
        assert abs(ours["gradient_norms"][key] - norm) <= 2e-3 * norm + 1e-5, key


def test_every_term_of_the_objective_is_exercised() -> None:
    assert all(np.sum(value) > 0 for value in RECORDED["S8"]["terms"].values())
    assert len(RECORDED["S8"]["terms"]) == 7
