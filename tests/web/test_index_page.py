"""What the page of a collection shows, without a browser."""

from __future__ import annotations

import errno
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_model.index.catalog import Hearing
from amr_model.index.opening import open_index
from amr_model.index.search import Hit, Ranking
from amr_model.index.update import update_index
from amr_model.web import ranking_markup
from amr_model.web.excerpts import Excerpt, Shown
from amr_model.web.keeping import Keeper
from amr_model.web.searcher import Question, Results, Searcher
from clotho_long.core.records import ScoredMoment
from clotho_long.core.work import Workers
from tests.web.builders import write_recording

index_page = pytest.importorskip("amr_model.web.index_page", reason="needs the page: pip install '.[web]'")


@pytest.fixture
def keeper(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    return Keeper(folder)


@pytest.fixture
def by_sound(tmp_path):
    """A collection that can be asked by sounds alone: log-mel features without a checkpoint."""
    for name, length_s in (("a", 20.0), ("b & 'c'", 25.0)):
        write_recording(tmp_path / "walks" / f"{name}.wav", length_s)
    update_index(tmp_path / "heard", [tmp_path / "walks"], Hearing(encoder="logmel"), workers=Workers())
    return Searcher(open_index(tmp_path / "heard", device="cpu"))


def make_results(query: str = "a dog", *, name: str = "street.wav", remark: str = "") -> Results:
    hit = Hit(recording=Path("/data/x.wav"), duration_s=60.0, moment=ScoredMoment(10.0, 12.0, 0.5))
    excerpt = Excerpt(
        sound=Path("/kept/cut.wav"),
        picture=Path("/kept/cut.png"),
        start_s=7.0,
        end_s=15.0,
        curve=tuple(np.linspace(0, 1, 8)),
        edges=tuple(np.linspace(0, 1, 9)),
    )
    return Results(
        rankings=(Ranking(query=query, hits=(hit,)), Ranking(query="nothing", hits=())),
        shown=((Shown(hit=hit, name=name, excerpt=None if remark else excerpt, remark=remark),), ()),
        names={hit.recording: name},
        made_by=({}, {}),
        searched=(20, 800.0),
    )


def html_of(found: Results) -> str:
    return ranking_markup.results(found, Question(min_score=0.25), str, {}, search="token")


@given(text=st.text(alphabet="<>&\"'ab /=", min_size=1))
def test_what_people_type_and_how_files_are_called_never_becomes_markup(text):
    def tags_of(text: str) -> list[str]:
        html = html_of(make_results(text, name=text)) + html_of(make_results(text, remark=text))
        return re.findall(r"<[a-z/][^>]*?(?=[\s>])", html)

    assert tags_of(text) == tags_of("plain")
    assert text in unescape(html_of(make_results(text)))


def test_an_excerpt_is_drawn_with_its_own_times():
    html = html_of(make_results())
    (place,) = re.findall(r'class="mark".*?left: ([\d.]+)%; width: ([\d.]+)%', html)
    assert [float(number) for number in place] == [37.5, 25.0]
    times = re.findall(r'left: ([\d.]+)%; --lean: [\d.]+">([\d:]+)<', html)
    assert times[0] == ("0.000", "0:07")
    assert times[-1] == ("100.000", "0:15")


def test_what_was_not_found_is_said_with_where_it_was_looked_for():
    html = html_of(make_results())
    assert "No moment in 20 recordings reaches a score of 0.25." in html
    assert "Searched: 20 recordings, 13:20 of sound." in html
    assert "1 moment in 1 recording<" in html


def test_what_cannot_be_heard_cannot_be_clicked():
    html = html_of(make_results(remark="Its file is gone."))
    assert "Its file is gone." in html
    assert "data-cut" not in html
    assert "<button" not in html


def test_a_search_shows_moments_whose_files_are_there(by_sound, keeper, tmp_path):
    example = write_recording(tmp_path / "like.wav")
    html = index_page.find(by_sound, keeper, example=example)
    (folder,) = keeper.searches.iterdir()
    assert f'data-search="{folder.name}"' in html
    cuts = set(re.findall(r'data-cut="gradio_api/file=([^"]+)"', html))
    assert {Path(unquote(unescape(cut))) for cut in cuts} == set(folder.glob("*.wav"))
    assert cuts


def test_a_page_that_understands_no_sentences_says_what_it_wants(by_sound, keeper):
    html = index_page.find(by_sound, keeper, text="a dog barks")
    assert "There is no sound yet." in html
    assert list(keeper.searches.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"this is no sound", b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_a_wrong_sound_is_told_by_its_name_and_leaves_nothing_behind(by_sound, keeper, tmp_path, content):
    wrong = tmp_path / "<notes>.wav"
    wrong.write_bytes(content)
    html = index_page.find(by_sound, keeper, example=wrong)
    assert 'role="alert"' in html
    assert "&lt;notes&gt;.wav" in html
    assert str(tmp_path) not in html
    assert list(keeper.searches.iterdir()) == []


def test_a_damaged_index_is_told_without_where_it_lies(by_sound, keeper, tmp_path):
    for file in (tmp_path / "heard" / "features").rglob("*.npz"):
        file.write_bytes(b"no features")
    html = index_page.find(by_sound, keeper, example=write_recording(tmp_path / "like.wav"))
    assert "run `amr index` again" in html
    assert str(tmp_path) not in html


def test_a_full_disk_is_told(by_sound, keeper, tmp_path, monkeypatch):
    def no_space(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("amr_model.web.excerpts.write_audio", no_space)
    html = index_page.find(by_sound, keeper, example=write_recording(tmp_path / "like.wav"))
    assert "cannot read or write a file: no space left on device." in html
    assert list(keeper.searches.iterdir()) == []
