"""Every format, opened again by another reader: times survive to a millisecond, texts do no harm."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
import srt
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid as praat

from amr_model.answer.answers import Answer
from amr_model.answer.exports.audacity import label_track
from amr_model.answer.exports.labels import label
from amr_model.answer.exports.raven import COLUMNS as RAVEN_COLUMNS
from amr_model.answer.exports.raven import UNKNOWN_TOP_HZ, selection_table
from amr_model.answer.exports.reaper import region_table
from amr_model.answer.exports.subtitles import subtitles
from amr_model.answer.exports.table import CLOCK_COLUMNS, COLUMNS, as_csv, moments_table
from amr_model.answer.exports.textgrid import text_grid
from clotho_long.audio.io import write_audio
from clotho_long.core.texts import cell, one_line
from tests.answer.exports.builders import HARD_TEXTS, answers_for_one_recording, hard_texts, make_answer
from tests.builders import noise

MS = 0.001001  # a millisecond, and what binary fractions add to it


def heard(answers: list[Answer]) -> list[tuple[float, float]]:
    """The times of all moments, in order."""
    return sorted(moment[:2] for answer in answers for moment in answer.moments)


def same_times(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> bool:
    return len(found) == len(expected) and all(
        abs(a - b) < MS
        for one, other in zip(found, expected, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def read_labels(text: str) -> list[tuple[float, float, str]]:
    """Audacity's label format, from its manual: onset, offset and label, between tabs, a line each."""
    rows = [line.split("\t") for line in text.split("\n")[:-1]]
    assert all(len(row) == 3 for row in rows)
    return [(float(onset), float(offset), name) for onset, offset, name in rows]


def read_table(text: str, delimiter: str) -> list[dict[str, str]]:
    text.encode()
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def seconds_of(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    assert len(minutes) == 2
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


# Texts


@given(hard_texts())
def test_a_label_is_one_line_of_unicode(text):
    line = one_line(text)
    assert line == line.strip() != ""
    assert line.encode().decode().splitlines() == [line]
    assert "\t" not in line
    assert one_line(line) == line
    assert not cell(text).startswith(("=", "+", "-", "@"))


def test_a_text_without_trouble_stays_as_it_is():
    for text in ("a dog barks", "é 日本語 🎧", 'he says "yes"', "a, b; c", "1"):
        assert one_line(text) == cell(text) == text
    assert label("a dog barks", 0.8349) == "a dog barks (0.83)"


# csv


@given(answers_for_one_recording())
def test_a_table_holds_every_number_as_it_is_and_a_line_a_moment(answers):
    text = as_csv(moments_table(answers))
    assert text.count("\n") == 1 + len(heard(answers))
    rows = read_table(text, ",")
    assert [tuple(map(float, (r["start"], r["end"], r["score"]))) for r in rows] == [
        tuple(moment) for answer in answers for moment in answer.moments
    ]
    assert [row["query"] for row in rows] == [cell(a.query) for a in answers for _ in a.moments]
    assert [int(row["rank"]) for row in rows] == [
        rank for answer in answers for rank in range(1, len(answer.moments) + 1)
    ]
    again = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert list(again.columns) == list(COLUMNS)
    assert len(again) == len(rows)


def test_a_table_says_presence_and_the_clock_where_they_are_known():
    began = datetime(2024, 1, 31, 23, 59)
    answers = [make_answer(presence=0.91, began=began), make_answer(recording="b.wav")]
    first, second = read_table(as_csv(moments_table(answers, with_clock=True)), ",")
    assert (first["presence"], second["presence"]) == ("0.91", "")
    assert [first[name] for name in CLOCK_COLUMNS] == ["2024-02-01T00:00:01.000", "2024-02-01T00:00:03.500"]
    assert [second[name] for name in CLOCK_COLUMNS] == ["", ""]
    assert first["recording"] == "walks/street.wav"


@pytest.mark.parametrize("with_clock", [False, True])
@pytest.mark.parametrize("one_ranking", [False, True])
@pytest.mark.parametrize("answers", [[], [make_answer(())]])
def test_a_table_without_moments_has_its_header(answers, with_clock, one_ranking):
    text = as_csv(moments_table(answers, with_clock=with_clock, one_ranking=one_ranking))
    (header,) = csv.reader(io.StringIO(text))
    assert header == [*COLUMNS, *(CLOCK_COLUMNS if with_clock else ())]


def test_one_ranking_counts_over_all_recordings_of_a_query():
    answers = [
        make_answer(((1, 2, 0.5), (3, 4, 0.2)), recording="a.wav"),
        make_answer(((5, 6, 0.9),), recording="a.wav", query="rain"),
        make_answer(((7, 8, 0.7), (9, 10, 0.3)), recording="b.wav"),
    ]
    rows = read_table(as_csv(moments_table(answers, one_ranking=True)), ",")
    assert [(row["query"], row["rank"], row["start"]) for row in rows] == [
        *(("a dog barks", "1", "7.0"), ("a dog barks", "2", "1.0")),
        *(("a dog barks", "3", "9.0"), ("a dog barks", "4", "3.0"), ("rain", "1", "5.0")),
    ]


# Audacity


@given(answers_for_one_recording())
def test_a_label_track_has_every_moment_in_order(answers):
    rows = read_labels(label_track(answers))
    assert same_times([row[:2] for row in rows], heard(answers))
    names = sorted(label(answer.query, moment.score) for answer in answers for moment in answer.moments)
    assert sorted(name for *_, name in rows) == names


# Raven


@given(answers_for_one_recording(), answers_for_one_recording())
def test_a_selection_table_says_places_in_the_sequence_and_in_the_file(first, second):
    second = [
        make_answer(a.moments, recording="b.wav", query=a.query, duration_s=a.duration_s) for a in second
    ]
    text = selection_table([*first, *second], top_of=lambda path: 8000.0)
    rows = read_table(text, "\t")
    assert text.split("\n")[0].split("\t") == list(RAVEN_COLUMNS)
    assert text.count("\n") == 1 + len(rows), "no text broke a line"
    assert [row["Selection"] for row in rows] == [str(at) for at in range(1, len(rows) + 1)]
    for answers, name, start_s in ((first, "street.wav", 0.0), (second, "b.wav", first[0].duration_s)):
        own = [row for row in rows if row["Begin File"] == name]
        begins = [float(row["Begin Time (s)"]) - start_s for row in own]
        ends = [float(row["End Time (s)"]) - start_s for row in own]
        assert same_times(list(zip(begins, ends, strict=True)), heard(answers))
        assert all(abs(float(row["File Offset (s)"]) - at) < MS for row, at in zip(own, begins, strict=True))
        assert all(Path(row["Begin Path"]).is_absolute() for row in own)


def test_a_selection_reaches_up_to_half_the_recording_s_rate(tmp_path):
    write_audio(tmp_path / "a.wav", noise(2.0, rate_hz=16_000), 16_000)
    answers = [
        make_answer(recording=str(tmp_path / "a.wav")),
        make_answer(recording=str(tmp_path / "gone.wav")),
    ]
    tops = [float(row["High Freq (Hz)"]) for row in read_table(selection_table(answers), "\t")]
    assert tops == [8000, UNKNOWN_TOP_HZ]


def test_a_selection_table_without_moments_has_its_header():
    for answers in ([], [make_answer(())]):
        assert selection_table(answers) == "\t".join(RAVEN_COLUMNS) + "\n"


# Praat


def read_grid(text: str, folder: Path) -> praat.Textgrid:
    """By praatio, which is not Praat: it takes `item [` within a text for a tier."""
    file = folder / "a.TextGrid"
    file.write_text(text, encoding="utf-8", newline="\n")
    return praat.openTextgrid(str(file), includeEmptyIntervals=True, reportingMode="error")


def values_of(text: str) -> list[str | float]:
    """What Praat reads, by its manual: free-standing numbers, flags and quoted texts, in order."""
    found = re.findall(r'"((?:[^"]|"")*)"|(?<=\s)(-?[0-9]+(?:\.[0-9]*)?|<[a-z]+>)(?=\s)', text)
    return [quoted.replace('""', '"') if not free or quoted else _free(free) for quoted, free in found]


def _free(text: str) -> str | float:
    return text if text.startswith("<") else float(text)


@given(answers_for_one_recording())
def test_praat_s_rules_find_every_moment_whatever_a_query_says(answers):
    values = iter(values_of(text_grid(answers)))
    assert [next(values) for _ in range(3)] == ["ooTextFile", "TextGrid", 0]
    end_s = next(values)
    assert next(values) == "<exists>"
    found, names = [], []
    for _ in range(int(next(values))):
        assert next(values) == "IntervalTier"
        names.append(next(values))
        assert (next(values), next(values)) == (0, end_s)
        for _ in range(int(next(values))):
            onset_s, offset_s, score = next(values), next(values), next(values)
            found += [(onset_s, offset_s)] if score else []
    assert not list(values)
    assert same_times(sorted(found), heard(answers))
    assert {one_line(answer.query) for answer in answers} <= set(names)
    assert len(set(names)) == len(names)


@given(answers_for_one_recording())
def test_a_text_grid_has_tiers_that_are_whole(tmp_path_factory, answers):
    answers = [dataclasses.replace(a, query=a.query.replace("[", "(")) for a in answers]
    grid = read_grid(text_grid(answers), tmp_path_factory.mktemp("grid"))
    found = []
    for tier in grid.tiers:
        assert tier.minTimestamp == 0
        assert abs(tier.maxTimestamp - answers[0].duration_s) < MS
        assert tier.entries[0].start == 0
        assert tier.entries[-1].end == tier.maxTimestamp
        assert all(a.end == b.start for a, b in zip(tier.entries[:-1], tier.entries[1:], strict=True))
        found += [(entry.start, entry.end) for entry in tier.entries if entry.label]
    assert same_times(sorted(found), heard(answers))
    assert {one_line(answer.query) for answer in answers} <= set(grid.tierNames)


def test_moments_that_overlap_go_into_further_tiers(tmp_path):
    moments = ((0.0, 4.0, 0.9), (2.0, 6.0, 0.8), (4.0, 8.0, 0.7), (5.0, 5.5, 0.6), (80.0, 95.0, 0.5))
    answers = [make_answer(moments, query='a "dog"'), make_answer((), query='a "dog" (2)')]
    grid = read_grid(text_grid(answers), tmp_path)
    assert grid.tierNames == ('a "dog"', 'a "dog" (2)', 'a "dog" (3)', 'a "dog" (2) (2)')
    labels = [[(e.start, e.end, e.label) for e in tier.entries if e.label] for tier in grid.tiers]
    assert labels == [
        [(0, 4, "0.90"), (4, 8, "0.70"), (80, 90, "0.50")],  # no further than the recording
        [(2, 6, "0.80")],
        [(5, 5.5, "0.60")],
        [],
    ]


# Reaper


@given(answers_for_one_recording(), st.sampled_from(HARD_TEXTS))
def test_regions_lie_one_recording_after_the_other(first, name):
    second = make_answer(((1.0, 2.5, 0.5),), recording=name)
    rows = read_table(region_table([*first, second]), ",")
    assert [row["#"] for row in rows] == [f"R{at}" for at in range(1, len(rows) + 1)]
    times = [(seconds_of(row["Start"]), seconds_of(row["End"])) for row in rows]
    start_s = first[0].duration_s
    assert same_times(times, [*heard(first), (start_s + 1.0, start_s + 2.5)])
    for row, (onset_s, offset_s) in zip(rows, times, strict=True):
        assert seconds_of(row["Length"]) == pytest.approx(offset_s - onset_s, abs=1e-6)
        assert not row["Name"].startswith(("=", "+", "-", "@"))
    assert rows[-1]["Name"] == cell(f"a dog barks (0.50) {Path(name).name}")


def test_regions_of_one_recording_are_named_by_the_query_alone():
    (row,) = read_table(region_table([make_answer(((3661.0, 3663.5, 0.8),), duration_s=4000.0)]), ",")
    assert list(row.values()) == ["R1", "a dog barks (0.80)", "1:01:01.000", "1:01:03.500", "0:00:02.500"]
    assert region_table([]) == "#,Name,Start,End,Length\n"


# Subtitles


@given(answers_for_one_recording())
def test_subtitles_have_every_moment_and_no_text_is_taken_for_a_time(answers):
    text = subtitles(answers)
    cues = list(srt.parse(text))
    assert same_times([(c.start.total_seconds(), c.end.total_seconds()) for c in cues], heard(answers))
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    assert text.count("-->") == len(cues)
    assert all("\n" not in cue.content and cue.content for cue in cues)
    text.encode()


def test_a_subtitle_says_hours_and_no_more_than_a_line():
    text = subtitles([make_answer(((360_061.0, 360_063.5, 0.8),), query="a --> b\n\nc", duration_s=4e5)])
    assert text == "1\n100:01:01,000 --> 100:01:03,500\na -> b  c (0.80)\n\n".replace("b  c", "b c")
