"""Visitors' files: nobody else's, gone after an hour without use, and gone after the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from amr_model.web.keeping import KEPT_S, PREFIX, Keeper, scratch_folder


@pytest.fixture
def keeper(tmp_path):
    return Keeper(tmp_path)


def test_files_go_an_hour_after_they_came(keeper):
    upload = keeper.uploads / "hash" / "street.wav"
    upload.parent.mkdir()
    upload.write_bytes(b"sound")
    search = keeper.new_search()
    keeper.sweep(time.time() + KEPT_S - 60)
    assert upload.is_file()
    assert search.is_dir()
    keeper.sweep(time.time() + KEPT_S + 60)
    assert [*keeper.uploads.iterdir(), *keeper.searches.iterdir()] == []


def test_nothing_goes_while_it_is_used_by_anybody(keeper):
    upload = keeper.uploads / "hash" / "street.wav"
    upload.parent.mkdir()
    upload.write_bytes(b"sound")
    with keeper.using(upload):
        with keeper.using(upload):
            keeper.sweep(time.time() + 10 * KEPT_S)
        keeper.sweep(time.time() + 10 * KEPT_S)
        assert upload.is_file()
    keeper.sweep(time.time() + 10 * KEPT_S)
    assert not upload.exists()


def test_a_search_that_is_looked_at_again_stays(keeper, monkeypatch):
    search = keeper.new_search()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + KEPT_S - 60)
    assert keeper.find_search(search.name) == search
    keeper.sweep(now + KEPT_S + 60)
    assert search.is_dir()


@pytest.mark.parametrize("name", ["", ".", "..", "../uploads", "/etc", "other"])
def test_a_name_that_is_no_search_finds_nothing(keeper, name):
    keeper.new_search()
    assert keeper.find_search(name) is None


def test_names_of_searches_cannot_be_guessed_and_others_cannot_read_them(keeper):
    searches = {keeper.new_search() for _ in range(10)}
    assert len(searches) == 10
    for search in searches:
        assert len(search.name) >= 20
        assert search.stat().st_mode & 0o077 == 0


def test_files_outside_are_never_removed(tmp_path, keeper):
    outside = tmp_path / "mine.wav"
    outside.write_bytes(b"sound")
    with keeper.using(outside):
        pass
    keeper.sweep(time.time() + 10 * KEPT_S)
    assert outside.is_file()


def test_what_a_killed_server_left_goes_at_the_next_start_and_a_living_ones_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = (
        "import time\n"
        "from amr_model.web.keeping import scratch_folder\n"
        "with scratch_folder() as folder:\n"
        "    print(folder, flush=True)\n"
        "    time.sleep(600)\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert killed.stdout is not None
    left = tmp_path / killed.stdout.readline().strip()
    try:
        with scratch_folder() as mine:
            assert left.is_dir(), "its server lives"
            assert mine.is_dir()
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    assert left.is_dir()
    with scratch_folder() as mine:
        assert [path.name for path in tmp_path.glob(f"{PREFIX}*")] == [mine.name]
    assert list(tmp_path.glob(f"{PREFIX}*")) == []
