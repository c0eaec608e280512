"""What is fitted on curves whose moments are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from amr_model.answer.calibrate import Known, calibrate, fit, logistic_fit
from amr_model.answer.calibration import presence_of
from amr_model.answer.readout import read_out, sigmoid
from amr_model.answer.run import Asker
from clotho_long.core.errors import ManifestError
from tests.model.builders import make_model, make_set, small


def make_known(num_curves: int = 120, *, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> Known:
    """Noisy curves; every other one holds a moment of 4 to 12 s, in which it is higher by 3."""
    rng = np.random.default_rng(seed)
    curves, truth = [], []
    for place in range(num_curves):
        curve = rng.standard_normal(80) - 2
        moments = np.zeros((0, 2))
        if place % 2 == 0:
            onset, length = int(rng.integers(0, 60)), int(rng.integers(4, 13))
            curve[onset : onset + length] += 4
            moments = np.array([[onset, onset + length]], dtype=np.float64)
        curves.append(scale * curve + shift)
        truth.append(moments)
    return Known(curves=curves, truth=truth, proposals=[np.zeros((0, 2))] * num_curves, row_s=1.0)


def test_a_logistic_fit_finds_the_line_that_made_the_labels():
    rng = np.random.default_rng(1)
    statistics = rng.standard_normal((20000, 2)) * [1.0, 5.0] + [0.0, 3.0]
    labels = rng.random(20000) < sigmoid(0.5 + statistics @ np.array([2.0, -0.4]))
    intercept, slopes = logistic_fit(statistics, labels.astype(float))
    assert intercept == pytest.approx(0.5, abs=0.15)
    assert slopes == pytest.approx([2.0, -0.4], abs=0.1)


def test_a_constant_column_and_separable_classes_do_no_harm():
    statistics = np.stack([np.arange(20.0), np.ones(20)], axis=1)
    intercept, slopes = logistic_fit(statistics, (np.arange(20) >= 10).astype(float))
    assert np.isfinite([intercept, *slopes]).all()
    assert slopes[0] > 0


def test_scores_are_the_share_of_moments_that_are_right_on_other_curves_as_well():
    calibration, other = fit(make_known()), make_known(seed=5)
    scores, right = [], []
    for moments, truth in zip(
        read_out(other.curves, calibration.readout, row_s=1.0), other.truth, strict=True
    ):
        for onset_s, offset_s, score in moments:
            inter = [min(offset_s, b) - max(onset_s, a) for a, b in truth]
            ious = [i / (offset_s - onset_s + b - a - i) for i, (a, b) in zip(inter, truth, strict=True)]
            scores.append(score)
            right.append(max(ious, default=0) >= 0.5)
    assert np.mean(scores) == pytest.approx(np.mean(right), abs=0.06)
    best = np.array(scores) > 0.7
    assert np.mean(np.array(right)[best]) > 0.7


def test_calibration_improves_on_the_plain_read_out_and_says_by_how_much():
    calibration = fit(make_known())
    figures = calibration.figures
    assert figures["R1@0.5"] >= figures["R1@0.5 uncalibrated"]
    assert figures["area under ROC of presence"] > 0.9
    assert (calibration.queries, calibration.absent) == (60, 60)
    assert 0 < calibration.min_score < 1
    assert "calibrated on 60 queries and 60 absent ones" in calibration.lines()[0]


def test_a_scale_and_a_constant_of_the_network_are_calibrated_away():
    plain, moved = fit(make_known()), fit(make_known(scale=3.0, shift=-7.0))
    assert moved.readout.temperature == pytest.approx(3 * plain.readout.temperature, rel=0.02)
    assert moved.readout.shift == pytest.approx(3 * plain.readout.shift - 7, rel=0.02)
    assert moved.min_score == pytest.approx(plain.min_score, abs=0.02)


def test_presence_compares_over_recordings():
    calibration, other = fit(make_known()), make_known(seed=9)
    presence = np.array(presence_of(other.curves, calibration))
    assert ((presence >= 0) & (presence <= 1)).all()
    assert presence[other.holds].mean() > 0.8
    assert presence[~other.holds].mean() < 0.2
    assert presence_of([np.zeros(0)], calibration)[0] < 0.01


def test_a_curve_that_says_nothing_is_left_as_it_is():
    known = make_known()
    upside_down = Known(
        curves=[-curve for curve in known.curves],
        truth=known.truth,
        proposals=known.proposals,
        row_s=known.row_s,
    )
    assert (fit(upside_down).readout.temperature, fit(upside_down).readout.shift) == (1.0, 0.0)


def test_a_set_without_moments_is_refused():
    known = make_known()
    nothing = Known(
        curves=known.curves,
        truth=[np.zeros((0, 2))] * len(known.curves),
        proposals=known.proposals,
        row_s=known.row_s,
    )
    with pytest.raises(ManifestError, match="no query has a moment"):
        fit(nothing)


@pytest.mark.parametrize("readout", ["curve", "both"])
def test_a_network_is_calibrated_on_its_set_the_same_way_each_time(readout):
    config = small("S9", f"inference.readout={readout}", "features.stretch_rows=40")
    data = make_set(config)
    asker = Asker(network=make_model(config), config=config, device=torch.device("cpu"))
    first, again = (calibrate(asker, data, seed=3) for _ in range(2))
    assert first == again
    assert first.queries == len(data)
    assert first.absent > 0
