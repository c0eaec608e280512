from __future__ import annotations

import os

import pytest
import soundfile

from clotho_long.core.errors import AudioError
from tests.builders import make_mp4
from tests.web.builders import (
    MOMENTS,
    RATE_HZ,
    AlwaysThere,
    CountingEncoder,
    make_listener,
    write_recording,
    write_silence,
)


def test_each_query_is_answered_and_its_moments_can_be_heard(tmp_path):
    recording = write_recording(tmp_path / "street.wav")
    heard = make_listener().listen(recording, ["a dog", "a tram"], tmp_path / "cuts", top=3)
    assert [answer.query for answer in heard.answers] == ["a dog", "a tram"]
    for answer, cuts in zip(heard.answers, heard.cuts, strict=True):
        assert [window[:2] for window in answer.moments] == list(MOMENTS)
        for (onset_s, offset_s), cut in zip(MOMENTS, cuts, strict=True):
            assert soundfile.info(cut).frames == (offset_s - onset_s) * RATE_HZ
    assert len({cut for cuts in heard.cuts for cut in cuts}) == 2 * len(MOMENTS)
    assert heard.picture.duration_s == pytest.approx(20.0)


def test_the_sound_of_a_video_is_searched(tmp_path):
    heard = make_listener().listen(make_mp4(tmp_path / "walk.mp4"), ["a dog"], tmp_path / "cuts", top=1)
    assert heard.answers[0].moments[0][:2] == MOMENTS[0]
    assert soundfile.info(heard.cuts[0][0]).duration == pytest.approx(3.0)


def test_no_more_moments_than_asked_for(tmp_path):
    recording = write_recording(tmp_path / "street.wav")
    heard = make_listener().listen(recording, ["a dog"], tmp_path / "cuts", top=2)
    assert [len(answer.moments) for answer in heard.answers] == [2] == [len(cuts) for cuts in heard.cuts]


def test_a_second_question_about_a_recording_does_not_encode_it_again(tmp_path):
    encoder, network = CountingEncoder(), AlwaysThere()
    listener = make_listener(network, encoder)
    recording = write_recording(tmp_path / "street.wav")
    for number, query in enumerate(("a dog", "a tram")):
        listener.listen(recording, [query], tmp_path / f"cuts{number}", top=1)
    assert encoder.num_windows == 20
    assert network.num_calls == 2


def test_a_recording_that_was_replaced_is_encoded_again(tmp_path):
    encoder = CountingEncoder()
    listener = make_listener(encoder=encoder)
    recording = write_recording(tmp_path / "street.wav")
    listener.listen(recording, ["a dog"], tmp_path / "before", top=1)
    write_recording(recording, 30.0)
    os.utime(recording, ns=(0, 1))
    heard = listener.listen(recording, ["a dog"], tmp_path / "after", top=1)
    assert encoder.num_windows == 50
    assert heard.answers[0].duration_s == pytest.approx(30.0)


def test_silence_is_answered_as_predict_does_and_known_to_be_silent(tmp_path):
    silence = write_silence(tmp_path / "silence.wav", 20.0)
    listener = make_listener()
    heard = listener.listen(silence, ["a dog"], tmp_path / "cuts", top=1)
    assert heard.silent
    assert heard.answers[0].moments[0][:2] == MOMENTS[0]
    loud = write_recording(tmp_path / "street.wav")
    assert not listener.listen(loud, ["a dog"], tmp_path / "cuts", top=1).silent


def test_what_is_done_is_told_with_how_far_it_is(tmp_path):
    told = []
    recording = write_recording(tmp_path / "street.wav")
    listener = make_listener()
    listener.listen(recording, ["a dog"], tmp_path / "cuts", top=1, tell=lambda *what: told.append(what))
    assert ("Reading: 0:20", None) in told
    assert ("Listening: 0:20 of 0:20", pytest.approx(1.0)) in told
    assert [doing for doing, _ in told if not doing.startswith(("Reading", "Listening"))] == [
        "Answering",
        "Cutting the moments",
    ]


def test_a_search_that_is_stopped_leaves_the_listener_ready(tmp_path):
    def stop(doing, _share):
        if doing.startswith("Listening"):
            raise InterruptedError("stopped")

    recording = write_recording(tmp_path / "street.wav")
    listener = make_listener()
    with pytest.raises(InterruptedError, match="stopped"):
        listener.listen(recording, ["a dog"], tmp_path / "cuts", top=1, tell=stop)
    assert listener.listen(recording, ["a dog"], tmp_path / "cuts", top=1).answers[0].moments


def test_a_recording_that_is_gone_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: no such file; choose it again"):
        make_listener().listen(tmp_path / "gone.wav", ["a dog"], tmp_path / "cuts", top=1)
