from __future__ import annotations

import csv
import errno
import json
import re
import time
import zipfile
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from amr_model.web.keeping import KEPT_S, Keeper
from amr_model.web.searches import RESULTS
from tests.web.builders import MOMENTS, make_listener, write_recording

page = pytest.importorskip("amr_model.web.page", reason="needs the page: pip install '.[web]'")


@pytest.fixture
def keeper(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    return Keeper(folder)


def test_a_search_shows_moments_whose_files_are_there(tmp_path, keeper):
    recording = write_recording(tmp_path / "street & 'market'.wav")
    html = page.find(make_listener(), recording, "a dog\n a tram \n\n", keeper)
    (folder,) = keeper.searches.iterdir()
    assert f'data-search="{folder.name}"' in html
    addresses = set(re.findall(r'data-cut="gradio_api/file=([^"]+)"', html))
    assert {Path(unquote(unescape(address))) for address in addresses} == set(folder.glob("*.wav"))
    assert len(addresses) == 2 * len(MOMENTS)


def test_the_moments_can_be_taken_home(tmp_path, keeper):
    recording = write_recording(tmp_path / "street.wav")
    page.find(make_listener(), recording, "a dog, twice\na tram", keeper, top=2)
    (folder,) = keeper.searches.iterdir()
    lines = [json.loads(line) for line in (folder / "street-moments.json").read_text().splitlines()]
    assert [(line["recording"], line["query"]) for line in lines] == [
        ("street.wav", "a dog, twice"),
        ("street.wav", "a tram"),
    ]
    with (folder / "street-moments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["query"], row["rank"], float(row["start"])) for row in rows] == [
        (query, str(rank), MOMENTS[rank - 1][0]) for query in ("a dog, twice", "a tram") for rank in (1, 2)
    ]
    with zipfile.ZipFile(folder / "street-moments.zip") as archive:
        assert len(archive.namelist()) == 4
        assert archive.testzip() is None


def test_what_is_worked_on_is_not_removed_however_long_it_takes(tmp_path, keeper):
    upload = keeper.uploads / "hash"
    upload.mkdir()
    recording = write_recording(upload / "street.wav")

    def much_later(*_what):
        keeper.sweep(time.time() + 2 * KEPT_S)

    html = page.find(make_listener(), recording, "a dog", keeper, tell=much_later)
    assert 'class="moments"' in html
    assert recording.is_file()
    assert (next(keeper.searches.iterdir()) / RESULTS).read_text(encoding="utf-8") == html
    much_later()
    assert [*keeper.uploads.iterdir(), *keeper.searches.iterdir()] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "There is no sentence yet."),
        (" \n\t\n", "There is no sentence yet."),
        ("a dog\n" * 13, "These are 13 sentences."),
    ],
)
def test_a_wrong_text_is_told_on_the_page(tmp_path, keeper, text, problem):
    recording = write_recording(tmp_path / "street.wav")
    assert problem in page.find(make_listener(), recording, text, keeper)
    assert list(keeper.searches.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"this is no sound", b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_a_wrong_file_is_told_by_its_name_and_leaves_nothing_behind(tmp_path, keeper, content):
    wrong = tmp_path / "<notes>.wav"
    wrong.write_bytes(content)
    html = page.find(make_listener(), wrong, "a dog", keeper)
    assert 'role="alert"' in html
    assert "&lt;notes&gt;.wav" in html
    assert str(tmp_path) not in html
    assert list(keeper.searches.iterdir()) == []


def test_no_recording_is_told(keeper):
    assert "There is no recording yet." in page.find(make_listener(), None, "a dog", keeper)


def test_a_full_disk_is_told(tmp_path, keeper, monkeypatch):
    def no_space(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    listener = make_listener()
    monkeypatch.setattr(listener, "listen", no_space)
    html = page.find(listener, write_recording(tmp_path / "street.wav"), "a dog", keeper)
    assert list(keeper.searches.iterdir()) == []
    assert "cannot read or write a file: no space left on device." in html
