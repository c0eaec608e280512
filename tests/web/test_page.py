from __future__ import annotations

import errno
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.web.builders import MOMENTS, make_listener, write_recording, write_silence

page = pytest.importorskip("amr_model.web.page", reason="needs the page: pip install '.[web]'")


def test_a_search_shows_moments_whose_files_are_there(tmp_path):
    recording = write_recording(tmp_path / "street & 'market'.wav")
    html, folder = page.find(make_listener(), recording, "a dog\n a tram \n\n", tmp_path)
    assert folder is not None
    addresses = set(re.findall(r'data-cut="gradio_api/file=([^"]+)"', html))
    assert {Path(unquote(address)) for address in addresses} == set(folder.iterdir())
    assert len(addresses) == 2 * len(MOMENTS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "There is no sentence yet."),
        (" \n\t\n", "There is no sentence yet."),
        ("a dog\n" * 13, "These are 13 sentences."),
    ],
)
def test_a_wrong_text_is_told_on_the_page(tmp_path, text, problem):
    recording = write_recording(tmp_path / "street.wav")
    html, folder = page.find(make_listener(), recording, text, tmp_path)
    assert folder is None
    assert problem in html


@pytest.mark.parametrize("content", [b"", b"this is no sound", b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_a_wrong_file_is_told_by_its_name_and_leaves_nothing_behind(tmp_path, content):
    wrong = tmp_path / "<notes>.wav"
    wrong.write_bytes(content)
    html, folder = page.find(make_listener(), wrong, "a dog", tmp_path)
    assert folder is None
    assert 'role="alert"' in html
    assert "&lt;notes&gt;.wav" in html
    assert str(tmp_path) not in html
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_silence_is_told(tmp_path):
    html, _ = page.find(make_listener(), write_silence(tmp_path / "night.wav"), "a dog", tmp_path)
    assert "night.wav holds nothing but silence." in html


def test_no_recording_is_told(tmp_path):
    assert "There is no recording yet." in page.find(make_listener(), None, "a dog", tmp_path)[0]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def no_space(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    listener = make_listener()
    monkeypatch.setattr(listener, "listen", no_space)
    html, folder = page.find(listener, write_recording(tmp_path / "street.wav"), "a dog", tmp_path)
    assert folder is None
    assert "cannot read or write a file: no space left on device." in html
