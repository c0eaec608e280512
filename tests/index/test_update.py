"""An index stays true to its recordings, and hears nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from amr_model.index.catalog import FEATURES, RECORDINGS, SETTINGS, VECTORS, Hearing, read_catalog
from amr_model.index.check import check_index
from amr_model.index.update import update_index
from amr_model.index.vectors import VectorStore
from clotho_long.core.errors import ClothoLongError, ConfigError, FeatureError, ManifestError
from clotho_long.core.files import fingerprint_file
from clotho_long.core.work import Workers
from tests.index import standin
from tests.index.standin import NAME, SixBands, write_sound

HEARING = Hearing(encoder=NAME)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
    standin.install(monkeypatch)


@pytest.fixture
def walks(tmp_path):
    for at in range(4):
        write_sound(tmp_path / "walks" / f"w{at}.wav", [(at, 10, 14)], seed=at, length_s=20)
    settle(tmp_path / "walks")
    return tmp_path / "walks"


def settle(folder) -> None:
    """As if nothing had been changed for a minute: a file that is new is read again, to be sure."""
    past = time.time() - 60
    for path in folder.rglob("*.wav"):
        os.utime(path, (past, past))


def update(folder, *paths, hearing=HEARING, forget=(), jobs=1):
    return update_index(folder, paths, hearing, forget=forget, device="cpu", workers=Workers(jobs=jobs))


def problems_of(folder) -> list[str]:
    return [str(problem) for problem in check_index(folder)[1]]


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_what_is_added_changed_moved_and_removed_costs_what_it_is(tmp_path, walks):
    index = tmp_path / "index"
    changes = update(index, walks)
    assert (changes.recordings, changes.heard, len(changes.added)) == (4, 4, 4)
    assert read_catalog(index).space_dim == 6
    write_sound(walks / "new" / "w9.wav", seed=9, length_s=20)  # added
    write_sound(walks / "w0.wav", seed=10, length_s=21)  # changed
    (walks / "w1.wav").rename(walks / "new" / "renamed.wav")
    (walks / "w2.wav").unlink()
    SixBands.heard = 0
    changes = update(index)
    assert names(changes.added) == ["w9.wav"]
    assert names(changes.changed) == ["w0.wav"]
    assert names(changes.moved) == ["renamed.wav"]
    assert names(changes.removed) == ["w2.wav"]
    assert (changes.recordings, changes.heard, SixBands.heard) == (4, 2, 20 + 21)
    assert problems_of(index) == []
    assert len(list((index / FEATURES / "clap").iterdir())) == 4
    again = update(index)
    assert (again.heard, again.added, again.moved) == (0, (), ())


def test_what_did_not_change_is_not_even_read(tmp_path, walks, monkeypatch):
    index = tmp_path / "index"
    update(index, walks)
    monkeypatch.setattr("amr_model.index.update.fingerprint_file", None)
    assert update(index).recordings == 4


def test_copies_are_heard_once(tmp_path, walks):
    (walks / "copy.wav").write_bytes((walks / "w0.wav").read_bytes())
    changes = update(tmp_path / "index", walks)
    assert (changes.recordings, changes.heard) == (5, 4)
    assert problems_of(tmp_path / "index") == []


def test_a_folder_that_is_not_there_costs_nothing(tmp_path, walks):
    index = tmp_path / "index"
    update(index, walks)
    walks.rename(tmp_path / "elsewhere")
    with pytest.raises(ClothoLongError, match="held 4 recordings and holds none now; mount it"):
        update(index)
    assert read_catalog(index).entries
    assert update(index, tmp_path / "elsewhere", forget=[walks]).heard == 0
    assert {path.parent.name for path in read_catalog(index).entries} == {"elsewhere"}
    assert update(index, forget=[tmp_path / "elsewhere"]).recordings == 0
    assert problems_of(index) == []


def test_a_recording_that_cannot_be_read_is_named_and_the_others_are_there(tmp_path, walks):
    (walks / "broken.wav").write_bytes(b"RIFF")
    changes = update(tmp_path / "index", walks)
    assert changes.recordings == 4
    (problem,) = changes.problems
    assert "broken.wav" in str(problem)
    assert problems_of(tmp_path / "index") == []


def test_an_index_hears_in_one_way(tmp_path, walks):
    index = tmp_path / "index"
    update(index, walks)
    with pytest.raises(ConfigError, match="was made with windows aligned, not centred"):
        update(index, hearing=Hearing(encoder=NAME, windows="centred"))
    with pytest.raises(ConfigError, match="was made with encoder six-bands, not logmel"):
        update(index, hearing=Hearing(encoder="logmel"))
    with pytest.raises(ConfigError, match="is not looked after; name one of"):
        update(index, forget=[tmp_path / "other"])
    with pytest.raises(ConfigError, match="nothing is to be indexed"):
        update(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_other_weights_are_refused(tmp_path, walks, monkeypatch):
    update(tmp_path / "index", walks)
    monkeypatch.setattr(SixBands, "provenance", lambda self: {"name": self.name, "version": 2})
    from clotho_long.features import extract

    extract._provenance.cache_clear()
    with pytest.raises(FeatureError, match="was made by another six-bands"):
        update(tmp_path / "index")
    extract._provenance.cache_clear()


def test_the_check_names_everything_that_is_wrong(tmp_path, walks):
    index = tmp_path / "index"
    update(index, walks)
    entries = read_catalog(index).entries
    ids = {path.name: entry.features_id for path, entry in entries.items()}
    store = VectorStore(index / VECTORS, 6)
    store.remove([ids["w0.wav"]])
    store.add([("f" * 32, np.eye(6, dtype=np.float32))])
    (index / FEATURES / "clap" / f"{ids['w1.wav']}.npz").write_bytes(b"torn")
    (walks / "w2.wav").unlink()
    write_sound(walks / "w3.wav", seed=77)
    (index / FEATURES / "clap" / "orphan.npz").write_bytes(b"")
    said = problems_of(index)
    for part in (
        "w2.wav: cannot be read",
        "w3.wav: was changed since it was heard",
        f"{ids['w1.wav']}.npz: is not a readable npz file",
        "orphan.npz: belongs to no recording",
        "holds 0 of 20 vectors of",
        f"holds 6 vectors of {'f' * 32}, which is no recording",
    ):
        assert sum(part in line for line in said) == 1, (part, said)
    assert len(said) == 6
    (index / FEATURES / "clap" / f"{ids['w1.wav']}.npz").unlink()
    update(index)
    assert problems_of(index) == []  # running it again mends all


@pytest.mark.parametrize(
    "damage", ["", "5", "{", '{"format": 99}', '{"format": 1}', '{"format": 1, "hearing": 3}']
)
def test_a_damaged_index_is_one_line(tmp_path, walks, damage):
    index = tmp_path / "index"
    update(index, walks)
    (index / SETTINGS).write_text(damage)
    with pytest.raises(ManifestError):
        read_catalog(index)


def test_a_damaged_list_of_recordings_names_its_line(tmp_path, walks):
    index = tmp_path / "index"
    update(index, walks)
    line = (index / RECORDINGS).read_text().splitlines()[0]
    (index / RECORDINGS).write_text(f"{line}\n{json.dumps({**json.loads(line), 'content': 5})}\n")
    with pytest.raises(ManifestError, match=r"recordings.jsonl:2: malformed"):
        read_catalog(index)


def test_float16_takes_half_and_says_nearly_the_same(tmp_path, walks):
    update(tmp_path / "full", walks)
    half = Hearing(encoder=NAME, float16=True)
    update(tmp_path / "half", walks, hearing=half)
    full, small = read_catalog(tmp_path / "full"), read_catalog(tmp_path / "half")
    for path, entry in full.entries.items():
        exact, rounded = full.features(entry), small.features(small.entries[path])
        assert rounded.dtype == np.float32
        np.testing.assert_allclose(rounded, exact, rtol=5e-4)
    assert update(tmp_path / "half", hearing=half).heard == 0
    assert problems_of(tmp_path / "half") == []


def test_two_jobs_write_what_one_does(tmp_path, walks):
    hearing = Hearing(encoder="logmel")
    for jobs in (1, 2):
        update(tmp_path / str(jobs), walks, hearing=hearing, jobs=jobs)
    folders = [tmp_path / str(jobs) / FEATURES / "clap" for jobs in (1, 2)]
    one, two = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert one == two
    assert (tmp_path / "1" / RECORDINGS).read_bytes() == (tmp_path / "2" / RECORDINGS).read_bytes()
    assert not (tmp_path / "1" / VECTORS).exists()  # logmel has no shared space, and no store is made


INDEXING = """
import sys
from pathlib import Path
from amr_model.index import update
from clotho_long.core.work import Workers
from amr_model.index.catalog import Hearing
from clotho_long.features.encoders.logmel import LogMelEncoder

heard = LogMelEncoder.encode_windows
def slowly(self, windows):
    import time
    print("hears", flush=True)
    time.sleep(0.3)
    return heard(self, windows)
LogMelEncoder.encode_windows = slowly
walks, index = map(Path, sys.argv[1:])
update.update_index(index, [walks], Hearing(encoder="logmel"), workers=Workers(jobs=1))
"""


def test_killed_it_goes_on_and_while_it_works_nobody_else_does(tmp_path, walks):
    index = tmp_path / "index"
    command = [sys.executable, "-c", INDEXING, str(walks), str(index)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        for _ in range(3):
            assert other.stdout.readline() == "hears\n"
        hearing = Hearing(encoder="logmel")
        with pytest.raises(ClothoLongError, match=rf"another `amr index` works here \(process {other.pid}"):
            update(index, walks, hearing=hearing)
        other.send_signal(signal.SIGKILL)
    assert read_catalog(index).entries == {}
    changes = update(index, walks, hearing=hearing)
    assert changes.recordings == 4
    assert 1 <= changes.heard <= 2, "two were finished when the third was heard"
    assert problems_of(index) == []


def test_a_recording_that_changes_between_two_looks_is_left_for_the_next_run(tmp_path, walks, monkeypatch):
    index = tmp_path / "index"
    stale = {"w0.wav": f"sha256-{'0' * 64}"}
    monkeypatch.setattr(
        "amr_model.index.update.fingerprint_file", lambda path: stale.get(path.name) or fingerprint_file(path)
    )
    changes = update(index, walks)
    assert [str(problem).rsplit("/", 1)[1] for problem in changes.problems] == [
        "w0.wav: was changed while it was heard; run the same command again"
    ]
    assert (changes.recordings, problems_of(index)) == (3, [])
    stale.clear()
    assert names(update(index).added) == ["w0.wav"]


def test_what_cannot_be_read_today_is_not_forgotten(tmp_path, walks, monkeypatch):
    index = tmp_path / "index"
    update(index, walks)
    os.utime(walks / "w0.wav")  # touched, so it is to be read again

    def refused(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("amr_model.index.update.fingerprint_file", refused)
    changes = update(index)
    assert changes.recordings == 4
    assert "w0.wav: cannot be read (Input/output error)" in str(changes.problems[0])
