from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from clotho_long.audio.io import write_audio
from clotho_long.core.errors import ConfigError, ManifestError
from clotho_long.sources.clotho import (
    FOLDER_OF_SPLIT,
    CaptionedFile,
    find_events,
    measure_event,
    read_captions,
)
from clotho_long.sources.records import Foreground, Skipped
from clotho_long.sources.walking_tours import PUBLISHED_SPLITS, TourFile, find_tours, split_recordings
from tests.builders import make_tours, noise, tone, write_captions

FIVE = ["one", "two", "three", "four", "five"]
HEADER = b"file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
# The three names of the real Clotho that begin with a blank.
BLANK_NAMES = {
    "train": (" Ambience Birds.wav", " typical neighborhood in Porto.wav"),
    "valid": (" e ieio ieai.wav",),
}


def captioned(
    file: str, *, event_id: str | None = None, captions: tuple[str, ...] = tuple(FIVE)
) -> CaptionedFile:
    """A file of the development split, joined with its row."""
    return CaptionedFile(
        split="train",
        event_id=Path(file).stem if event_id is None else event_id,
        file=f"development/{file}",
        captions=captions,
    )


def test_files_and_rows_are_joined_and_what_does_not_fit_is_skipped(tmp_path: Path) -> None:
    for name in ("kept, [a] 'b'.wav", "no row.wav"):
        write_audio(tmp_path / "development" / name, tone(440, 2.0, rate_hz=44_100), 44_100)
    write_captions(
        tmp_path,
        "train",
        {"kept, [a] 'b'.wav": FIVE, "no file.wav": FIVE, "no row but blank.wav": [""] * 5},
        encoding="utf-8-sig",  # with a byte-order mark
    )
    found = list(find_events(tmp_path))
    assert [f for f in found if isinstance(f, CaptionedFile)] == [captioned("kept, [a] 'b'.wav")]
    assert {(f.file, f.reason) for f in found if isinstance(f, Skipped)} == {
        ("development/no file.wav", "has captions but no file"),
        ("development/no row but blank.wav", "has captions but no file"),
        ("development/no row.wav", "has no captions"),
    }


def test_a_row_of_empty_captions_is_skipped_and_a_single_empty_one_keeps_its_place(tmp_path: Path) -> None:
    for name in ("blank.wav", "partly.wav"):
        write_audio(tmp_path / "development" / name, tone(440, 2.0), 32_000)
    write_captions(
        tmp_path, "train", {"blank.wav": [" "] * 5, "partly.wav": ["one", "", "three", "four", "five"]}
    )
    found = list(find_events(tmp_path))
    assert Skipped(file="development/blank.wav", reason="has only empty captions") in found
    assert captioned("partly.wav", captions=("one", "", "three", "four", "five")) in found


def test_the_same_sound_under_another_suffix_is_found(tmp_path: Path) -> None:
    write_audio(tmp_path / "development" / "dog.flac", tone(440, 2.0), 32_000)
    write_captions(tmp_path, "train", {"dog.wav": FIVE})
    (found,) = find_events(tmp_path)
    assert found == captioned("dog.flac")


@pytest.mark.parametrize("in_csv", [True, False], ids=["csv as published", "csv stripped"])
@pytest.mark.parametrize("on_disk", [True, False], ids=["disk as published", "disk stripped"])
def test_names_that_begin_with_a_blank_keep_it_unless_both_sides_lost_it(
    tmp_path: Path, in_csv: bool, on_disk: bool
) -> None:
    for split, names in BLANK_NAMES.items():
        for name in names:
            file = name if on_disk else name.strip()
            write_audio(tmp_path / FOLDER_OF_SPLIT[split] / file, tone(440, 2.0), 32_000)
        write_captions(tmp_path, split, {name if in_csv else name.strip(): [" a "] * 5 for name in names})
    found = list(find_events(tmp_path))
    kept = in_csv or on_disk
    wanted = [Path(name if kept else name.strip()).stem for names in BLANK_NAMES.values() for name in names]
    assert [f.event_id for f in found if isinstance(f, CaptionedFile)] == wanted
    assert all(f.captions == ("a",) * 5 for f in found if isinstance(f, CaptionedFile))


def test_a_name_is_the_same_however_its_accents_are_encoded(tmp_path: Path) -> None:
    composed, decomposed = "café.wav", unicodedata.normalize("NFD", "café.wav")
    assert composed != decomposed
    write_audio(tmp_path / "development" / decomposed, tone(440, 2.0), 32_000)
    write_captions(tmp_path, "train", {composed: FIVE})
    assert list(find_events(tmp_path)) == [captioned(decomposed, event_id="café")]


def test_two_names_that_differ_in_a_blank_are_two_events(tmp_path: Path) -> None:
    for name in ("rain .wav", "rain.wav"):
        write_audio(tmp_path / "development" / name, tone(440, 2.0), 32_000)
    write_captions(tmp_path, "train", {"rain.wav": FIVE, "rain .wav": FIVE})
    assert list(find_events(tmp_path)) == [captioned("rain .wav"), captioned("rain.wav")]


def test_rows_that_mean_one_file_are_an_error(tmp_path: Path) -> None:
    write_audio(tmp_path / "development" / "rain.wav", tone(440, 2.0), 32_000)
    write_captions(tmp_path, "train", {"rain.wav": FIVE, " rain.wav": FIVE})
    with pytest.raises(ManifestError, match=r"' rain\.wav' and 'rain\.wav' mean one file, 'rain\.wav'"):
        list(find_events(tmp_path))


def test_a_name_that_is_not_utf8_is_skipped_with_its_bytes(tmp_path: Path) -> None:
    write_audio(tmp_path / "development" / "good.wav", tone(440, 2.0), 32_000)
    write_captions(tmp_path, "train", {"good.wav": FIVE})
    for folder in (tmp_path / "development", tmp_path / "tours"):
        folder.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "development" / "good.wav", os.fsencode(folder) + b"/caf\xe9.wav")
    assert Skipped(file=r"development/caf\xe9.wav", reason="has a name that is not UTF-8") in list(
        find_events(tmp_path)
    )
    assert list(find_tours(tmp_path / "tours")) == [
        Skipped(file=r"caf\xe9.wav", reason="has a name that is not UTF-8")
    ]


def test_ambiguous_rows_are_errors(tmp_path: Path) -> None:
    write_audio(tmp_path / "development" / "dog.wav", tone(440, 2.0), 32_000)
    path = write_captions(tmp_path, "train", {"dog.wav": FIVE})
    path.write_text(path.read_text() + "dog.wav,a,b,c,d,e\n")
    with pytest.raises(ManifestError, match=r"file 'dog\.wav' has two rows"):
        list(find_events(tmp_path))
    write_audio(tmp_path / "development" / "dog.flac", tone(440, 2.0), 32_000)
    write_captions(tmp_path, "train", {"dog.wav": FIVE, "dog.flac": FIVE})
    with pytest.raises(ManifestError, match="differ in their suffix only"):
        list(find_events(tmp_path))


def test_a_folder_without_captions_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="holds no clotho_captions_"):
        list(find_events(tmp_path))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"name,caption_1\n", r"\.csv:1: has no column file_name"),
        (
            b"file_name,caption_1,caption_2,caption_3,caption_4,caption_5\na.wav,x,y\n",
            r"\.csv:2: 3 of 6 columns",
        ),
        (HEADER + b"\xff\xfe\xff\n", "cannot be read"),
        (
            HEADER + "a.wav,un caf\u00e9,b,c,d,e\n".encode("cp1252"),
            r"0xe9 is not UTF-8; is it windows-1252\?",
        ),
        (HEADER + b"a.wav,A dog barks, then a door slams,b,c,d,e\n", r"\.csv:2: 7 of 6 columns; put quotes"),
        (HEADER.replace(b",", b";"), r"\.csv:1: is separated by semicolons; save it with commas"),
        (HEADER.replace(b",", b"\t"), r"\.csv:1: is separated by tabs"),
    ],
)
def test_a_malformed_csv_is_an_error_with_its_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "captions.csv"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=complaint):
        list(read_captions(path))


def measured(root: Path, file: str) -> Foreground | Skipped:
    found = CaptionedFile(split="train", event_id=Path(file).stem, file=file, captions=tuple(FIVE))
    return measure_event(root, found, trim_db=5.0)


def test_an_event_is_measured_and_an_unusable_one_skipped_with_its_reason(tmp_path: Path) -> None:
    write_audio(tmp_path / "good.wav", tone(440, 3.5), 32_000)
    event = measured(tmp_path, "good.wav")
    assert isinstance(event, Foreground)
    assert (event.event_id, event.onset_s, event.duration_s, event.length_s) == ("good", 0, 3, 3.5)

    write_audio(tmp_path / "short.wav", tone(440, 0.4), 32_000)
    write_audio(tmp_path / "silent.wav", 0 * tone(440, 2.0), 32_000)
    (tmp_path / "text.wav").write_text("no sound")
    reasons = {name: measured(tmp_path, f"{name}.wav") for name in ("short", "silent", "text", "missing")}
    assert {name: item.reason for name, item in reasons.items() if isinstance(item, Skipped)} == {
        "short": "lasts 0.40 s: no whole second survives trimming",
        "silent": "is silent",
        "text": "is not audio that can be decoded (Invalid data found when processing input)",
        "missing": "no such file",
    }


def test_tours_of_the_published_names_get_the_published_split(tmp_path: Path) -> None:
    root = make_tours(tmp_path, 1.0, names=("Singapore", "Venice", "Wildlife", "Amsterdam"))
    names = [tour.background_id for tour in find_tours(root) if isinstance(tour, TourFile)]
    assert split_recordings(names, "published", where="") == {
        "Amsterdam": "train",
        "Singapore": "valid",
        "Venice": "train",
        "Wildlife": "test",
    }
    with pytest.raises(
        ConfigError, match=r"'My garden' is none of the ten published recordings; use --split ratio"
    ):
        split_recordings([*names, "My garden"], "published", where="")


def test_two_recordings_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    for folder in ("2021", "2022"):
        write_audio(tmp_path / folder / "Venice.wav", noise(1.0), 32_000)
    with pytest.raises(ManifestError, match=r"2022.Venice\.wav: has the same name as .*2021.Venice\.wav"):
        list(find_tours(tmp_path))


@pytest.mark.parametrize(
    ("count", "rule", "sizes"),
    [
        (10, "ratio:7,1,2", (7, 1, 2)),
        (5, "ratio:7,1,2", (3, 1, 1)),
        (3, "ratio:7,1,2", (1, 1, 1)),
        (4, "ratio:1,0,1", (2, 0, 2)),
    ],
)
def test_a_ratio_splits_the_sorted_names(count: int, rule: str, sizes: tuple[int, ...]) -> None:
    names = [f"tour {index:02d}" for index in range(count)]
    split_of = split_recordings(reversed(names), rule, where="")
    assert list(split_of) == names
    assert tuple(list(split_of.values()).count(split) for split in ("train", "valid", "test")) == sizes


def test_the_published_split_is_the_ratio_of_seven_one_two() -> None:
    assert [len(PUBLISHED_SPLITS[split]) for split in ("train", "valid", "test")] == [7, 1, 2]


@pytest.mark.parametrize(
    "rule",
    ["ratio:7,1", "ratio:a,b,c", "half", "ratio:0,0,0", "ratio:-1,1,1", "ratio:nan,1,1", "ratio:inf,1,1"],
)
def test_a_malformed_split_is_an_error(rule: str) -> None:
    with pytest.raises(ConfigError, match="is no split"):
        split_recordings(["a", "b", "c"], rule, where="")
