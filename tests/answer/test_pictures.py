"""Pictures of answers: of any number, of any text, and never too large."""

from __future__ import annotations

import dataclasses
import re
import warnings

import pytest
from matplotlib.image import imread

from amr_model.answer import pictures
from amr_model.answer.answers import Answer
from amr_model.answer.pictures import MAX_HEIGHT_IN, MAX_ROWS, plot_answers
from clotho_long.audio.io import write_audio
from clotho_long.core.figures import DPI
from tests.builders import noise

WINDOWS = ((0.0, 5.0, 0.9), (3590.0, 3600.0, 0.8), (1000.0, 2000.0, 0.7))


@pytest.fixture
def answer(tmp_path):
    recording = tmp_path / "street.wav"
    write_audio(recording, noise(2.0, rate_hz=16_000), 16_000)
    return Answer(recording=recording, query="a dog", duration_s=3600.0, moments=WINDOWS)


def drawn_text(path) -> str:
    """All text of an svg, whose letters matplotlib notes in comments."""
    return " ".join(re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("query", ["costs $5 and $6", "the price was $\\5 or $6", "{_^ & $ \\frac", "$"])
def test_a_dollar_is_a_dollar(tmp_path, answer, query):
    plot_answers([dataclasses.replace(answer, query=query)], tmp_path / "p.svg")
    assert query.replace("&", "&amp;") in drawn_text(tmp_path / "p.svg")


def test_a_long_sentence_does_not_squeeze_the_panel(tmp_path, answer):
    widths = []
    for name, query in (
        ("short", "a dog"),
        ("long", "a dog barks twice at a tram " * 40),
        ("word", "x" * 2000),
    ):
        path = tmp_path / f"{name}.png"
        plot_answers([dataclasses.replace(answer, query=query)], path)
        frame = (imread(path)[..., :3].max(axis=2) < 0.1).sum(axis=1).max()  # the longest black line
        widths.append(frame)
    assert min(widths) == max(widths) > 1000


def test_letters_that_no_font_has_bring_no_warning(tmp_path, answer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_answers(
            [dataclasses.replace(answer, query="犬が二回吠える \U0001fae0 \udce9")], tmp_path / "p.png"
        )
    assert (tmp_path / "p.png").stat().st_size > 0


def test_times_are_on_a_clock_and_scores_inside(tmp_path, answer):
    plot_answers([answer], tmp_path / "p.svg")
    text = drawn_text(tmp_path / "p.svg")
    assert "1:00:00" in text
    assert "10:00" in text
    figure = pictures._drawn([answer])
    axes = figure.axes[0]
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    for label in axes.texts:
        box = label.get_window_extent()
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1


def test_many_answers_make_a_bounded_picture_that_says_what_is_left_out(tmp_path, answer, monkeypatch):
    read = []
    spectrogram = pictures.spectrogram
    monkeypatch.setattr(pictures, "spectrogram", lambda path: read.append(path) or spectrogram(path))
    others = [answer.recording.with_name(f"{number}.wav") for number in range(300)]
    many = [answer, *(dataclasses.replace(answer, recording=other) for other in others)]
    for other in others[:60]:
        other.symlink_to(answer.recording)
    plot_answers(many, tmp_path / "p.png")
    assert imread(tmp_path / "p.png").shape[0] <= (MAX_HEIGHT_IN + 1) * DPI
    figure_of_last = pictures._drawn(many[:80])
    left_out = re.fullmatch(r"(\d+) more answers are not drawn", figure_of_last.get_supxlabel())
    assert left_out is not None
    assert int(left_out[1]) == 80 - len(figure_of_last.axes)
    assert len(set(read)) == len(figure_of_last.axes), "what is not drawn is not read"


def test_many_moments_are_cut_off_and_an_answer_without_any_says_so(tmp_path, answer):
    many = dataclasses.replace(answer, moments=WINDOWS * 20)
    plot_answers([many, dataclasses.replace(answer, moments=())], tmp_path / "p.svg")
    text = drawn_text(tmp_path / "p.svg")
    assert f"{60 - MAX_ROWS} more moments are not drawn" in text
    assert "no moment found" in text
