"""Files of answers: where they lie, what is refused, and what is there after Ctrl-C."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from amr_model.answer.answers import Answer
from amr_model.answer.exports.choice import Exports, check_place, check_table
from amr_model.answer.exports.cuts import cut_moments
from amr_model.answer.exports.naming import prefixes
from amr_model.answer.exports.writing import exporting, write_exports
from clotho_long.audio.io import write_audio
from clotho_long.core.errors import ConfigError
from clotho_long.core.wall_clock import ClockPattern
from tests.answer.exports.builders import make_answer
from tests.builders import files_below, noise

RATE_HZ = 8000


@pytest.fixture
def street(tmp_path) -> Answer:
    """Five seconds of sound, with two moments in it."""
    path = tmp_path / "street.wav"
    write_audio(path, noise(5.0, rate_hz=RATE_HZ), RATE_HZ)
    return make_answer(((1.0, 2.0, 0.9), (3.5, 4.75, 0.5)), recording=str(path), duration_s=5.0)


def all_exports(folder: Path, **others: object) -> Exports:
    names = {name: folder / f"{name}.csv" for name in ("csv", "raven", "reaper")}
    folders = {name: folder / name for name in ("audacity", "textgrid", "srt", "cut")}
    return Exports(**names, **folders, **others)  # type: ignore[arg-type]


EACH = ["audacity/street.txt", "srt/street.srt", "textgrid/street.TextGrid"]
TABLES = ["csv.csv", "raven.csv", "reaper.csv"]
CUTS = ["cut/street-01-1-2s.wav", "cut/street-02-3.5-4.75s.wav"]


def test_everything_is_written_and_nothing_else(tmp_path, street):
    out = tmp_path / "out"
    write_exports(all_exports(out), [street])
    assert sorted(files_below(out)) == sorted([*EACH, *TABLES, *CUTS])
    before = files_below(out)
    write_exports(all_exports(out), [street])
    assert files_below(out) == before
    write_exports(Exports(), [street])
    assert files_below(out) == before


def test_nothing_found_is_an_empty_file_or_a_header(tmp_path, street):
    out = tmp_path / "out"
    nothing = make_answer((), recording=str(street.recording), duration_s=5.0)
    write_exports(all_exports(out), [nothing])
    assert sorted(files_below(out)) == sorted([*EACH, *TABLES])
    assert (out / "srt/street.srt").read_bytes() == (out / "audacity/street.txt").read_bytes() == b""
    assert len(pd.read_csv(out / "csv.csv")) == 0
    write_exports(all_exports(tmp_path / "none"), [])
    assert sorted(files_below(tmp_path / "none")) == TABLES


@pytest.mark.parametrize(
    "names", [("a/x.wav", "b/x.wav"), ("a/x.wav", "b/X.flac"), (f"{'x' * 250}.w", f"{'x' * 249}.w")]
)
def test_recordings_of_one_name_keep_their_own_files(tmp_path, names):
    answers = [make_answer(recording=name) for name in names]
    write_exports(Exports(srt=tmp_path, audacity=tmp_path, textgrid=tmp_path), answers)
    assert len(files_below(tmp_path)) == 6
    assert all(name.startswith(("r1-", "r2-")) for name in files_below(tmp_path))


def test_recordings_of_different_names_keep_their_names(tmp_path):
    assert set(prefixes([Path("a/x.wav"), Path("a/x.wav"), Path("y.wav")]).values()) == {""}


@pytest.mark.parametrize(
    "name", [b"caf\xe9.wav", b"\xff.wav", "日本語.wav".encode(), b"=cmd().wav", b"-x.wav"]
)
def test_names_that_are_odd_or_no_text_do_no_harm(tmp_path, name):
    write_audio(tmp_path / "a.wav", noise(2.0, rate_hz=RATE_HZ), RATE_HZ)
    recording = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    os.rename(tmp_path / "a.wav", recording)
    out = tmp_path / "out"
    answer = make_answer(((0.5, 1.0, 0.5),), recording=recording, duration_s=2.0)
    write_exports(all_exports(out, clock=ClockPattern("%Y%m%d%H")), [answer])
    assert len(files_below(out)) == 7
    for file in files_below(out):
        file.encode()  # is text


def test_what_was_answered_before_an_interruption_is_exported(tmp_path, street):
    out = tmp_path / "out"

    def interrupted() -> None:
        exports = all_exports(out, plot=out / "p.png")
        with exporting(exports, [street.recording, tmp_path / "other.wav"]) as export:
            export([street])
            assert sorted(files_below(out)) == sorted([*EACH, *CUTS]), "one recording's files do not wait"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(files_below(out)) == sorted([*EACH, *TABLES, *CUTS])
    assert len(pd.read_csv(out / "csv.csv")) == 2


def test_an_interruption_before_any_answer_leaves_earlier_tables_alone(tmp_path, street):
    out = tmp_path / "out"
    write_exports(all_exports(out), [street])
    before = files_below(out)
    with pytest.raises(KeyboardInterrupt), exporting(all_exports(out), [street.recording]):
        raise KeyboardInterrupt
    assert files_below(out) == before


@given(
    st.integers(0, 4999),
    st.integers(1, 5000),
    st.one_of(st.integers(0, 9000), st.just(10**300)),
    st.booleans(),
)
def test_a_cut_is_padded_as_far_as_the_recording_goes(tmp_path_factory, onset_ms, length_ms, pad_ms, longer):
    folder = tmp_path_factory.mktemp("cut")
    recording = folder / "a.wav"
    write_audio(recording, noise(5.0, rate_hz=RATE_HZ), RATE_HZ)
    whole, _ = soundfile.read(recording, dtype="int16")
    offset_ms = min(onset_ms + length_ms, 5000)
    # a noted duration may be a little off
    answer = make_answer(
        ((onset_ms / 1000, offset_ms / 1000, 0.5),),
        recording=str(recording),
        duration_s=5.2 if longer else 5.0,
    )
    (file,) = cut_moments(answer, folder / "cut", pad_s=pad_ms / 1000)
    piece, rate_hz = soundfile.read(file, dtype="int16")
    first, last = (at * RATE_HZ // 1000 for at in (max(onset_ms - pad_ms, 0), min(offset_ms + pad_ms, 5000)))
    assert rate_hz == RATE_HZ
    assert len(piece) == last - first
    assert abs(piece.astype(int) - whole[first:last]).max() <= 1


def test_answers_are_put_on_the_clock_and_what_has_no_date_is_noted(caplog):
    exports = Exports(clock=ClockPattern("%Y%m%d_%H%M%S"))
    answers = [
        make_answer(recording="S4_20240131_060000.wav"),
        *(make_answer(recording="street.wav", query=query) for query in ("a dog", "rain")),
    ]
    first, *others = exports.on_the_clock(answers)
    assert first.to_json()["moments"] == [
        {
            "rank": 1,
            "start": 61.0,
            "end": 63.5,
            "score": 0.75,
            "clock_start": "2024-01-31T06:01:01.000",
            "clock_end": "2024-01-31T06:01:03.500",
        }
    ]
    assert "1:01 - 1:03.5   0.7500   2024-01-31T06:01:01.000\n" in first.to_text()
    assert others == answers[1:]
    assert [record.getMessage() for record in caplog.records] == [
        "note: street.wav: its name holds no %Y%m%d_%H%M%S; its moments get no clock times"
    ]
    assert Exports().on_the_clock(answers) == answers


def test_places_that_cannot_be_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "new" / "deep" / "x.csv", tmp_path / "x.csv", tmp_path, Path("x.csv")):
        check_place(path, "--csv")
    for path, message in (
        (tmp_path / "file" / "x.csv", "is a file, not a folder"),
        (tmp_path / "file" / "deep" / "x.csv", "is a file, not a folder"),
        (tmp_path / ("x" * 300), "cannot be written"),
        (Path("/dev/null"), "is a device, not a file"),
    ):
        with pytest.raises(ConfigError, match=message) as refused:
            check_place(path, "--csv")
        assert refused.value.is_usage
    for name in ("x.wav", "x", "x.csv.gz"):
        with pytest.raises(ConfigError, match=r"names no table; end it in \.csv, \.tsv, \.txt"):
            check_table(tmp_path / name, "--csv")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ConfigError, match="cannot be written to; check the permissions"):
        check_table(tmp_path / "x.csv", "--csv")
