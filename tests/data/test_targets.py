from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.config import TargetConfig
from amr_model.data.targets import (
    TargetTable,
    dense_labels,
    first_moment_labels,
    spans_cxw,
    usable_moments,
)
from amr_model.public.labels import truncated_span_labels
from tests.retrieval_builders import GOLDEN, make_query

FIRST = TargetConfig(saliency_moments="first", sim_moments="first")


def make_table(moments, num_rows=20, config=TargetConfig(), max_moments=10, **query):  # noqa: B008 (frozen)
    queries = [make_query(f"q{at}", windows, **query) for at, windows in enumerate(moments)]
    return TargetTable(queries, [num_rows] * len(queries), config, row_s=1.0, max_moments=max_moments)


@pytest.mark.parametrize(
    ("window", "clips"),
    [
        ((3, 6), [3, 4, 5]),  # whole seconds: onset <= clip < offset
        ((3.5, 6.4), [3, 4, 5]),  # half a clip is enough
        ((3.2, 3.9), [3]),
        ((3.8, 4.3), [4]),  # covers half of none: the clip of its middle
        ((3.7, 4.1), [3]),
        ((18, 4800), [18, 19]),  # published labels hold such an end
        ((25, 30), []),
        ((7, 7), []),
        ((19.9, 25), [19]),
    ],
)
def test_dense_labels(window, clips):
    assert np.flatnonzero(dense_labels(np.array([window], dtype=float), 20, 1.0)).tolist() == clips


def test_two_moments_give_two_positive_runs():
    """The reference labels only the first moment; the second becomes a negative."""
    table = make_table([[(2, 4), (10, 12)]])
    assert np.flatnonzero(table.draw(0, 0).saliency[0]).tolist() == [2, 3, 10, 11]
    assert np.flatnonzero(make_table([[(2, 4), (10, 12)]], config=FIRST).draw(0, 0).saliency[0]).tolist() == [
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("window", "clips"),
    [((3, 6), [3, 4, 5]), ((3.2, 3.9), [2]), ((19, 25), [19]), ((25, 30), [19]), ((0, 0.5), [0])],
)
def test_first_moment_labels_truncate_as_the_reference(window, clips):
    assert np.flatnonzero(first_moment_labels(np.array(window), 20, 1.0)).tolist() == clips


@pytest.mark.parametrize("name", ["uvcom_full", "uvcom_small"])
def test_truncated_similarity_labels_are_the_reference_s(name):
    golden = np.load(GOLDEN / f"{name}.npz")
    expected = golden["target/sim_clip_label"]
    masks = golden["in/src_aud_mask"] if "in/src_aud_mask" in golden.files else None
    lengths = [120, 75, 98] if masks is None else masks.sum(axis=1).astype(int)
    for item, length in enumerate(lengths):
        labels = truncated_span_labels(golden[f"target/spans/{item}"][0], int(length))
        assert labels.tolist() == expected[item, :length].astype(bool).tolist()


def test_span_of_second_two_of_three_hundred_comes_back_shifted():
    span = spans_cxw(np.array([[2.0, 3.0]]), 300, 1.0)[0]
    assert np.flatnonzero(truncated_span_labels(span, 300)).tolist() != [2]


def test_windows_are_clipped_to_the_features_and_counted():
    query = make_query(moments=[(1, 3), (18, 4800), (5, 5), (20, 21)], duration_s=20)
    windows, counts = usable_moments(query, 20, TargetConfig(), row_s=1.0)
    assert windows.tolist() == [[1, 3], [18, 20]]
    assert (counts.past_recording, counts.past_features, counts.dropped) == (2, 2, 2)
    kept, counts = usable_moments(query, 20, TargetConfig(moment_policy="keep"), row_s=1.0)
    assert kept.tolist() == [[1, 3], [18, 4800], [5, 5], [20, 21]]
    assert counts.dropped == 0


def test_a_query_without_moments_is_all_background():
    for config in (TargetConfig(), FIRST):
        targets = make_table([[], [(2, 4)]], config=config).draw(0, 0)
        assert not targets.spans_mask[0].any()
        assert not targets.saliency[0].any()
        assert not targets.similarity[0].any()
        assert not targets.saliency_pairs_mask[0].any()
        assert targets.saliency_pairs_mask[1].all()


def test_a_query_that_fills_its_recording_has_no_pairs_unless_as_the_reference():
    assert not make_table([[(0, 20)]]).draw(0, 0).saliency_pairs_mask.any()
    reference = make_table([[(0, 20)]], config=FIRST).draw(0, 0)
    assert reference.saliency_pairs_mask.all()
    assert (reference.saliency_negatives == reference.saliency_positives).all()


@pytest.mark.parametrize("config", [TargetConfig(), FIRST])
def test_clips_of_pairs_lie_in_their_own_recording(config):
    """The set's longest recording is no bound: a batch of the short ones alone is as wide as they are."""
    lengths = [10, 1, 40]
    queries = [make_query(f"q{at}", [(0, n)], duration_s=n) for at, n in enumerate(lengths)]
    table = TargetTable(queries, lengths, config, row_s=1.0, max_moments=10)
    for epoch in range(5):
        targets = table.draw(0, epoch)
        for clips in (targets.saliency_positives, targets.saliency_negatives):
            assert (clips < torch.tensor(lengths)[:, None]).all()


def test_clips_of_pairs_of_a_recording_of_ten_hours():
    table = make_table([[(0, 5)]], num_rows=36_000, duration_s=36_000)
    negatives = np.concatenate([table.draw(0, epoch).saliency_negatives.numpy() for epoch in range(20)])
    assert negatives.min() >= 5
    assert negatives.max() > 32_767


windows = st.tuples(st.floats(0, 22), st.floats(0, 22)).map(sorted)


@given(st.lists(st.lists(windows, max_size=14), min_size=1, max_size=4), st.integers(0, 99), st.booleans())
@settings(deadline=None, max_examples=80)
def test_pairs_come_from_the_labels_and_differ(moments, epoch, first):
    table = make_table(moments, config=FIRST if first else TargetConfig())
    targets = table.draw(7, epoch)
    for row in range(len(moments)):
        if not targets.saliency_pairs_mask[row].all():
            continue
        labels = targets.saliency[row].numpy()
        positives, negatives = (
            targets.saliency_positives[row].numpy(),
            targets.saliency_negatives[row].numpy(),
        )
        assert (labels[positives] == 1).all()
        assert (positives[0] != positives[1]) == (labels.sum() > 1)
        if (labels == 0).sum() >= 2:
            assert (labels[negatives] == 0).all()
            assert negatives[0] != negatives[1]


def test_pairs_reach_every_clip_evenly():
    table = make_table([[(4, 8)]] * 400)
    drawn = np.concatenate([table.draw(1, epoch).saliency_positives.numpy() for epoch in range(5)])
    counts = np.bincount(drawn.ravel(), minlength=20)
    assert counts[[0, 1, 2, 3]].sum() == 0
    assert counts[4:8].min() > 0.9 * counts.sum() / 4  # 1000 expected, standard deviation 27


def test_draws_hang_on_seed_epoch_and_qid_alone():
    many = [(at, at + 0.5) for at in range(14)]
    whole = make_table([many, [(2, 9)], many]).draw(3, 5)
    query = make_query("q2", many)
    alone = TargetTable([query], [20], TargetConfig(), row_s=1.0, max_moments=10).draw(3, 5)
    assert (alone.spans_cxw[0] == whole.spans_cxw[2]).all()
    assert (alone.saliency_positives[0] == whole.saliency_positives[2]).all()
    other = make_table([many, [(2, 9)], many]).draw(3, 6)
    assert (other.spans_cxw[2] != whole.spans_cxw[2]).any()
    assert (other.saliency_positives != whole.saliency_positives).any()


def test_of_too_many_windows_a_selection_is_drawn_anew_each_epoch():
    many = [(at, at + 0.5) for at in range(14)]
    table = make_table([many], max_moments=5)
    starts = [
        {round(float(start), 3) for start in (spans[:, 0] - spans[:, 1] / 2) * 20}
        for spans in (table.draw(0, epoch).spans_cxw[0] for epoch in range(12))
    ]
    assert all(len(chosen) == 5 for chosen in starts)
    assert set.union(*starts) == {float(at) for at in range(14)}
    again = make_table([many], max_moments=5)
    again.draw(0, 3)
    assert (again.draw(0, 1).spans_cxw == table.draw(0, 1).spans_cxw).all()  # nothing is left of other epochs
