from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from amr_model.web.timeline import NARROWEST, Lane, Mark, outline, timeline


def make_mark(onset_s: float = 5.0, offset_s: float = 10.0, **changes) -> Mark:
    return Mark(**{"onset_s": onset_s, "offset_s": offset_s, "title": "a mark", **changes})


def test_marks_lie_where_they_are_and_are_never_too_narrow_to_be_hit():
    html = timeline(
        [Lane(name="true", kind="truth", marks=[make_mark(), make_mark(19.0, 19.001)])], 20.0, labelled=True
    )
    places = re.findall(r"left: ([\d.]+)%; width: ([\d.]+)%", html)
    assert [(float(left), float(width)) for left, width in places] == [(25, 25), (95, NARROWEST)]


@given(text=st.text(alphabet="<>&\"'ab /=", min_size=1))
def test_no_text_becomes_markup(text):
    def tags_of(text: str) -> list[str]:
        mark = make_mark(title=text, label=text, data={"rank": text})
        html = timeline([Lane(name=text, kind="picture", marks=[mark], picture=text)], 20.0, labelled=True)
        return re.findall(r"<[a-z/][^>]*?(?=[\s>])", html)

    assert tags_of(text) == tags_of("plain")


def test_the_axis_shows_hours_where_there_are_any():
    html = timeline([Lane(name="x", kind="answer")], 7200.0, labelled=False)
    times = re.findall(r"--lean: [\d.]+\">([\d:]+)<", html)
    assert times[0] == "0:00"
    assert times[-1] == "2:00:00"


def test_an_outline_starts_and_ends_on_the_ground():
    assert outline([0.0, 1.0]) == "0,100 0.00,100.0 50.00,100.0 50.00,0.0 100.00,0.0 100,100"


def test_a_part_of_a_recording_is_drawn_from_where_it_begins():
    html = timeline(
        [Lane(name="x", kind="answer", marks=[make_mark(65.0, 70.0)])], 20.0, labelled=False, start_s=60.0
    )
    assert re.findall(r"left: ([\d.]+)%; width: ([\d.]+)%", html) == [("25.000", "25.000")]
    times = re.findall(r"left: ([\d.]+)%; --lean: ([\d.]+)\">([\d:]+)<", html)
    assert (times[0], times[-1]) == (("0.000", "0.000", "1:00"), ("100.000", "1.000", "1:20"))


def test_an_outline_may_have_edges_of_its_own():
    assert outline([1.0, 0.5], [0.0, 0.1, 1.0]) == "0,100 0.00,0.0 10.00,0.0 10.00,50.0 100.00,50.0 100,100"
