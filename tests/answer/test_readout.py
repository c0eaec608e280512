"""Laws of the read-out, on curves that say what they hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.answer.readout import (
    STATISTICS,
    ReadoutConfig,
    ScoreWeights,
    distinct,
    find_segments,
    logit,
    read_out,
    sigmoid,
)
from clotho_long.core.errors import ConfigError

ONE_LEVEL = ReadoutConfig(smooth_rows=1, relative=(0.5,), close_gap_rows=0)


def make_curve(num_rows: int, *plateaus: tuple[int, int, float], floor: float = -6.0) -> np.ndarray:
    """A flat curve of logits with (start, end, height) plateaus."""
    curve = np.full(num_rows, floor)
    for start, end, height in plateaus:
        curve[start:end] = height
    return curve


def spans(moments) -> list[tuple[float, float]]:
    return [moment[:2] for moment in moments]


def read(curve: np.ndarray, config: ReadoutConfig = ONE_LEVEL, *, row_s: float = 1.0):
    (moments,) = read_out([curve], config, row_s=row_s)
    return moments


curves = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=60).map(np.array)


def test_two_plateaus_are_two_moments_the_higher_one_first():
    moments = read(make_curve(50, (5, 9, 1.0), (20, 30, 3.0)))
    assert spans(moments) == [(20, 30), (5, 9)]
    assert moments[0].score == pytest.approx(sigmoid(np.array(3.0)), abs=1e-4)
    assert moments[1].score == pytest.approx(sigmoid(np.array(1.0)), abs=1e-4)


def test_a_row_lasts_as_long_as_it_is_said_to():
    assert spans(read(make_curve(50, (4, 10, 2.0)), row_s=0.5)) == [(2.0, 5.0)]


@given(curve=curves, before=st.integers(3, 20), after=st.integers(3, 20))
@settings(deadline=None)
def test_a_moved_curve_moves_its_moments(curve, before, after):
    here = np.concatenate([np.full(before, -20.0), curve, np.full(after, -20.0)])
    there = np.concatenate([np.full(before + 7, -20.0), curve, np.full(after, -20.0)])
    for one, other in zip(read(here, ReadoutConfig()), read(there, ReadoutConfig()), strict=True):
        assert (one.onset_s + 7, one.offset_s + 7) == other[:2]
        assert other.score == pytest.approx(one.score, abs=2e-4)


@given(curve=curves, shift=st.floats(-3, 3), temperature=st.floats(0.3, 3))
@settings(deadline=None)
def test_shift_and_temperature_undo_a_constant_and_a_scale(curve, shift, temperature):
    config = dataclasses.replace(ONE_LEVEL, shift=shift, temperature=temperature)
    (plain,) = read_out([np.round(curve, 2)], ONE_LEVEL, row_s=1.0)
    (undone,) = read_out([np.round(curve, 2) * temperature + shift], config, row_s=1.0)
    assert spans(undone) == spans(plain)


@given(parts=st.lists(curves, min_size=1, max_size=5))
@settings(deadline=None)
def test_curves_read_together_are_read_as_each_alone(parts):
    config = ReadoutConfig(absolute=(0.3,), leave=0.7)
    assert read_out(parts, config, row_s=1.0) == [read(curve, config) for curve in parts]


@given(curve=curves, leave=st.floats(0.3, 1), gap=st.integers(0, 4), smooth=st.integers(1, 5))
@settings(deadline=None)
def test_moments_lie_inside_in_order_of_score_and_do_not_repeat(curve, leave, gap, smooth):
    config = ReadoutConfig(smooth_rows=smooth, close_gap_rows=gap, leave=leave, absolute=(0.2, 0.6))
    moments = read(curve, config)
    assert 1 <= len(moments) <= 10  # the maximum is always above a share of itself
    assert all(0 <= m.onset_s < m.offset_s <= len(curve) for m in moments)
    scores = [m.score for m in moments]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    for place, one in enumerate(moments):
        for other in moments[:place]:
            inter = min(one.offset_s, other.offset_s) - max(one.onset_s, other.onset_s)
            union = one.duration_s + other.duration_s - max(inter, 0)
            assert inter <= 0.7 * union + 1e-9


def test_an_empty_curve_holds_no_moment_and_does_not_move_the_others():
    curve = make_curve(20, (5, 9, 2.0))
    assert read_out([np.zeros(0), curve, np.zeros(0)], ONE_LEVEL, row_s=1.0) == [(), read(curve), ()]
    assert read_out([], ONE_LEVEL, row_s=1.0) == []


def test_a_flat_curve_is_one_moment_by_its_shape_and_none_by_a_probability():
    assert spans(read(np.full(30, -1.0))) == [(0, 30)]
    absolute = dataclasses.replace(ONE_LEVEL, relative=(), absolute=(0.5,))
    assert read(np.full(30, -1.0), absolute) == ()
    assert spans(read(np.full(30, 1.0), absolute)) == [(0, 30)]


def test_a_gap_is_closed_up_to_its_length_and_no_further():
    curve = make_curve(30, (5, 9, 3.0), (11, 15, 3.0))
    assert spans(read(curve, dataclasses.replace(ONE_LEVEL, close_gap_rows=1))) == [(5, 9), (11, 15)]
    assert spans(read(curve, dataclasses.replace(ONE_LEVEL, close_gap_rows=2))) == [(5, 15)]


def test_a_gap_at_the_border_of_two_curves_stays_open():
    ends, begins = make_curve(10, (6, 10, 3.0)), make_curve(10, (0, 4, 3.0))
    config = dataclasses.replace(ONE_LEVEL, close_gap_rows=5)
    assert [spans(m) for m in read_out([ends, begins], config, row_s=1.0)] == [[(6, 10)], [(0, 4)]]


def test_hysteresis_follows_a_moment_down_but_enters_no_other_one():
    curve = make_curve(40, (5, 8, -0.4), (8, 12, 3.0), (12, 15, -0.4), (25, 30, -0.4))  # 0.4 and 0.95
    assert spans(read(curve)) == [(8, 12)]
    assert spans(read(curve, dataclasses.replace(ONE_LEVEL, leave=0.7))) == [(5, 15)]


def test_smoothing_does_not_reach_past_the_ends():
    curve = make_curve(20, (0, 4, 3.0))
    for kind in ("mean", "median"):
        config = dataclasses.replace(ONE_LEVEL, smooth_rows=3, smooth=kind)
        assert read(curve, config)[0][:2] == (0, 4)


def test_a_lone_second_is_smoothed_away_by_a_median():
    curve = make_curve(30, (5, 6, 8.0), (20, 24, 2.0))
    config = dataclasses.replace(ONE_LEVEL, smooth_rows=3, smooth="median")
    assert spans(read(curve, config)) == [(20, 24)]


def test_weights_decide_the_order_and_the_least_score_who_answers():
    curve = make_curve(60, (5, 9, 3.0), (20, 40, 2.0))
    weights = ScoreWeights(intercept=-3.0, mean=0.0, contrast=0.0, maximum=0.0, log_length=1.0)
    moments = read(curve, dataclasses.replace(ONE_LEVEL, weights=weights))
    assert spans(moments) == [(20, 40), (5, 9)]
    assert moments[0].score == pytest.approx(20 / (20 + np.exp(3)), abs=1e-4)
    least = dataclasses.replace(ONE_LEVEL, weights=weights, min_score=0.3)
    assert spans(read(curve, least)) == [(20, 40)]


def test_statistics_say_what_they_are_called():
    curve = make_curve(40, (10, 20, 1.0), floor=-2.0)
    segments = find_segments([curve], ONE_LEVEL, row_s=2.0)
    (values,) = segments.statistics
    said = dict(zip(STATISTICS, values, strict=True))
    assert said["mean"] == pytest.approx(1.0)
    assert said["maximum"] == pytest.approx(1.0)
    assert said["contrast"] == pytest.approx(3.0)
    assert said["log_length"] == pytest.approx(np.log(20.0))


def test_proposals_join_and_are_scored_by_the_curve():
    curve = make_curve(40, (10, 20, 2.0))
    proposal = np.array([[12.2, 15.9], [60.0, 70.0]])  # the second lies past the end
    (moments,) = read_out([curve], ONE_LEVEL, row_s=1.0, proposals=[proposal])
    assert set(spans(moments)) == {(10, 20), (12, 16)}
    assert moments[0].score == moments[1].score


def test_no_moment_lies_in_another_where_overlap_is_of_the_shorter():
    nested = np.array([[0, 10], [2, 5], [8, 20], [30, 40]], dtype=float)
    assert distinct(nested, limit=None, most=0.5, overlap="union") == [0, 1, 2, 3]
    assert distinct(nested, limit=None, most=0.5, overlap="shorter") == [0, 2, 3]
    assert distinct(nested, limit=2, most=0.5, overlap="shorter") == [0, 2]


@given(z=st.floats(-25, 25))
def test_logit_undoes_sigmoid(z):
    assert logit(sigmoid(np.array(z))) == pytest.approx(z, abs=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_curve_that_is_not_finite_is_refused(bad):
    with pytest.raises(ConfigError, match="not finite"):
        read(np.array([0.0, bad, 1.0]))


@pytest.mark.parametrize(
    ("settings_", "problem"),
    [
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"relative": (), "absolute": ()}, "some threshold"),
        ({"absolute": (1.5,)}, "thresholds must lie"),
        ({"leave": 0.0}, "leave must lie"),
        ({"smooth_rows": 0}, "smooth_rows must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings_, problem):
    with pytest.raises(ConfigError, match=problem):
        ReadoutConfig(**settings_)
