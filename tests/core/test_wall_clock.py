"""When recordings began, by their names."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clotho_long.core.errors import ConfigError
from clotho_long.core.wall_clock import ClockPattern, clock_time

SIX = datetime(2024, 1, 31, 6)


@pytest.mark.parametrize(
    ("pattern", "name", "began"),
    [
        ("%Y%m%d_%H%M%S", "20240131_060000.WAV", SIX),
        ("%Y%m%d_%H%M%S", "20240131_060000T.WAV", SIX),  # an AudioMoth's, of a trigger
        ("%Y%m%d_%H%M%S", "S4A01234_20240131_060000.wav", SIX),
        ("%Y%m%d_%H%M%S", "20249999_20240131_060000.wav", SIX),  # the first place that is a date
        ("%Y%m%d_%H%M%S", "20241331_060000.wav", None),  # a thirteenth month
        ("%Y%m%d_%H%M%S", "120240131_060000.wav", None),  # within a longer number
        ("%Y%m%d_%H%M%S", "20240131_0600001.wav", None),
        ("%Y%m%d_%H%M%S", "99991231_060000.wav", None),
        ("%Y%m%d_%H%M%S", "street.20240131_060000", None),  # in the suffix, which does not count
        ("%y%m%d-%H%M", "x240131-0600.flac", SIX),
        ("%d%b%Y %I%p", "at 31Jan2024 06AM.flac", SIX),
        ("%Y-%j_%H", "2024-031_06.wav", SIX),
        ("%Y%m%d (%H)", "20240131 (06).wav", SIX),
        ("%Y%m%d%%%H", "20240131%06.wav", SIX),
        ("%Y%m%d_%H%M%S", "caf\udce9.wav", None),
    ],
)
def test_a_name_says_when_its_recording_began(pattern, name, began):
    assert ClockPattern(pattern).began(Path("20200101_000000") / name) == began


def test_a_zone_in_a_name_stays_in_the_times():
    began = ClockPattern("%Y%m%dT%H%M%S%z").began(Path("20240131T235959+0100.wav"))
    assert clock_time(began, 1.5) == "2024-02-01T00:00:00.500+01:00"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "does not say when"),
        ("%H%M%S", "does not say when"),
        ("%Y%m%d", "does not say when"),
        ("%Y%m%d_%I%M", "does not say when"),  # which half of the day?
        ("%Y%m%d%H%Q", "%Q is not read"),
        ("%Y%m%d%H%", "ends in a single %"),
        ("%Y%Y%m%d%H", "names a part twice"),
    ],
)
def test_a_pattern_that_cannot_say_when_is_refused(pattern, message):
    with pytest.raises(ConfigError, match=message) as refused:
        ClockPattern(pattern)
    assert refused.value.is_usage


@given(
    st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9899, 1, 1)),
    st.integers(0, 10**9),
    st.text(alphabet="ab _-", max_size=8),
    st.sampled_from(["%Y%m%d_%H%M%S_%f", "%Y-%m-%d %H.%M.%S,%f"]),
)
def test_any_time_survives_in_a_name_and_to_a_millisecond_in_the_clock(began, time_ms, around, pattern):
    found = ClockPattern(pattern).began(Path(f"{around}{began.strftime(pattern)}{around}.wav"))
    assert found == began
    told = datetime.fromisoformat(clock_time(began, time_ms / 1000))
    assert abs(told - (began + timedelta(milliseconds=time_ms))) < timedelta(milliseconds=1)


@given(st.text(max_size=12))
def test_any_pattern_is_one_or_is_refused(pattern):
    with contextlib.suppress(ConfigError):
        ClockPattern(pattern).began(Path("x20240131_060000.wav"))
