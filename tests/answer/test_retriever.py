from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import soundfile
import torch

from amr_model.answer.answers import Answer
from amr_model.answer.exports.cuts import cut_moments
from amr_model.answer.hearing import encode_recording, read_encoded
from amr_model.answer.pictures import plot_answers
from amr_model.answer.retriever import Retriever, answer_rows
from amr_model.config import ExperimentConfig, system
from amr_model.tensors import Outputs
from clotho_long.audio.io import write_audio
from clotho_long.core.clock import clock
from clotho_long.core.errors import ConfigError
from clotho_long.core.settings import override
from clotho_long.features.encoders.logmel import LogMelEncoder
from clotho_long.features.files import AUDIO_KEY, audio_file, write_features

CONFIG: ExperimentConfig = override(system("S1"), ["model.audio_dim=3", "model.text_dim=3"])
TEXT = np.ones((2, 3), dtype=np.float32)


def make_rows(num_rows: int, moments: list[tuple[int, int]]) -> np.ndarray:
    """Rows that point along the first axis inside moments, along the second outside."""
    rows = np.tile(np.array([0, 1, 0], dtype=np.float32), (num_rows, 1))
    for onset, offset in moments:
        rows[onset:offset] = [1, 0, 0]
    return rows


def find_runs(batch) -> Outputs:
    """A network that answers each run of rows along the first axis with its exact span."""
    items, rows = batch.audio.shape[:2]
    spans, logits = torch.full((1, items, 10, 2), 0.5), torch.zeros(1, items, 10, 2)
    spans[..., 1], logits[..., 1] = 0.001, 9.0
    for item in range(items):
        count = int(batch.audio_mask[item].sum())
        inside = torch.cat([torch.zeros(1), (batch.audio[item, :count, 0] > 0.5).float(), torch.zeros(1)])
        edges = inside.diff()
        runs = zip((edges > 0).nonzero()[:, 0], (edges < 0).nonzero()[:, 0], strict=True)
        for query, (start, end) in enumerate(runs):
            spans[0, item, query] = torch.stack([(start + end) / 2, (end - start).float()]) / count
            logits[0, item, query] = torch.tensor([3.0, 0.0])
    return Outputs(logits=logits, spans_cxw=spans, saliency=torch.zeros(items, rows))


def confident(windows) -> list[tuple[float, float]]:
    return sorted(window[:2] for window in windows if window[2] > 0.5)


@pytest.mark.parametrize("num_rows", [120, 300, 900, 950])
@pytest.mark.parametrize("length", [1, 98, 199])
def test_moments_of_up_to_two_thirds_of_a_stretch_are_found_whole_wherever_they_lie(num_rows, length):
    for onset in range(0, num_rows - length, 37):
        moments = [(onset, onset + length)]
        windows = answer_rows(make_rows(num_rows, moments), float(num_rows), TEXT, find_runs, CONFIG)
        assert confident(windows) == [(float(onset), float(onset + length))]
        assert windows[0][2] == pytest.approx(0.9526, abs=1e-3), "every stretch that holds it agrees"


def test_a_long_recording_gives_the_moments_of_all_its_stretches_once():
    moments = [(10, 14), (195, 205), (250, 253), (299, 303), (640, 700), (880, 899)]
    windows = answer_rows(make_rows(900, moments), 899.5, TEXT, find_runs, CONFIG)
    assert confident(windows) == [(float(a), float(b)) for a, b in moments]
    scores = [score for *_, score in windows]
    assert scores == sorted(scores, reverse=True)
    assert len(windows) <= 10


def test_a_limit_is_kept():
    rows = make_rows(900, [(at, at + 5) for at in range(0, 900, 50)])
    assert len(answer_rows(rows, 900.0, TEXT, find_runs, CONFIG, num_moments=3)) == 3


def write_tone(path, seconds: float, rate_hz: int = 8000):
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    write_audio(path, (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32), rate_hz)
    return path


def test_a_recording_is_encoded_second_by_second_and_measured(tmp_path):
    path = write_tone(tmp_path / "tone.wav", 4.7)
    encoded = encode_recording(path, LogMelEncoder(), "aligned")
    assert encoded.rows.shape == (4, 768)
    assert encoded.duration_s == pytest.approx(4.7, abs=1e-3)
    assert encode_recording(path, LogMelEncoder(), "centred").rows.shape == (5, 768)


def test_moments_are_cut_out_at_the_recording_s_own_rate(tmp_path):
    path = write_tone(tmp_path / "street noise.wav", 25.0)
    answer = Answer(recording=path, query="a", duration_s=25.0, moments=((9.0, 12.0, 0.9), (24.0, 25.0, 0.5)))
    files = cut_moments(answer, tmp_path / "cuts")
    assert [file.name for file in files] == ["street noise-01-9-12s.wav", "street noise-02-24-25s.wav"]
    whole, rate_hz = soundfile.read(path, dtype="int16")
    for file, (onset_s, offset_s) in zip(files, ((9, 12), (24, 25)), strict=True):
        piece, own_hz = soundfile.read(file, dtype="int16")
        assert own_hz == rate_hz
        expected = whole[onset_s * rate_hz : offset_s * rate_hz].astype(int)
        assert len(piece) == len(expected)
        assert abs(piece - expected).max() <= 1


def test_answers_are_drawn_and_told(tmp_path):
    write_audio(tmp_path / "a.wav", np.zeros(90 * 8000, dtype=np.float32), 8000)
    answer = Answer(
        recording=tmp_path / "a.wav", query="a dog", duration_s=90.0, moments=((61.0, 63.5, 0.75),)
    )
    plot_answers([answer, dataclasses.replace(answer, moments=())], tmp_path / "answers.png")
    assert (tmp_path / "answers.png").read_bytes().startswith(b"\x89PNG")
    assert answer.to_json()["moments"] == [{"rank": 1, "start": 61.0, "end": 63.5, "score": 0.75}]
    assert "1:01 - 1:03.5   0.7500" in answer.to_text()


def test_features_that_note_their_recording_s_length_need_no_decoding(tmp_path, monkeypatch):
    rows = np.ones((4, 3), dtype=np.float32)
    path = write_tone(tmp_path / "tone.wav", 4.7)
    write_features(audio_file(tmp_path, "tone"), rows, AUDIO_KEY, {"duration_s": 4.5})
    write_features(audio_file(tmp_path / "old", "tone"), rows, AUDIO_KEY, {"encoder": {"name": "x"}})
    assert read_encoded(tmp_path / "old", path).duration_s == pytest.approx(4.7)
    monkeypatch.setattr("amr_model.answer.hearing.stream_mono", None)
    encoded = read_encoded(tmp_path, path)
    assert encoded.duration_s == 4.5
    assert (encoded.rows == rows).all()


class TellingEncoder(LogMelEncoder):
    """Counts how often it is asked."""

    calls = 0

    def encode_windows(self, windows: np.ndarray) -> np.ndarray:
        self.calls += 1
        return super().encode_windows(windows)


def make_retriever(network=find_runs, **changes) -> Retriever:
    config = override(system("S1"), ["features.encoder=logmel", "inference.num_moments=10"])
    return Retriever(
        network=network, config=config, encoder=TellingEncoder(), device=torch.device("cpu"), **changes
    )


def nested(batch) -> Outputs:
    """Four windows, three of them one moment, and a longer one around everything."""
    items, rows = batch.audio.shape[:2]
    spans, logits = torch.full((1, items, 10, 2), 0.5), torch.zeros(1, items, 10, 2)
    spans[..., 1], logits[..., 0] = 0.0, -9.0
    for place, (centre, width) in enumerate([(0.3, 0.2), (0.3, 0.16), (0.8, 0.2), (0.5, 1.0)]):
        spans[0, :, place], logits[0, :, place, 0] = torch.tensor([centre, width]), 3.0 - place
    return Outputs(logits=logits, spans_cxw=spans, saliency=torch.zeros(items, rows))


def test_people_get_distinct_moments_and_may_ask_for_less(tmp_path):
    path, retriever = write_tone(tmp_path / "tone.wav", 20.0), make_retriever(nested)
    (answer,) = retriever.answers(path, ["a dog"])
    assert [moment[:2] for moment in answer.moments] == [(4.0, 8.0), (14.0, 18.0), (10.0, 11.0)]
    (answer,) = retriever.answers(path, ["a dog"], min_score=0.5)
    assert [moment[:2] for moment in answer.moments] == [(4.0, 8.0), (14.0, 18.0)]
    (answer,) = retriever.answers(path, ["a dog"], num_moments=1)
    assert [moment[:2] for moment in answer.moments] == [(4.0, 8.0)]
    (answer,) = retriever.answers(path, ["a dog"], min_score=1.0)
    assert answer.moments == ()
    assert retriever.find(path, "a dog", min_score=1.0) == []
    first = retriever.find(str(path), "a dog", top=1)[0]
    assert (first.onset_s, first.offset_s, first.recording) == (4.0, 8.0, path)
    assert "nothing found" in answer.to_text()


@pytest.mark.parametrize("queries", [[], [""], ["a dog", " "]])
def test_an_empty_question_is_refused_before_anything_is_encoded(tmp_path, queries):
    path, retriever = write_tone(tmp_path / "tone.wav", 2.0), make_retriever()
    with pytest.raises(ConfigError, match="a query is empty"):
        retriever.answers(path, queries)
    assert retriever.encoder.calls == 0


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "0:00"), (59.96, "1:00"), (4335.0, "1:12:15"), (90061.25, "25:01:01.2")],
)
def test_times_are_told_in_hours_minutes_and_seconds(time_s, text):
    assert clock(time_s) == text
