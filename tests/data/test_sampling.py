from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_model.data.sampling import BIN_ENDS_S, length_weights
from clotho_long.core.errors import ConfigError
from clotho_long.core.records import Moment, Query


def query(*lengths_s: float) -> Query:
    """A query whose moments are so long."""
    moments = tuple(
        Moment(onset_s=10.0 * n, offset_s=10.0 * n + length) for n, length in enumerate(lengths_s)
    )
    return Query(qid="0", query="a dog barks", recording_id="r", duration_s=300.0, moments=moments)


def bins_of(lengths_s: Sequence[float]) -> list[int]:
    return np.searchsorted(BIN_ENDS_S, lengths_s).tolist()


def share_at_most(queries: Sequence[Query], weights: np.ndarray, limit_s: float) -> float:
    short = [query.moments[0].duration_s <= limit_s for query in queries]
    return float(weights[short].sum() / weights.sum())


def test_a_weight_is_the_root_of_the_ratio_of_shares() -> None:
    # source: three of four long; target: three of four short; so 3 and 1/3 to the power 0.5, before scaling
    queries = [query(2.0), query(15.0), query(15.0), query(15.0)]
    weights = length_weights(queries, [2.0, 2.0, 2.0, 15.0])
    assert weights[0] / weights[1] == pytest.approx(3**0.5 / 3**-0.5)
    assert weights.mean() == pytest.approx(1)
    counted = length_weights(queries, [2.0, 15.0], target_counts=[3, 1])
    np.testing.assert_array_equal(weights, counted)


def test_with_power_one_the_source_is_drawn_as_the_target_is() -> None:
    queries = [query(2.0)] * 10 + [query(8.0)] * 30 + [query(25.0)] * 60
    weights = length_weights(queries, [2.0] * 5 + [8.0] * 3 + [25.0] * 2, power=1.0)
    assert share_at_most(queries, weights, 3) == pytest.approx(0.5)
    assert share_at_most(queries, weights, 10) == pytest.approx(0.8)
    np.testing.assert_array_equal(length_weights(queries, [2.0], power=0.0), np.ones(100))


@given(
    lengths_s=st.lists(st.floats(0.5, 200), min_size=1, max_size=30),
    target_s=st.lists(st.floats(0.5, 200), min_size=1, max_size=30),
)
def test_weights_are_one_in_the_mean_and_bring_the_source_nearer_to_the_target(
    lengths_s: list[float], target_s: list[float]
) -> None:
    queries = [query(length) for length in lengths_s]
    weights = length_weights(queries, target_s)
    assert (weights >= 0).all()
    assert weights.mean() == pytest.approx(1)
    if weights.min() > 0 and set(bins_of(lengths_s)) <= set(bins_of(target_s)):
        size, source = len(BIN_ENDS_S), bins_of(lengths_s)
        target = np.bincount(bins_of(target_s), minlength=size) / len(target_s)
        before = np.bincount(source, minlength=size) / len(lengths_s)
        after = np.bincount(source, weights=weights, minlength=size) / len(lengths_s)
        seen = before > 0  # then the target is not empty there either
        # in the logarithm, half of the way
        np.testing.assert_allclose(
            np.diff(np.log(after[seen] / before[seen])),
            np.diff(np.log(target[seen] / before[seen])) / 2,
            atol=1e-9,
        )


def test_a_query_counts_by_its_median_and_one_without_moments_stays() -> None:
    weights = length_weights([query(2.0, 2.0, 100.0), query(15.0), query()], [2.0, 2.0, 2.0, 15.0])
    assert weights[0] / weights[2] == pytest.approx((0.75 / 0.5) ** 0.5)
    assert weights[1] / weights[2] == pytest.approx((0.25 / 0.5) ** 0.5)


def test_the_same_lengths_change_nothing_and_strange_ones_are_left_alone() -> None:
    np.testing.assert_allclose(length_weights([query(2.0), query(40.0)], [2.0, 40.0]), [1.0, 1.0])
    np.testing.assert_array_equal(length_weights([query(2.0)], [100.0]), [1.0])
    assert len(length_weights([], [1.0])) == 0
    with pytest.raises(ConfigError, match="the target has no moments"):
        length_weights([query(1.0)], [])
    with pytest.raises(ConfigError, match="power 2 is not in"):
        length_weights([query(1.0)], [1.0], power=2.0)
