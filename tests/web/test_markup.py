from __future__ import annotations

import itertools
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_model.answer.retriever import Answer
from amr_model.web import markup
from amr_model.web.listener import Heard
from clotho_long.audio.spectrogram import NUM_BANDS, Spectrogram


def make_heard(query: str = "a dog", *, name: str = "street.wav", windows=((2.0, 5.0, 0.5),)) -> Heard:
    levels = np.random.default_rng(0).uniform(-80, -20, (NUM_BANDS, 50)).astype(np.float32)
    answer = Answer(recording=Path(name), query=query, duration_s=20.0, windows=windows)
    cuts = tuple(Path(f"cut-{place}.wav") for place in range(len(windows)))
    return Heard(picture=Spectrogram(levels_db=levels, duration_s=20.0), answers=(answer,), cuts=(cuts,))


@given(text=st.text(alphabet="<>&\"'ab /=", min_size=1))
def test_what_people_type_never_becomes_markup(text):
    def tags_of(query: str) -> list[str]:
        return re.findall(r"<[a-z/][^>]*?(?=[\s>])", markup.results(make_heard(query, name=query), str))

    assert tags_of(text) == tags_of("plain")
    assert tags_of("plain")
    assert text in unescape(markup.results(make_heard(text), str))
    assert re.findall("<[a-z]+", markup.message(text, text)) == ["<p", "<strong", "<span"]


def test_every_moment_is_on_the_picture_and_in_the_table_with_its_sound():
    windows = ((2.0, 5.0, 0.5), (0.0, 20.0, 0.25), (19.0, 20.0, 0.125))
    html = markup.results(make_heard(windows=windows), lambda file: f"/file={file}")
    for rank in (1, 2, 3):
        sounds = re.findall(rf'data-rank="{rank}" data-cut="([^"]+)"', html)
        assert sounds == [f"/file=cut-{rank - 1}.wav"] * 2
    places = re.findall(r'class="mark".*?left: ([\d.]+)%; width: ([\d.]+)%', html)
    assert [(float(left), float(width)) for left, width in places] == [(0, 100), (10, 15), (95, 5)]


def test_shorter_moments_lie_on_longer_ones_and_better_on_equal_ones():
    windows = ((4.0, 6.0, 0.9), (0.0, 20.0, 0.8), (4.0, 6.0, 0.5), (1.0, 4.0, 0.4))
    html = markup.results(make_heard(windows=windows), str)
    assert re.findall(r'class="mark" data-rank="(\d)"', html) == ["2", "4", "3", "1"]


def test_a_query_without_moments_says_so():
    assert "No moment found." in markup.results(make_heard(windows=()), str)


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00"), (4.25, "0:04.2"), (59.99, "1:00"), (61.5, "1:01.5"), (3600, "1:00:00"), (7325, "2:02:05")],
)
def test_times_are_written_as_on_a_clock(time_s, text):
    assert markup.clock(time_s) == text


@given(duration_s=st.floats(0.05, 200 * 3600))
def test_the_axis_has_few_round_times_inside_the_recording(duration_s):
    times = markup.ticks(duration_s)
    assert times[0] == 0
    assert len(times) <= markup.MAX_TICKS + 1
    assert all(0 <= at <= duration_s for at in times)
    assert len({round(later - earlier, 6) for earlier, later in itertools.pairwise(times)}) <= 1
