"""The pass of a network over recordings: any length, any precision, one answer whoever asks."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch

from amr_model.answer.calibration import Calibration, PresenceWeights
from amr_model.answer.readout import ReadoutConfig, ScoreWeights
from amr_model.answer.run import Asker, distinct_moments, predict_set, stretch_rows
from amr_model.config import ExperimentConfig
from amr_model.data.sets import RetrievalSet
from amr_model.tensors import Outputs
from clotho_long.core.errors import ManifestError
from clotho_long.core.records import Moment, Query, ScoredMoment
from clotho_long.core.settings import override
from tests.model.builders import make_model, make_set, small

CPU = torch.device("cpu")
TEXT = np.ones((2, 5), dtype=np.float32)


def loud_where_first_axis_points(batch) -> Outputs:
    """A network whose curve is 4 where a row points along the first axis, else -4; its decoder is silent."""
    items = len(batch.audio)
    curve = torch.where(batch.audio[..., 0] > 0.5, 4.0, -4.0)
    spans, logits = torch.full((1, items, 10, 2), 0.5), torch.zeros(1, items, 10, 2)
    return Outputs(logits=logits, spans_cxw=spans, saliency=curve)


def make_rows(num_rows: int, *moments: tuple[int, int]) -> np.ndarray:
    rows = np.tile(np.eye(6, dtype=np.float32)[1], (num_rows, 1))
    for onset, offset in moments:
        rows[onset:offset] = np.eye(6)[0]
    return rows


def make_asker(*settings: str, network=loud_where_first_axis_points, **changes) -> Asker:
    config = small("S4", "inference.readout=curve", "features.stretch_rows=30", *settings)
    return Asker(network=network, config=config, device=CPU, **changes)


def found_spans(asker: Asker, rows: np.ndarray, duration_s: float | None = None) -> set[tuple[float, float]]:
    (found,) = asker.ask(rows, len(rows) if duration_s is None else duration_s, [TEXT])
    return {moment[:2] for moment in found.moments if moment.score > 0.5}


@pytest.mark.parametrize("num_rows", [20, 30, 31, 32, 100, 601])
@pytest.mark.parametrize("length", [2, 29, 75])
def test_a_moment_is_found_whole_wherever_it_lies_and_however_long_it_is(num_rows, length):
    asker = make_asker()
    for onset in range(1, num_rows - length, 17):
        spans = found_spans(asker, make_rows(num_rows, (onset, onset + length)))
        assert any(abs(a - onset) <= 1 and abs(b - onset - length) <= 1 for a, b in spans), (onset, spans)


def test_no_border_of_a_stretch_shows_in_the_curve():
    rows = make_rows(200, (40, 130))
    (found,) = make_asker().ask(rows, 200.0, [TEXT])
    assert found.curve.shape == (200,)
    assert (found.curve == np.where(rows[:, 0] > 0.5, np.float32(4), np.float32(-4))).all()


def test_the_network_is_never_asked_about_more_than_it_learnt_on():
    seen = []

    def network(batch):
        seen.append(tuple(batch.audio_mask.sum(dim=1).tolist()))
        return loud_where_first_axis_points(batch)

    asker = make_asker("train.valid_batch_size=4", network=network)
    asker.ask(make_rows(301), 301.0, [TEXT, TEXT])
    assert {length for batch in seen for length in batch} == {30}
    assert max(map(len, seen)) == 4, "no more stretches at once than a batch holds"


def test_each_text_gets_its_own_answer_in_order():
    def network(batch):
        outputs = loud_where_first_axis_points(batch)
        return dataclasses.replace(outputs, saliency=outputs.saliency * batch.text[:, :1, 0])

    texts = [np.eye(5, dtype=np.float32)[[0, 0]], np.eye(5, dtype=np.float32)[[1, 1]]]
    for num_rows in (20, 90):
        first, second = make_asker(network=network).ask(make_rows(num_rows, (5, 9)), num_rows, texts)
        assert first.curve.max() == pytest.approx(4, abs=1e-3)
        assert second.curve.max() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("readout", ["curve", "decoder"])
def test_a_set_is_answered_as_each_recording_alone(readout):
    config = small("S8", f"inference.readout={readout}", "features.stretch_rows=22")
    data, model = make_set(config), make_model(config)
    asker = Asker(network=model, config=config, device=CPU)
    assert (data.full_num_rows > 23).any()
    assert (data.full_num_rows <= 23).any()
    for index, together in enumerate(asker.answers(data)):
        audio, text = data.whole(index)
        (alone,) = asker.recording(audio, data.queries[index].duration_s, [text])
        np.testing.assert_allclose(together.curve, alone.curve, atol=1e-4)
        assert [m[:2] for m in together.moments] == [m[:2] for m in alone.moments]


def test_a_recording_longer_than_audio_max_is_answered_to_its_end():
    config = small("S4", "inference.readout=curve", "features.audio_max=30", "features.stretch_rows=30")
    query = Query(
        qid="q",
        query="a dog",
        recording_id="r",
        duration_s=90.0,
        moments=(Moment(onset_s=70.0, offset_s=80.0),),
    )
    data = RetrievalSet([query], {"r": make_rows(90, (70, 80))}, {"q": TEXT}, config)
    (prediction,) = predict_set(loud_where_first_axis_points, data, config)
    assert any(70 <= m.onset_s <= 71 and 79 <= m.offset_s <= 80 for m in prediction.moments)
    assert "1 recordings longer than audio_max rows" in "; ".join(data.report.lines())


def test_queries_of_one_long_recording_share_its_stretches():
    config = small("S4", "inference.readout=curve", "features.stretch_rows=30")
    queries = [
        Query(qid=f"q{at}", query=f"sound {at}", recording_id=f"r{at % 2}", duration_s=90.0, moments=())
        for at in range(4)
    ]
    audio = {"r0": make_rows(90, (10, 20)), "r1": make_rows(90, (50, 60))}
    data = RetrievalSet(queries, audio, {f"q{at}": TEXT for at in range(4)}, config)
    predictions = predict_set(loud_where_first_axis_points, data, config)
    assert [p.qid for p in predictions] == ["q0", "q1", "q2", "q3"]
    assert [p.moments[0].onset_s // 40 for p in predictions] == [0, 1, 0, 1]


def test_one_row_more_than_a_stretch_is_the_window_convention_not_a_longer_recording():
    sizes = []

    def network(batch):
        sizes.append(tuple(batch.audio.shape[:2]))
        return loud_where_first_axis_points(batch)

    make_asker(network=network).ask(make_rows(31), 30.0, [TEXT])
    assert sizes == [(1, 30)]


def test_moments_end_with_the_recording_though_its_last_row_does_not():
    spans = found_spans(make_asker(), make_rows(60, (50, 60)), duration_s=59.993)
    assert spans
    assert all(offset <= 59 for _, offset in spans)


def test_precision_of_the_settings_is_what_the_network_runs_in():
    kinds = []

    def network(batch):
        kinds.append(torch.is_autocast_enabled("cpu"))
        return loud_where_first_axis_points(batch)

    for precision in ("float32", "bf16"):
        make_asker(f"train.precision={precision}", network=network).ask(make_rows(10), 10.0, [TEXT])
    assert kinds == [False, True]


def test_outputs_that_are_not_finite_are_refused():
    def network(batch):
        return dataclasses.replace(
            loud_where_first_axis_points(batch), saliency=torch.full(batch.audio.shape[:2], float("nan"))
        )

    with pytest.raises(ManifestError, match="outputs are not finite"):
        make_asker(network=network).ask(make_rows(10), 10.0, [TEXT])


def test_an_unknown_stretch_is_audio_max_and_said_once(caplog):
    config: ExperimentConfig = override(small("S1"), ["system=said once", "features.audio_max=75"])
    with caplog.at_level(logging.INFO):
        assert [stretch_rows(config), stretch_rows(config)] == [75, 75]
    assert [r.message for r in caplog.records if "said once does not say" in r.message] == [
        "said once does not say on how long recordings it learnt: 75 rows are taken (features.audio_max); "
        "longer ones are heard in stretches of it. --set features.stretch_rows=N says better"
    ]
    assert stretch_rows(override(config, ["features.stretch_rows=60"])) == 60


def test_the_decoder_s_windows_join_a_calibrated_curve():
    def network(batch):
        outputs = loud_where_first_axis_points(batch)
        outputs.spans_cxw[..., 0], outputs.spans_cxw[..., 1] = 0.5, 0.2
        return outputs

    weights = ScoreWeights(intercept=0.0, mean=1.0, contrast=0.0, maximum=0.0, log_length=0.0)
    calibration = Calibration(
        readout=ReadoutConfig(smooth_rows=1, relative=(0.5,), weights=weights),
        presence=PresenceWeights(intercept=0.0, highest=1.0, best=0.0),
        min_score=0.5,
        queries=1,
        absent=1,
        figures={},
    )
    rows = make_rows(20, (2, 6))
    plain, fitted = (
        make_asker("inference.readout=both", network=network, calibration=c).ask(rows, 20.0, [TEXT])[0]
        for c in (None, calibration)
    )
    assert (8.0, 12.0) not in {m[:2] for m in plain.moments}, "nobody can judge it yet"
    assert [m[:2] for m in fitted.moments] == [(2.0, 6.0), (8.0, 12.0)]
    assert fitted.presence == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-3)
    assert plain.presence is None


def test_people_get_distinct_moments():
    moments = [
        ScoredMoment(0, 10, 0.9),
        ScoredMoment(2, 5, 0.8),
        ScoredMoment(8, 14, 0.7),
        ScoredMoment(0, 40, 0.6),
    ]
    assert distinct_moments(moments, limit=None, most=0.5) == (moments[0], moments[2])
    assert distinct_moments([], limit=3, most=0.5) == ()
