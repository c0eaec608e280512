from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clotho_long.audio.io import Waveform
from clotho_long.audio.mix import PlacedEvent, measure_levels, mix, peak_of
from clotho_long.audio.trim import FADE_S, active_seconds, faded, loudest_stretch
from clotho_long.core.errors import AudioError
from tests.builders import RATE_HZ, noise, tone


def levels(*per_second: float) -> Waveform:
    return np.repeat(np.float32(per_second), 1000)


@pytest.mark.parametrize(
    ("per_second", "expected"),
    [
        ((0, 1, 1, 0), (1, 3)),
        ((0.01, 0.01, 1.0), (2, 3)),
        ((1, 0, 1), (0, 3)),  # a pause inside the event stays
        ((0.5, 0.5), (0, 2)),
        ((0, 0), (0, 2)),  # nothing is above the threshold: everything
    ],
)
def test_the_event_is_from_the_first_to_the_last_active_second(
    per_second: tuple[float, ...], expected: tuple[int, int]
) -> None:
    assert active_seconds(levels(*per_second), 1000) == expected


def test_an_incomplete_last_second_counts_for_the_power_but_not_for_the_event() -> None:
    loud_end = np.concatenate([levels(0.1, 0.1), np.ones(900, np.float32)])
    assert active_seconds(loud_end, 1000) == (0, 2)  # no whole second reaches the threshold
    assert active_seconds(levels(0.3)[:400], 1000) == (0, 0)


def test_the_threshold_is_strict() -> None:
    assert active_seconds(levels(1, 1, 1), 1000, trim_db=0.0) == (
        0,
        3,
    )  # equal is not above: none is, so everything
    assert active_seconds(levels(1, 1.001, 1), 1000, trim_db=0.0) == (1, 2)


def mixed_whole(
    background: Waveform, events: list[PlacedEvent], background_db: float, *, block: int = 8_000
) -> Waveform:
    """The mixture in one piece."""
    blocks = mix(
        background,
        events,
        background_db=background_db,
        levels=measure_levels(background, block),
        where="tour.mp4",
    )
    return np.concatenate([block.copy() for block in blocks])


def reference_mix(
    background: Waveform, events: list[tuple[Waveform, float, float]], background_db: float, rate_hz: int
) -> Waveform:
    """The published formula, one step after the other."""
    power = np.mean(background.astype(np.float64) ** 2)
    mixed = background.astype(np.float64) * 10 ** (background_db / 20)
    for waveform, level_db, start_s in events:
        scaled = waveform / np.abs(waveform).max() * 10 ** (level_db / 20) * np.sqrt(power)
        start = int(start_s * rate_hz)
        end = min(len(mixed), start + len(scaled))
        mixed[start:end] += scaled[: end - start]
    return (mixed / np.abs(mixed).max()).astype(np.float32)


def test_a_mixture_follows_the_published_formula() -> None:
    background, first, second = noise(6.0), tone(440, 1.5), tone(900, 2.0, peak=0.9)
    mixed = mixed_whole(
        background,
        [
            PlacedEvent(
                event_id="a", waveform=first, foreground_db=3.0, start_samples=(int(1.2345 * RATE_HZ), 96_000)
            ),
            PlacedEvent(
                event_id="b", waveform=second, foreground_db=-4.0, start_samples=(int(4.9 * RATE_HZ),)
            ),
        ],
        -18.0,
    )
    expected = reference_mix(
        background, [(first, 3.0, 1.2345), (first, 3.0, 3.0), (second, -4.0, 4.9)], -18.0, RATE_HZ
    )
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    assert peak_of(mixed) == pytest.approx(1.0, abs=1e-6)


@given(
    foreground_db=st.floats(-5, 5),
    background_db=st.floats(-25, -15),
    start=st.integers(0, 40_000),
    seed=st.integers(0, 2**32 - 1),
)
def test_mixture_minus_background_is_the_event_at_its_level(
    foreground_db: float, background_db: float, start: int, seed: int
) -> None:
    background, event = noise(1.5, seed=seed), noise(0.5, seed=seed + 1)
    place = PlacedEvent(event_id="e", waveform=event, foreground_db=foreground_db, start_samples=(start,))
    mixed = mixed_whole(background, [place], background_db)
    outside = np.r_[mixed[:start], mixed[start + len(event) :]]
    around = np.r_[background[:start], background[start + len(event) :]]
    scale = float(outside @ around) / float(
        around @ around
    )  # the final normalisation, from where no event is
    rest = mixed - scale * background
    wanted = (
        10 ** ((foreground_db - background_db) / 20)
        * np.sqrt(np.mean(background.astype(np.float64) ** 2))
        * scale
    )
    num_left = len(mixed) - start
    np.testing.assert_allclose(
        rest[start : start + len(event)], (event / peak_of(event) * wanted)[:num_left], atol=2e-5
    )


@given(
    starts=st.lists(st.integers(0, 47_000), max_size=4).map(sorted),
    block=st.sampled_from([1000, 7_999, 16_000, 48_000]),
)
def test_blocks_do_not_reach_the_mixture(starts: list[int], block: int) -> None:
    background, event = noise(1.5, seed=2), noise(0.4, seed=3, rms=1.0)
    events = (
        [PlacedEvent(event_id="e", waveform=event, foreground_db=4, start_samples=tuple(starts))]
        if starts
        else []
    )
    np.testing.assert_array_equal(
        mixed_whole(background, events, -20, block=block), mixed_whole(background, events, -20, block=1600)
    )


def test_levels_of_a_cut_are_those_of_the_whole() -> None:
    sound = noise(5.5)
    whole = measure_levels(sound, RATE_HZ).between(RATE_HZ, 4 * RATE_HZ)
    cut = measure_levels(sound[RATE_HZ : 4 * RATE_HZ], RATE_HZ)
    assert whole is not None
    np.testing.assert_array_equal(whole.energy, cut.energy)
    np.testing.assert_array_equal(whole.peak, cut.peak)
    assert measure_levels(sound, RATE_HZ).between(100, 100 + RATE_HZ) is None


def test_the_inputs_stay_as_they_are() -> None:
    background, event = noise(1.0), tone(440, 0.5)
    kept = background.copy(), event.copy()
    mixed_whole(
        background, [PlacedEvent(event_id="e", waveform=event, foreground_db=0, start_samples=(0,))], -20
    )
    np.testing.assert_array_equal(background, kept[0])
    np.testing.assert_array_equal(event, kept[1])


def test_silence_is_an_error_that_names_what_is_silent() -> None:
    silent = np.zeros(RATE_HZ, np.float32)
    with pytest.raises(AudioError, match=r"tour\.mp4: the background is silent"):
        mixed_whole(silent, [], -20)
    event = PlacedEvent(event_id="quiet dog", waveform=silent, foreground_db=0, start_samples=(0,))
    with pytest.raises(AudioError, match="event 'quiet dog' is silent"):
        mixed_whole(noise(1.0), [event], -20)


@pytest.mark.parametrize(
    ("per_second", "duration_s", "expected_s"),
    [
        ((0.1, 0.1, 1, 0.1), 1.0, (2, 3)),
        ((0.1, 0.9, 1, 0.8), 2.0, (1, 3)),
        ((1, 0.1, 1), 1.0, (0, 1)),  # of equals the first
        ((0, 0, 0), 2.0, (0, 2)),
        ((0.5, 1), 5.0, (0, 2)),  # not longer: everything
    ],
)
def test_the_loudest_stretch_is_the_first_of_the_most_energy(
    per_second: tuple[float, ...], duration_s: float, expected_s: tuple[int, int]
) -> None:
    stretch = loudest_stretch(levels(*per_second), 1000, duration_s)
    assert (stretch.start, stretch.stop) == (1000 * expected_s[0], 1000 * expected_s[1])


@given(seed=st.integers(0, 2**32 - 1), duration_s=st.floats(0.1, 3.0))
def test_no_other_stretch_on_the_grid_is_louder(seed: int, duration_s: float) -> None:
    waveform = noise(3.0, rate_hz=1000, seed=seed)
    stretch = loudest_stretch(waveform, 1000, duration_s)
    length = int(duration_s * 1000)
    assert stretch.stop - stretch.start == length
    energies = [
        float(np.square(waveform[start : start + length], dtype=np.float64).sum())
        for start in range(0, len(waveform) - length + 1, 100)
    ]
    assert float(np.square(waveform[stretch], dtype=np.float64).sum()) == pytest.approx(
        max(energies), rel=1e-5
    )


def test_fades_touch_the_ends_only() -> None:
    flat = np.ones(1000, np.float32)
    result = faded(flat, 10_000)
    edge = int(FADE_S * 10_000)
    assert (np.diff(result[:edge]) > 0).all()
    assert result[0] < 0.001
    np.testing.assert_array_equal(result[edge:-edge], flat[edge:-edge])
    np.testing.assert_array_equal(result, result[::-1])
    assert len(faded(np.ones(3, np.float32), 10_000)) == 3
    assert (flat == 1).all()
