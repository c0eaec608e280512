from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.answer.ranking import fit_moments, rank_moments, short_proposals, suppress
from amr_model.config import InferenceConfig, system
from amr_model.public.presets import compat_lighthouse
from amr_model.tensors import Outputs
from clotho_long.core.errors import ManifestError
from tests.retrieval_builders import GOLDEN

SHORT = system("S8").inference


def make_outputs(
    seed: int, *, items: int = 3, queries: int = 10, clips: int = 30, quality: bool = False
) -> Outputs:
    rng = torch.Generator().manual_seed(seed)
    spans = torch.rand(1, items, queries, 2, generator=rng) * torch.tensor([1.2, 0.6])
    logits = torch.randn(1, items, queries, 2, generator=rng) * 3
    saliency = torch.randn(items, clips, generator=rng)
    judged = torch.rand(items, queries, generator=rng) if quality else None
    return Outputs(logits=logits, spans_cxw=spans, saliency=saliency, quality=judged)


def rank(outputs, inference, *, durations_s=(30.0, 29.4, 12.0), num_rows=(30, 29, 12)):
    return rank_moments(
        outputs,
        durations_s=durations_s,
        num_rows=np.array(num_rows),
        inference=inference,
        row_s=1.0,
    )


@pytest.mark.parametrize(("name", "end_s"), [("castella", 300.0), ("clotho-moment", 150.0)])
def test_reference_procedure_gives_its_digits(name, end_s):
    golden = json.loads((GOLDEN / "postprocess.json").read_text())
    compat = compat_lighthouse("qd_detr")
    outputs = Outputs(
        logits=torch.tensor(golden["pred_logits"])[None],
        spans_cxw=torch.tensor(golden["pred_spans"])[None],
        saliency=torch.zeros(len(golden["durations"]), 1),
    )
    ranked = rank_moments(
        outputs,
        durations_s=golden["durations"],
        num_rows=np.ones(len(golden["durations"]), dtype=np.int64),
        inference=dataclasses.replace(compat.inference, timeline_end=end_s),
        row_s=1.0,
        time_scale=compat.targets.time_scale,
    )
    expected = [row["pred_relevant_windows"] for row in golden["expected"][name]]
    assert [[list(window) for window in windows] for windows in ranked] == expected


def test_reference_procedure_on_a_small_case():
    """Ends are clipped to 300 s, halves round to even, empty windows stay, scores keep four decimals."""
    outputs = Outputs(
        logits=torch.tensor([[[[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]]]]),
        spans_cxw=torch.tensor([[[[0.5, 0.005], [0.1, 0.1], [0.9, 0.4]]]]),
        saliency=torch.zeros(1, 1),
    )
    compat = compat_lighthouse("qd_detr")
    ranked = rank_moments(
        outputs,
        durations_s=[290.0],
        num_rows=np.array([290]),
        inference=compat.inference,
        row_s=1.0,
        time_scale=compat.targets.time_scale,
    )
    assert ranked == [((144.0, 146.0, 0.8808), (203.0, 300.0, 0.7311), (14.0, 44.0, 0.1192))]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["S1", "S5", "S8"]), st.floats(0.4, 30.0))
@settings(deadline=None, max_examples=60)
def test_windows_lie_inside_the_recording_and_are_ranked(seed, name, duration_s):
    inference = system(name).inference
    outputs = make_outputs(seed, quality=name == "S8")
    ranked = rank(outputs, inference, durations_s=(duration_s, 30.0, 11.5), num_rows=(30, 29, 12))
    for windows, end_s in zip(ranked, (duration_s, 30.0, 11.5), strict=True):
        assert 1 <= len(windows) <= 10
        scores = [score for *_, score in windows]
        assert scores == sorted(scores, reverse=True)
        for onset_s, offset_s, _ in windows:
            assert 0 <= onset_s < offset_s <= end_s
            assert offset_s - onset_s >= min(1.0, end_s)


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=80)
def test_proposals_never_displace_a_first_ranked_window(seed, quality):
    outputs = make_outputs(seed, quality=quality)
    without = dataclasses.replace(SHORT, short_proposals=False)
    with_proposals, plain = rank(outputs, SHORT), rank(outputs, without)
    assert [windows[0] for windows in with_proposals] == [windows[0] for windows in plain]


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_nms_leaves_no_overlapping_pair_and_is_idempotent(seed):
    rng = np.random.default_rng(seed)
    windows = np.sort(rng.integers(0, 12, (2, 15, 2)), axis=2).astype(float)
    windows[..., 1] += 1
    valid = rng.random((2, 15)) < 0.9
    kept = suppress(windows, valid, 0.7)
    assert (kept <= valid).all()
    for item in range(2):
        chosen = windows[item][kept[item]]
        inter = np.minimum.outer(chosen[:, 1], chosen[:, 1]) - np.maximum.outer(chosen[:, 0], chosen[:, 0])
        length = chosen[:, 1] - chosen[:, 0]
        iou = np.clip(inter, 0, None) / (length[:, None] + length - np.clip(inter, 0, None))
        assert (iou[~np.eye(len(chosen), dtype=bool)] <= 0.7).all()
    assert (suppress(windows, kept, 0.7) == kept).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 40.0))
@settings(deadline=None, max_examples=80)
def test_fitting_twice_changes_nothing(seed, end_s):
    rng = np.random.default_rng(seed)
    windows = rng.uniform(-5, 45, (1, 20, 2))
    windows.sort(axis=2)
    once = fit_moments(windows, np.array([end_s]), grid_s=1.0, min_length_s=1.0)
    twice = fit_moments(once, np.array([end_s]), grid_s=1.0, min_length_s=1.0)
    assert (once == twice).all()


@pytest.mark.parametrize(
    ("window", "end_s", "expected"),
    [
        ((3.2, 3.4), 20.0, (3, 4)),  # empty by rounding: one second more
        ((19.8, 20.4), 20.0, (19, 20)),  # at the end: one second less
        ((2.5, 3.5), 20.0, (2, 4)),  # halves to even
        ((-4.0, 2.2), 20.0, (0, 2)),
        ((18.0, 27.0), 20.0, (18, 20)),
        ((17.6, 27.0), 19.7, (18, 19)),  # whole seconds, inside the recording
        ((19.6, 27.0), 19.7, (18, 19)),
        ((0.1, 0.2), 0.6, (0, 0.6)),  # a recording shorter than the minimum
    ],
)
def test_windows_are_clipped_rounded_and_never_empty(window, end_s, expected):
    fitted = fit_moments(np.array([[window]]), np.array([end_s]), grid_s=1.0, min_length_s=1.0)
    assert tuple(fitted[0, 0]) == expected


def test_proposals_sit_on_peaks_and_lean_to_the_higher_neighbour():
    saliency = np.array([[0.0, 0.1, 0.5, 1.0, 0.7, 0.0, 0.0, 0.0, 0.9, 0.0]])
    windows, share, exists = short_proposals(saliency, np.array([10]), SHORT)
    found = windows[0][exists[0]].tolist()
    assert found == [[3, 4], [3, 5], [2, 5], [8, 9], [8, 10], [7, 10]]
    assert share[0][exists[0]].tolist() == pytest.approx([1.0, 0.85, 2.2 / 3, 0.9, 0.45, 0.3])


def test_proposals_skip_close_peaks_low_peaks_padding_and_flat_curves():
    close = [0.0, 0.9, 0.2, 1.0, 0.0, 0.0, 0.45, 0.0]  # 0.9 is two clips from 1.0, 0.45 is too low
    padded = [0.5, 0.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    flat = [0.3] * 8
    windows, _, exists = short_proposals(np.array([close, padded, flat]), np.array([8, 3, 8]), SHORT)
    assert windows[0][exists[0]].tolist() == [[3, 4], [2, 4], [2, 5]]
    assert windows[1][exists[1]].tolist() == [[2, 3], [1, 3], [0, 3]]  # clip 0 is two away
    assert not exists[2].any()


def test_quality_reorders_by_power():
    outputs = make_outputs(0, items=1, quality=True)
    foreground = outputs.logits[-1].softmax(-1)[0, :, 0]
    expected = (foreground * outputs.quality[0] ** 1.5).sort(descending=True).values
    ranked = rank(outputs, system("S3").inference, durations_s=(30.0,), num_rows=(30,))
    np.testing.assert_allclose([s for *_, s in ranked[0]], expected.numpy(), atol=5.1e-5)


def test_time_scale_and_clip_end_follow_the_settings():
    outputs = Outputs(
        logits=torch.zeros(1, 1, 1, 2), spans_cxw=torch.tensor([[[[0.9, 0.2]]]]), saliency=torch.zeros(1, 11)
    )

    def window(inference, **scale):
        ranked = rank_moments(
            outputs,
            durations_s=[10.0],
            num_rows=np.array([11]),
            inference=inference,
            row_s=1.0,
            **scale,
        )
        return ranked[0][0][:2]

    assert window(InferenceConfig()) == (9, 10)  # 8.8 to 11, the recording ends at 10
    assert window(InferenceConfig(timeline_end="features")) == (9, 11)
    assert window(InferenceConfig(), time_scale="duration") == (8, 10)
    assert window(InferenceConfig(timeline_end=9.0)) == (8, 9)


def test_outputs_that_are_not_finite_are_refused():
    outputs = make_outputs(0)
    outputs.logits[0, 0, 0, 0] = float("nan")
    with pytest.raises(ManifestError, match="outputs are not finite"):
        rank(outputs, InferenceConfig())


def test_a_batch_gives_what_its_items_give_alone():
    outputs = make_outputs(5, quality=True)
    together = rank(outputs, SHORT)
    for item, (duration_s, rows) in enumerate(((30.0, 30), (29.4, 29), (12.0, 12))):
        alone = Outputs(
            logits=outputs.logits[:, [item]],
            spans_cxw=outputs.spans_cxw[:, [item]],
            saliency=outputs.saliency[[item], :rows],
            quality=outputs.quality[[item]],
        )
        assert rank(alone, SHORT, durations_s=(duration_s,), num_rows=(rows,))[0] == together[item]
