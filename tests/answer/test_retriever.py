from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.answer.retriever import Answer, answer_rows, cut_moments, encode_recording, plot_answers
from amr_model.answer.stretches import ChunkAnswer, chunk_starts, iou, merge
from amr_model.config import ExperimentConfig, system
from amr_model.tensors import Outputs
from clotho_long.audio.io import write_audio
from clotho_long.core.settings import override
from clotho_long.features.encoders.logmel import LogMelEncoder

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


@pytest.mark.parametrize("num_rows", [1, 7, 299, 300, 301, 450, 500, 1000, 3600])
def test_chunks_cover_the_recording_and_overlap_by_two_thirds(num_rows):
    starts = chunk_starts(num_rows, 300)
    assert starts[0] == 0
    assert starts[-1] == max(0, num_rows - 300)
    assert all(0 < later - earlier <= 100 for earlier, later in itertools.pairwise(starts))


@pytest.mark.parametrize("num_rows", [120, 300, 900, 950])
@pytest.mark.parametrize("length", [1, 98, 199])
def test_moments_of_up_to_two_thirds_of_a_chunk_are_found_whole_wherever_they_lie(num_rows, length):
    for onset in range(0, num_rows - length, 37):
        moments = [(onset, onset + length)]
        windows = answer_rows(make_rows(num_rows, moments), float(num_rows), "a", TEXT, find_runs, CONFIG)
        assert confident(windows) == [(float(onset), float(onset + length))]
        assert windows[0][2] == pytest.approx(0.9526, abs=1e-3), "every chunk that holds it agrees"


def test_a_long_recording_gives_the_moments_of_all_its_chunks_once():
    moments = [(10, 14), (195, 205), (250, 253), (299, 303), (640, 700), (880, 899)]
    windows = answer_rows(make_rows(900, moments), 899.5, "a", TEXT, find_runs, CONFIG)
    assert confident(windows) == [(float(a), float(b)) for a, b in moments]
    scores = [score for *_, score in windows]
    assert scores == sorted(scores, reverse=True)
    assert len(windows) <= 10


def answers_of(*windows: list[tuple[float, float, float]]) -> list[ChunkAnswer]:
    """Chunks of 30 s, one every 10 s, with these windows."""
    last = len(windows) - 1
    return [
        ChunkAnswer(
            onset_s=10.0 * k if k > 0 else -np.inf,
            offset_s=10.0 * k + 30 if k < last else np.inf,
            windows=tuple(of_chunk),
        )
        for k, of_chunk in enumerate(windows)
    ]


def test_what_one_of_three_chunks_sees_counts_a_third():
    (window,) = merge(answers_of([], [(22, 26, 0.9)], []), grid_s=1.0, num_windows=10)
    assert window == (22, 26, 0.3)


def test_edges_are_means_weighted_by_score():
    seen = answers_of([(22, 28, 0.9)], [(22, 28, 0.9)], [(24, 30, 0.6)])
    assert merge(seen, grid_s=1.0, num_windows=10) == ((23, 29, 0.8),)


def test_what_ends_at_a_border_gives_way_to_what_is_seen_whole():
    merged = merge(answers_of([(25, 30, 0.9)], [(25, 36, 0.6)], [(25, 36, 0.6)]), grid_s=1.0, num_windows=10)
    assert merged == ((25, 36, 0.6),)


def test_what_no_chunk_holds_stays_as_it_was_seen():
    merged = merge(answers_of([(2, 30, 0.9)], [(10, 38, 0.8)], []), grid_s=1.0, num_windows=10)
    assert merged == ((2, 30, 0.9), (10, 38, 0.8))


@given(
    chunks=st.lists(
        st.lists(st.tuples(st.integers(0, 28), st.integers(1, 12), st.floats(0, 1)), max_size=4),
        min_size=2,
        max_size=5,
    )
)
@settings(deadline=None)
def test_merged_windows_are_ranked_inside_and_no_duplicates(chunks):
    windows = [
        [(10 * k + a, min(10 * k + a + b, 10 * k + 30), s) for a, b, s in c] for k, c in enumerate(chunks)
    ]
    merged = merge(answers_of(*windows), grid_s=1.0, num_windows=10)
    assert len(merged) <= 10
    scores = [score for *_, score in merged]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= onset < offset <= 10 * len(chunks) + 20 for onset, offset, _ in merged)
    assert all(iou(a, b) <= 0.7 for a, b in itertools.combinations(merged, 2))


def test_a_limit_is_kept():
    rows = make_rows(900, [(at, at + 5) for at in range(0, 900, 50)])
    assert len(answer_rows(rows, 900.0, "a", TEXT, find_runs, CONFIG, num_windows=3)) == 3


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
    answer = Answer(recording=path, query="a", duration_s=25.0, windows=((9.0, 12.0, 0.9), (24.0, 25.0, 0.5)))
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
        recording=tmp_path / "a.wav", query="a dog", duration_s=90.0, windows=((61.0, 63.5, 0.75),)
    )
    plot_answers([answer, dataclasses.replace(answer, windows=())], tmp_path / "answers.png")
    assert (tmp_path / "answers.png").read_bytes().startswith(b"\x89PNG")
    assert answer.to_json()["moments"] == [{"start": 61.0, "end": 63.5, "score": 0.75}]
    assert "1:01.0 -   1:03.5   0.7500" in answer.to_text()
