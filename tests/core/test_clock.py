from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clotho_long.core.clock import MAX_TICKS, clock, ticks


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00"), (4.25, "0:04.2"), (59.99, "1:00"), (61.5, "1:01.5"), (3600, "1:00:00"), (7325, "2:02:05")],
)
def test_times_are_written_as_on_a_clock(time_s, text):
    assert clock(time_s) == text


@given(start_s=st.floats(0, 200 * 3600), duration_s=st.floats(0.05, 3600))
def test_a_part_of_a_recording_has_the_round_times_that_lie_in_it(start_s, duration_s):
    times = ticks(duration_s, start_s=start_s)
    assert all(start_s <= at <= start_s + duration_s for at in times)
    assert len(times) <= MAX_TICKS + 1
    steps = {later - earlier for earlier, later in itertools.pairwise(times)}
    assert all(at % step == 0 for step in steps for at in times)


@given(duration_s=st.floats(0.05, 200 * 3600))
def test_the_axis_has_few_round_times_inside_the_recording(duration_s):
    times = ticks(duration_s)
    assert times[0] == 0
    assert len(times) <= MAX_TICKS + 1
    assert all(0 <= at <= duration_s for at in times)
    assert len({round(later - earlier, 6) for earlier, later in itertools.pairwise(times)}) <= 1
