from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.answer.stretches import (
    UNHEARD,
    StretchAnswer,
    iou,
    join,
    merge,
    stretch_starts,
    stretches_with,
)


@pytest.mark.parametrize("num_rows", [1, 7, 299, 300, 301, 450, 500, 1000, 3600])
def test_stretches_cover_the_recording_and_overlap_by_two_thirds(num_rows):
    starts = stretch_starts(num_rows, 300)
    assert starts[0] == 0
    assert starts[-1] == max(0, num_rows - 300)
    assert all(0 < later - earlier <= 100 for earlier, later in itertools.pairwise(starts))


def answers_of(*windows: list[tuple[float, float, float]]) -> list[StretchAnswer]:
    """Stretches of 30 s, one every 10 s, with these windows."""
    last = len(windows) - 1
    return [
        StretchAnswer(
            onset_s=10.0 * k if k > 0 else -np.inf,
            offset_s=10.0 * k + 30 if k < last else np.inf,
            moments=tuple(of_stretch),
        )
        for k, of_stretch in enumerate(windows)
    ]


def test_what_one_of_three_stretches_sees_counts_a_third():
    (window,) = merge(answers_of([], [(22, 26, 0.9)], []), grid_s=1.0, num_moments=10)
    assert window == (22, 26, 0.3)


def test_edges_are_means_weighted_by_score():
    seen = answers_of([(22, 28, 0.9)], [(22, 28, 0.9)], [(24, 30, 0.6)])
    assert merge(seen, grid_s=1.0, num_moments=10) == ((23, 29, 0.8),)


def test_what_ends_at_a_border_gives_way_to_what_is_seen_whole():
    merged = merge(answers_of([(25, 30, 0.9)], [(25, 36, 0.6)], [(25, 36, 0.6)]), grid_s=1.0, num_moments=10)
    assert merged == ((25, 36, 0.6),)


def test_what_no_stretch_holds_stays_as_it_was_seen():
    merged = merge(answers_of([(2, 30, 0.9)], [(10, 38, 0.8)], []), grid_s=1.0, num_moments=10)
    assert merged == ((2, 30, 0.9), (10, 38, 0.8))


@given(
    stretches=st.lists(
        st.lists(st.tuples(st.integers(0, 28), st.integers(1, 12), st.floats(0, 1)), max_size=4),
        min_size=2,
        max_size=5,
    )
)
@settings(deadline=None)
def test_merged_windows_are_ranked_inside_and_no_duplicates(stretches):
    windows = [
        [(10 * k + a, min(10 * k + a + b, 10 * k + 30), s) for a, b, s in c] for k, c in enumerate(stretches)
    ]
    merged = merge(answers_of(*windows), grid_s=1.0, num_moments=10)
    assert len(merged) <= 10
    scores = [score for *_, score in merged]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= onset < offset <= 10 * len(stretches) + 20 for onset, offset, _ in merged)
    assert all(iou(a, b) <= 0.7 for a, b in itertools.combinations(merged, 2))


@given(num_rows=st.integers(1, 400), size=st.integers(3, 60), seed=st.integers(0, 99))
@settings(deadline=None)
def test_stretches_that_agree_join_to_what_they_say(num_rows, size, seed):
    whole = np.random.default_rng(seed).standard_normal(num_rows).astype(np.float32)
    starts = stretch_starts(num_rows, size)
    joined = join([whole[start : start + size] for start in starts], starts, num_rows)
    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=1e-6)


def test_a_joined_curve_trusts_the_stretch_that_has_a_row_in_its_middle():
    # row 5 is the middle of the first stretch and the edge of the second
    joined = join([np.ones(11), np.zeros(11)], [0, 5], 16)
    assert joined[5] == pytest.approx(6 / 7)
    assert joined[10] == pytest.approx(1 / 7)
    assert (joined[:5] == 1).all()
    assert (joined[11:] == 0).all()


def test_only_stretches_that_hold_a_row_are_heard_and_the_rest_is_silent():
    starts = stretch_starts(100, 30)
    heard = stretches_with(starts, 30, np.array([35, 36]))
    assert heard == [start for start in starts if start <= 36 and start + 30 > 35]
    curves = [np.arange(start, start + 30, dtype=np.float32) for start in heard]
    joined = join(curves, heard, 100)
    assert (joined[:10] == UNHEARD).all()
    np.testing.assert_allclose(joined[heard[0] : heard[-1] + 30], np.arange(heard[0], heard[-1] + 30))
    whole = join([np.arange(s, s + 30, dtype=np.float32) for s in starts], starts, 100)
    np.testing.assert_allclose(joined[35:37], whole[35:37])


def test_once_over_everything_covers_it():
    assert stretch_starts(100, 30, views=1) == [0, 30, 60, 70]
