"""Which seconds of a recording each window hears."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clotho_long.features.windows import CONVENTIONS, WindowGrid, first_seconds


def grid(convention: str = "aligned", *, rate: int = 10, window: int | None = None) -> WindowGrid:
    return WindowGrid(convention=convention, sample_rate_hz=rate, window_samples=window or rate)


def cut(waveform: np.ndarray, grid: WindowGrid, *, block: int = 7, max_windows: int = 3) -> np.ndarray:
    blocks = (waveform[start : start + block] for start in range(0, len(waveform), block))
    return np.concatenate(list(grid.cut(blocks, max_windows)))


def counting(num_samples: int) -> np.ndarray:
    return np.arange(1, num_samples + 1, dtype=np.float32)


@pytest.mark.parametrize(
    ("duration_s", "aligned", "padded", "centred"),
    [
        (300, 300, 300, 301),
        (300.999, 300, 301, 301),
        (59.993, 59, 60, 60),  # a recording of DCASE 2026's evaluation set, published with 60 rows
        (4.7, 4, 5, 5),
        (1, 1, 1, 2),
        (0.3, 1, 1, 1),
        (10_800, 10_800, 10_800, 10_801),
    ],
)
def test_number_of_windows(duration_s, aligned, padded, centred):
    num_samples = round(duration_s * 1000)
    assert grid("aligned", rate=1000).count(num_samples) == aligned
    assert grid("padded", rate=1000).count(num_samples) == padded
    assert grid("centred", rate=1000).count(num_samples) == centred


def test_padded_windows_are_the_aligned_ones_and_the_filled_up_rest():
    windows = cut(counting(27), grid("padded"))
    np.testing.assert_array_equal(windows[:2], cut(counting(27), grid("aligned")))
    np.testing.assert_array_equal(windows[2], [*range(21, 28), 0, 0, 0])
    assert len(windows) == 3


def test_aligned_window_starts_at_its_second_and_the_partial_last_second_is_dropped():
    windows = cut(counting(27), grid("aligned"))
    np.testing.assert_array_equal(windows, counting(20).reshape(2, 10))


def test_centred_window_hears_half_a_second_on_either_side_of_its_second():
    windows = cut(counting(27), grid("centred"))
    np.testing.assert_array_equal(windows[0], [0, 0, 0, 0, 0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(windows[1], counting(27)[5:15])
    np.testing.assert_array_equal(windows[2], counting(27)[15:25])
    assert len(windows) == 3


def test_centred_windows_are_those_of_the_recording_between_half_windows_of_zeros():
    waveform = counting(43)
    padded = np.pad(waveform, 5)
    expected = [padded[start : start + 10] for start in range(0, len(padded) - 9, 10)]
    np.testing.assert_array_equal(cut(waveform, grid("centred")), expected)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_recording_under_a_second_gives_one_window_filled_up_with_zeros(convention):
    windows = cut(counting(3), grid(convention))
    assert windows.shape == (1, 10)
    assert windows.sum() == counting(3).sum()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_no_samples_give_no_window(convention):
    assert list(grid(convention).cut([], 4)) == []
    assert list(grid(convention).cut([np.empty(0, np.float32)], 4)) == []


@given(
    num_samples=st.integers(1, 120),
    block=st.integers(1, 60),
    max_windows=st.integers(1, 5),
    window=st.integers(2, 35),
    convention=st.sampled_from(CONVENTIONS),
)
@settings(deadline=None)
def test_pieces_do_not_depend_on_how_the_recording_arrives(
    num_samples, block, max_windows, window, convention
):
    waveform, places = counting(num_samples), grid(convention, window=window)
    blocks = (waveform[start : start + block] for start in range(0, num_samples, block))
    pieces = list(places.cut(blocks, max_windows))
    assert {len(piece) for piece in pieces[:-1]} <= {max_windows}
    num_windows = places.count(num_samples)
    padded = np.pad(waveform, (places.lead_samples, num_windows * 10 + window))
    expected = [padded[start : start + window] for start in range(0, num_windows * 10, 10)]
    np.testing.assert_array_equal(np.concatenate(pieces), expected)


@given(num_samples=st.integers(1, 80), block=st.integers(1, 40), max_s=st.none() | st.integers(1, 9))
@settings(deadline=None)
def test_first_seconds_are_the_start_of_the_recording(num_samples, block, max_s):
    waveform = counting(num_samples)
    blocks = (waveform[start : start + block] for start in range(0, num_samples, block))
    kept = np.concatenate(list(first_seconds(blocks, 10, max_s)))
    np.testing.assert_array_equal(kept, waveform if max_s is None else waveform[: max_s * 10])


def test_nothing_is_read_past_the_first_seconds():
    def blocks():
        yield counting(10)
        raise AssertionError("read on")

    assert len(list(first_seconds(blocks(), 10, 1))) == 1


def test_three_hours_are_cut_in_bounded_memory():
    places = grid("aligned", rate=8000)
    blocks = (np.zeros(80_000, np.float32) for _ in range(1080))
    tracemalloc.start()
    num_windows = sum(len(piece) for piece in places.cut(blocks, 64))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_windows == 10_800
    assert peak_bytes < 4 * (64 * 8000 * 4)
