"""Extraction gives the same files whoever works, resumes, and says what is wrong with what it cannot use."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from clotho_long.cli.features import COMMANDS
from clotho_long.core.annotations import read_queries
from clotho_long.core.command_line import CommandGroup
from clotho_long.core.jsonl import write_lines
from clotho_long.corpus import Corpus
from clotho_long.features.encoders.logmel import LogMelEncoder
from clotho_long.features.files import AUDIO_KEY, audio_file, read_features, text_file
from clotho_long.features.store import FeatureStore
from tests.features.tiny_corpus import make_corpus, tree, write_noise

MAIN = CommandGroup("clotho-long", commands={command.name: command for command in COMMANDS})


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(MAIN, [*map(str, arguments), "--encoder", "logmel", "--quiet"])


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("planned")).root


@pytest.fixture
def corpus(planned, tmp_path) -> Corpus:
    """A copy that a test may change; its sources stay where they were scanned."""
    return Corpus(Path(shutil.copytree(planned, tmp_path / "corpus")))


def made_by(path: Path) -> dict:
    return read_features(path, AUDIO_KEY)[1]


def test_corpus_gets_features_of_every_recording_and_query_and_no_audio(corpus):
    result = invoke("extract", corpus.root, "--jobs", 1)
    assert result.exit_code == 0
    recipes = [recipe for split in corpus.planned_splits for recipe in corpus.recipes(split)]
    for recipe in recipes:
        rows, note = read_features(audio_file(corpus.features_dir, recipe.recording_id), AUDIO_KEY)
        assert rows.shape == (8, 768)
        assert note["encoder"]["name"] == "logmel"
    queries = [q for split in corpus.planned_splits for q in read_queries(corpus.annotations_file(split))]
    for query in queries:
        rows, _ = read_features(text_file(corpus.features_dir, query.qid), "last_hidden_state")
        assert len(rows) == len(query.query.split()) + 1
    assert f"recordings: {len(recipes)} encoded; 0 done before; 0 failed" in result.stdout
    assert f"queries: {len(queries)} encoded" in result.stdout
    assert not list(corpus.root.rglob("*.wav"))


def test_files_do_not_depend_on_who_works(corpus, monkeypatch):
    assert invoke("extract", corpus.root, "--jobs", 1).exit_code == 0
    alone = tree(corpus.features_dir)
    for workers, device in ((("--jobs", 2), "cpu"), (("--jobs", 2), "cuda:0")):
        shutil.rmtree(corpus.features_dir)
        # one process with threads that mix ahead, as on a GPU
        monkeypatch.setattr(LogMelEncoder, "device", device)
        assert invoke("extract", corpus.root, *workers).exit_code == 0
        assert tree(corpus.features_dir) == alone


@pytest.mark.slow
def test_dask_workers_write_the_same_files(corpus):
    distributed = pytest.importorskip("distributed")
    assert invoke("extract", corpus.root, "--jobs", 1).exit_code == 0
    alone = tree(corpus.features_dir)
    shutil.rmtree(corpus.features_dir)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        result = invoke("extract", corpus.root, "--scheduler", cluster.scheduler_address)
    assert result.exit_code == 0, result.output
    assert tree(corpus.features_dir) == alone


def test_scheduler_that_does_not_answer_is_one_line(corpus, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("clotho_long.core.work.SCHEDULER_TIMEOUT_S", 0.2)
    result = invoke("extract", corpus.root, "--scheduler", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "error: --scheduler: no Dask scheduler answers at tcp://127.0.0.1:1" in result.stderr


def test_second_run_does_nothing_and_a_lost_or_torn_file_is_made_again(corpus):
    invoke("extract", corpus.root, "--jobs", 1)
    before = tree(corpus.features_dir)
    paths = sorted((corpus.features_dir / "clap").iterdir())
    times = {path: path.stat().st_mtime_ns for path in paths}
    paths[0].unlink()
    paths[1].write_bytes(before[f"clap/{paths[1].name}"][:5000])
    result = invoke("extract", corpus.root, "--jobs", 1)
    assert f"recordings: 2 encoded; {len(paths) - 2} done before" in result.stdout
    assert tree(corpus.features_dir) == before
    assert all(path.stat().st_mtime_ns == times[path] for path in paths[2:])


def test_limited_run_goes_on_to_the_same_bytes(corpus):
    invoke("extract", corpus.root, "--limit", 1, "--split", "test", "--jobs", 1)
    assert len(list((corpus.features_dir / "clap").iterdir())) == 1
    invoke("extract", corpus.root, "--jobs", 1)
    in_two_steps = tree(corpus.features_dir)
    shutil.rmtree(corpus.features_dir)
    invoke("extract", corpus.root, "--jobs", 1)
    assert tree(corpus.features_dir) == in_two_steps


def test_another_window_convention_is_refused_unless_it_overwrites(corpus):
    invoke("extract", corpus.root, "--jobs", 1)
    before = tree(corpus.features_dir)
    result = invoke("extract", corpus.root, "--windows", "centred", "--jobs", 1)
    assert result.exit_code == 1
    assert "was made with another window convention; give --overwrite" in result.stderr
    assert tree(corpus.features_dir) == before
    assert invoke("extract", corpus.root, "--windows", "centred", "--overwrite", "--jobs", 1).exit_code == 0
    assert {len(FeatureStore.open(corpus.features_dir, kind="audio")[i]) for i in ids_of(corpus)} == {9}


def test_part_of_a_folder_cannot_be_overwritten_with_another_convention(corpus):
    invoke("extract", corpus.root, "--jobs", 1)
    result = invoke("extract", corpus.root, "--windows", "centred", "--overwrite", "--limit", 1)
    assert result.exit_code == 1
    assert "was made with another window convention; write to another folder" in result.stderr


def test_features_that_do_not_say_what_made_them_are_not_mixed_with_ours(tmp_path):
    recording = write_noise(tmp_path / "ours.wav", 2)
    foreign = audio_file(tmp_path / "features", "theirs")
    foreign.parent.mkdir(parents=True)
    np.savez(foreign, features=np.zeros((2, 768), np.float32))
    result = invoke("features", recording, "--out", tmp_path / "features")
    assert result.exit_code == 1
    assert f"{foreign}: does not say what made it" in result.stderr


def test_changed_recipe_is_noticed(corpus):
    invoke("extract", corpus.root, "--jobs", 1)
    path = corpus.recipes_file("train")
    recipes = [json.loads(line) for line in path.read_text().splitlines()]
    recipes[0]["background_db"] -= 1
    write_lines(path, recipes)
    result = invoke("extract", corpus.root, "--jobs", 1)
    assert result.exit_code == 1
    assert f"{recipes[0]['recording_id']}.npz: was made with another source" in result.stderr


def test_recording_that_cannot_be_mixed_is_named_and_the_others_are_done(corpus, tmp_path):
    tours = Path(corpus.page()["roots"]["walking_tours"])
    hidden = tours / "B tour.wav"
    shutil.rmtree(corpus.cache_dir)
    hidden.rename(hidden.with_suffix(".hidden"))
    try:
        result = invoke("extract", corpus.root, "--jobs", 1)
    finally:
        hidden.with_suffix(".hidden").rename(hidden)
    assert result.exit_code == 1
    assert "recordings: 4 encoded; 0 done before; 2 failed" in result.stdout
    assert f"  B tour_0.0_8.0: {hidden}: no such file; check the path" in result.stderr
    assert "error: " in result.stderr.splitlines()[-1]
    assert invoke("extract", corpus.root, "--jobs", 1).exit_code == 0


def test_rendered_wav_and_recipe_give_nearly_the_same_features(corpus, tmp_path):
    from clotho_long.stages.render import render

    invoke("extract", corpus.root, "--jobs", 1, "--split", "test")
    mixed = {
        i: read_features(audio_file(corpus.features_dir, i), AUDIO_KEY)[0] for i in ids_of(corpus, "test")
    }
    shutil.rmtree(corpus.features_dir)
    render(corpus, splits=("test",))
    assert invoke("extract", corpus.root, "--jobs", 1, "--split", "test", "--from", "wav").exit_code == 0
    for recording_id, rows in mixed.items():
        read, note = read_features(audio_file(corpus.features_dir, recording_id), AUDIO_KEY)
        assert note["source"]["rendered"] is True
        # sound of 8 kHz: bands above 4 kHz hold nothing but the rounding of 16 bits
        np.testing.assert_allclose(read.reshape(-1, 64)[:, :32], rows.reshape(-1, 64)[:, :32], atol=1.0)


def test_pack_is_ready_for_training(corpus):
    result = invoke("extract", corpus.root, "--jobs", 1, "--pack")
    assert result.stdout.count("packed: ") == 2
    packed = tree(corpus.features_dir / "packed")
    FeatureStore.open(corpus.features_dir, kind="audio", ids=ids_of(corpus))
    assert tree(corpus.features_dir / "packed") == packed


def test_full_disk_is_one_line_and_leaves_no_half_written_file(corpus, monkeypatch):
    real_savez, calls = np.savez, []

    def savez(path, **arrays):
        calls.extend(arrays.keys() & {AUDIO_KEY})  # the cache of the mixer is written in the same way
        if len(calls) == 3:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real_savez(path, **arrays)

    monkeypatch.setattr(np, "savez", savez)
    result = invoke("extract", corpus.root, "--jobs", 1)
    assert result.exit_code == 1
    assert "no space left on device; free some space" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert len(tree(corpus.features_dir)) == 2
    monkeypatch.undo()
    assert invoke("extract", corpus.root, "--jobs", 1).exit_code == 0
    assert not [name for name in tree(corpus.features_dir) if "part" in name]


def test_interrupted_run_exits_with_130_and_goes_on_to_the_same_bytes(corpus):
    invoke("extract", corpus.root, "--jobs", 1)
    uninterrupted = tree(corpus.features_dir)
    shutil.rmtree(corpus.features_dir)
    # its own process: a signal to this one would end the tests
    script = (
        "import os, signal, sys\n"
        "import clotho_long.features.encode as encode\n"
        "from clotho_long.cli.features import COMMANDS\n"
        "from clotho_long.core.command_line import CommandGroup\n"
        "write, calls = encode.write_features, []\n"
        "def interrupt(*arguments, **options):\n"
        "    calls.append(write(*arguments, **options))\n"
        "    if len(calls) == 2: os.kill(os.getpid(), signal.SIGINT)\n"
        "encode.write_features = interrupt\n"
        "CommandGroup('x', commands={c.name: c for c in COMMANDS}).main(sys.argv[1:])\n"
    )
    arguments = ["extract", str(corpus.root), "--encoder", "logmel", "--jobs", "1"]
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert run.returncode == 130
    assert run.stderr.splitlines()[-1].startswith("error: interrupted; what was finished is kept")
    assert "Traceback" not in run.stderr
    assert 1 <= len(tree(corpus.features_dir)) <= 2
    assert invoke("extract", corpus.root, "--jobs", 1).exit_code == 0
    assert tree(corpus.features_dir) == uninterrupted


def ids_of(corpus: Corpus, *splits: str) -> list[str]:
    return [r.recording_id for split in splits or corpus.planned_splits for r in corpus.recipes(split)]


def test_encoder_is_asked_once_what_made_its_numbers(corpus, monkeypatch):
    real, calls = LogMelEncoder.provenance, []
    monkeypatch.setattr(LogMelEncoder, "provenance", lambda self: calls.append(self) or real(self))
    # another spelling of the same encoder, so that nothing is left over from other tests
    run = ["extract", str(corpus.root), "--jobs", "1", "--encoder", "logmel", "--device", "cpu", "--quiet"]
    assert CliRunner().invoke(MAIN, run).exit_code == 0
    assert len(calls) == 1
