from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from amr_model.answer.answers import Answer
from amr_model.web import markup
from amr_model.web.listener import Heard
from clotho_long.audio.spectrogram import NUM_BANDS, Spectrogram


def make_heard(
    query: str = "a dog", *, name: str = "street.wav", windows=((2.0, 5.0, 0.5),), loudest_db: float = -20.0
) -> Heard:
    levels = np.random.default_rng(0).uniform(-99, loudest_db, (NUM_BANDS, 50)).astype(np.float32)
    answer = Answer(recording=Path(name), query=query, duration_s=20.0, moments=windows)
    cuts = tuple(Path(f"cut-{place}.wav") for place in range(len(windows)))
    return Heard(picture=Spectrogram(levels_db=levels, duration_s=20.0), answers=(answer,), cuts=(cuts,))


def results_of(heard: Heard, address_of=str, **downloads: Path) -> str:
    return markup.results(heard, address_of, downloads, search="token")


@given(text=st.text(alphabet="<>&\"'ab /=", min_size=1))
def test_what_people_type_never_becomes_markup(text):
    def tags_of(query: str) -> list[str]:
        return re.findall(r"<[a-z/][^>]*?(?=[\s>])", results_of(make_heard(query, name=query)))

    assert tags_of(text) == tags_of("plain")
    assert tags_of("plain")
    assert text in unescape(results_of(make_heard(text)))
    assert re.findall("<[a-z]+", markup.message(text, text)) == ["<p", "<strong", "<span"]


def test_every_moment_is_on_the_picture_and_in_the_table_with_its_sound():
    windows = ((2.0, 5.0, 0.5), (0.0, 20.0, 0.25), (19.0, 20.0, 0.125))
    html = results_of(make_heard(windows=windows), lambda file: f"/file={file}")
    for rank in (1, 2, 3):
        sounds = re.findall(rf'data-rank="{rank}" data-cut="([^"]+)"', html)
        assert sounds == [f"/file=cut-{rank - 1}.wav"] * 2
    places = re.findall(r'class="mark".*?left: ([\d.]+)%; width: ([\d.]+)%', html)
    assert [(float(left), float(width)) for left, width in places] == [(0, 100), (10, 15), (95, 5)]


def test_shorter_moments_lie_on_longer_ones_and_better_on_equal_ones():
    windows = ((4.0, 6.0, 0.9), (0.0, 20.0, 0.8), (4.0, 6.0, 0.5), (1.0, 4.0, 0.4))
    html = results_of(make_heard(windows=windows))
    assert re.findall(r'class="mark" data-rank="(\d)"', html) == ["2", "4", "3", "1"]


def test_a_query_without_moments_says_so():
    assert "No moment found." in results_of(make_heard(windows=()))


def test_what_can_be_taken_home_is_linked_under_its_own_name():
    html = results_of(make_heard(), lambda file: f"/get/{file.name}", JSON=Path("/server/a b.json"))
    assert '<a href="/get/a b.json" download="a b.json">JSON</a>' in html
    assert "/server" not in html


def test_a_silent_recording_is_answered_and_said_to_be_silent():
    html = results_of(make_heard(loudest_db=-95.0))
    assert "silent throughout" in html
    assert "<tbody>" in html
    assert "silent throughout" not in results_of(make_heard())
