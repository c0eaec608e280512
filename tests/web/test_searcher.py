"""What the page of a collection asks: moments of all recordings, their excerpts, and what can be wrong."""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pandas
import pytest
import soundfile

from amr_model.answer.readout import ReadoutConfig
from amr_model.answer.stretches import UNHEARD
from amr_model.index.catalog import Hearing
from amr_model.index.update import update_index
from amr_model.web.downloads import write_downloads
from amr_model.web.excerpts import CHANGED, MOVED, SHORTER, UNREADABLE, heights
from amr_model.web.searcher import Question
from amr_model.web.telling import Refused
from clotho_long.core.errors import AudioError
from clotho_long.core.work import Workers
from tests.index.standin import NAME, RATE_HZ, write_sound
from tests.web.collection import LENGTH_S, event_of, make_collection, make_searcher, standin_encoder

pytest.importorskip("lancedb", reason="needs the vector store: pip install '.[search]'")
pytestmark = pytest.mark.usefixtures("standin_encoder")
__all__ = ["standin_encoder"]  # a fixture is found by its name


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "search").mkdir()
    return tmp_path / "search"


@pytest.fixture
def searcher(tmp_path):
    return make_searcher(make_collection(tmp_path, count=6))


def find(searcher, folder, *sentences, **changes):
    return searcher.search(Question(sentences=sentences, min_score=0.5, **changes), folder)


def test_moments_of_all_recordings_are_found_and_can_be_heard_with_what_is_around_them(searcher, folder):
    found = find(searcher, folder, "band 0", "band 1", pad_s=2.0)
    assert [sorted(one.name for one in shown) for shown in found.shown] == [
        ["harbour/take 00.wav", "market/take 05.wav"],
        ["market/take 01.wav"],
    ]
    for shown in found.shown:
        scores = [one.hit.moment.score for one in shown]
        assert scores == sorted(scores, reverse=True)
        for one in shown:
            number = int(one.name.removesuffix(".wav")[-2:])
            band, onset_s, offset_s = event_of(number)
            assert one.hit.moment[:2] == (onset_s, offset_s)
            assert (one.excerpt.start_s, one.excerpt.end_s) == (onset_s - 2, offset_s + 2)
            sound, rate_hz = soundfile.read(one.excerpt.sound)
            assert len(sound) == 7 * rate_hz
            power = [np.mean(second**2) for second in sound.reshape(7, rate_hz)]
            assert min(power[2:5]) > 50 * max(*power[:2], *power[5:]), "the tone lies in its middle"
            strongest = np.argmax(np.abs(np.fft.rfft(sound))) * rate_hz / len(sound)
            assert strongest == pytest.approx((band + 0.5) * 666, abs=2)


def test_the_curve_stands_where_the_moment_is(searcher, folder):
    ((one,),) = find(searcher, folder, "band 1", pad_s=2.0).shown
    assert len(one.excerpt.curve) == 7
    assert one.excerpt.edges == pytest.approx(np.linspace(0, 1, 8))
    assert min(one.excerpt.curve[2:5]) > 0.5 > max(*one.excerpt.curve[:2], *one.excerpt.curve[5:])


def test_an_excerpt_ends_where_its_recording_ends(searcher, folder):
    (shown,) = find(searcher, folder, "band 2", pad_s=30.0).shown
    assert [(one.excerpt.start_s, one.excerpt.end_s) for one in shown] == [(0, LENGTH_S)]
    assert soundfile.info(shown[0].excerpt.sound).duration == LENGTH_S


def test_a_curve_that_nothing_was_read_off_fills_its_height():
    curve = np.array([-12.0, -10.0, UNHEARD, -11.0], np.float32)
    assert heights(curve, None).tolist() == [0.0, 1.0, 0.0, 0.5]
    assert heights(np.full(3, -12.0, np.float32), None).tolist() == [0.0] * 3
    assert heights(np.full(2, UNHEARD, np.float32), None).tolist() == [0.0] * 2
    read = heights(curve, ReadoutConfig(shift=-10.0, temperature=2.0))
    assert read == pytest.approx([1 / (1 + np.e), 0.5, 0.0, 1 / (1 + np.e**0.5)])


def test_just_the_recordings_that_are_named_are_searched(searcher, folder):
    asked = ("band 0",)
    (whole,) = find(searcher, folder, *asked).shown
    assert len(whole) == 2
    (by_name,) = find(searcher, folder, *asked, only=["market/take 05.wav"]).shown
    assert [one.name for one in by_name] == ["market/take 05.wav"]
    (by_part,) = find(searcher, folder, *asked, only=["HARBOUR", "take 01"]).shown
    assert [one.name for one in by_part] == ["harbour/take 00.wav"]
    assert find(searcher, folder, *asked, only=[" "]).searched == (6, 6 * LENGTH_S)
    assert find(searcher, folder, *asked, only=["take 01"]).searched == (1, LENGTH_S)
    for outside in ("../heard", "/etc/passwd", "nowhere"):
        with pytest.raises(Refused, match="No recording’s name holds"):
            find(searcher, folder, *asked, only=[outside])


def test_a_whole_name_is_not_taken_for_a_part_of_another_one(tmp_path, folder):
    for name in ("a.wav", "extra.wav"):
        write_sound(tmp_path / "walks" / name, [(0, 3, 6)], length_s=12)
    write_sound(tmp_path / "walks" / "extra.wav", [(0, 4, 7)], length_s=12, seed=1)
    update_index(tmp_path / "heard", [tmp_path / "walks"], Hearing(encoder=NAME), workers=Workers())
    searcher = make_searcher(tmp_path / "heard")
    (shown,) = find(searcher, folder, "band 0", only=["a.wav"]).shown
    assert [one.name for one in shown] == ["a.wav"]
    (shown,) = find(searcher, folder, "band 0", only=["a.wa"]).shown
    assert len(shown) == 2


def test_nothing_found_is_an_answer(searcher, folder):
    found = find(searcher, folder, "band 5")
    assert found.shown == ((),)
    files = write_downloads(found.takeaway, folder)
    assert sorted(files) == ["JSON", "table (csv)"]
    assert json.loads(files["JSON"].read_text())["moments"] == []
    assert pandas.read_csv(files["table (csv)"]).empty


def test_a_sound_finds_what_sounds_like_it(searcher, folder, tmp_path):
    example = write_sound(tmp_path / "bark.wav", [(3, 0, 4)], length_s=4, seed=99)
    found = find(searcher, folder, example=example)
    assert found.rankings[0].query == "sounds like bark.wav"
    assert [one.name for one in found.shown[0]] == ["market/take 03.wav"]
    assert min(one.excerpt.curve[4] for one in found.shown[0]) > 0.5
    assert str(tmp_path) not in write_downloads(found.takeaway, folder)["JSON"].read_text()


def test_a_sound_that_cannot_be_read_is_an_error(searcher, folder, tmp_path):
    (tmp_path / "notes.wav").write_text("this is no sound")
    with pytest.raises(AudioError, match=r"notes\.wav: is not audio"):
        find(searcher, folder, example=tmp_path / "notes.wav")


def test_a_recording_that_was_moved_removed_or_damaged_is_shown_with_a_line(searcher, folder, tmp_path):
    (tmp_path / "walks" / "harbour" / "take 00.wav").unlink()
    (tmp_path / "walks" / "market" / "take 05.wav").write_text("no sound any more")
    (shown,) = find(searcher, folder, "band 0").shown
    assert {one.name: (one.excerpt, one.remark) for one in shown} == {
        "harbour/take 00.wav": (None, MOVED),
        "market/take 05.wav": (None, UNREADABLE),
    }


def test_a_recording_that_became_shorter_is_heard_as_far_as_it_goes(searcher, folder, tmp_path):
    write_sound(tmp_path / "walks" / "market" / "take 05.wav", length_s=20)
    write_sound(tmp_path / "walks" / "harbour" / "take 00.wav", length_s=2)
    (shown,) = find(searcher, folder, "band 0").shown
    short, shorter = sorted(shown, key=lambda one: one.name, reverse=True)
    assert (shorter.excerpt, shorter.remark) == (None, SHORTER)
    assert soundfile.info(short.excerpt.sound).duration > 3


def test_a_settled_change_is_told(searcher, folder, tmp_path):
    """The state of a file is known once it lay still for a moment; then a change of it is seen."""
    for path in (tmp_path / "walks").rglob("*.wav"):
        os.utime(path, ns=(10**18, 10**18))
    update_index(tmp_path / "heard", [], Hearing(encoder=NAME), workers=Workers())
    write_sound(tmp_path / "walks" / "market" / "take 01.wav", length_s=20)
    ((one,),) = find(searcher, folder, "band 1").shown
    assert one.remark == CHANGED
    assert one.excerpt is not None


def test_what_was_indexed_meanwhile_is_searched(searcher, folder, tmp_path):
    assert searcher.size() == (6, 6 * LENGTH_S)
    write_sound(tmp_path / "walks" / "new.wav", [(1, 3, 6)], length_s=12)
    update_index(tmp_path / "heard", [], Hearing(encoder=NAME), workers=Workers())
    assert searcher.size() == (7, 6 * LENGTH_S + 12)
    assert "new.wav" in searcher.names()
    (shown,) = find(searcher, folder, "band 1").shown
    assert {one.name for one in shown} == {"market/take 01.wav", "new.wav"}


def test_the_labels_and_sounds_that_are_taken_home_are_those_of_the_search(searcher, folder, tmp_path):
    found = find(searcher, folder, "band 0", "band 1")
    files = write_downloads(found.takeaway, folder)
    lines = [json.loads(line) for line in files["JSON"].read_text().splitlines()]
    assert [line["query"] for line in lines] == ["band 0", "band 1"]
    assert lines[1]["moments"][0]["recording"] == "market/take 01.wav"
    assert lines[1]["made_by"] == {"model": "S0", "checkpoint": None}
    table = pandas.read_csv(files["table (csv)"])
    assert table.groupby("query")["rank"].apply(list).to_dict() == {"band 0": [1, 2], "band 1": [1]}
    with zipfile.ZipFile(files["labels (zip)"]) as labels:
        assert labels.testzip() is None
        with labels.open("audacity/take 01.txt") as track:
            onset_s, offset_s, label = track.read().decode().strip().split("\t")
        with labels.open("raven.txt") as raven:
            selections = pandas.read_csv(raven, sep="\t")
        everything = b"".join(labels.read(name) for name in labels.namelist())
    assert (float(onset_s), float(offset_s)) == event_of(1)[1:]
    assert label.startswith("band 1 (")
    assert selections["Begin Path"].tolist() == [one.name for shown in found.shown for one in shown]
    assert (selections["High Freq (Hz)"] == RATE_HZ / 2).all()
    assert str(tmp_path).encode() not in everything, "where recordings lie is not told"
    with zipfile.ZipFile(files["sounds (zip)"]) as sounds:
        assert sounds.testzip() is None
        assert len(sounds.namelist()) == 3


def test_what_is_done_is_told_with_how_far_it_is(searcher, folder, tmp_path):
    told = []
    example = write_sound(tmp_path / "bark.wav", [(3, 0, 4)], length_s=4)
    question = Question(sentences=["band 0"], example=example, min_score=0.5)
    searcher.search(question, folder, tell=lambda *what: told.append(what))
    assert ("Listening to your sound: 0:04", None) in told
    assert any(doing.startswith("Listening: recording 1 of ") for doing, _ in told)
    assert ("Cutting: recording 3 of 3", pytest.approx(2 / 3)) in told
