"""A run belongs to its settings, its data and its start; its folder to one training at a time."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from amr_model.checkpoint import load_checkpoint, save_checkpoint
from amr_model.config import ExperimentConfig
from amr_model.data.corpora import CorpusFiles
from amr_model.data.sets import RetrievalSet
from amr_model.errors import TrainingError
from amr_model.learn.curves import Curves
from amr_model.learn.interruptions import Stopped, held_signals
from amr_model.learn.runs import BEST, LAST, RECORD, locked
from amr_model.learn.train import Trained, train
from clotho_long.core.errors import ManifestError
from clotho_long.core.locks import OWNER
from tests.model.builders import make_set, small
from tests.retrieval_builders import annotation, write_corpus

CONFIG = small("S1", "train.batch_size=4", "train.epochs=2")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of the time of these trainings."""
    monkeypatch.setattr(Curves, "draw", lambda self, history: None)


def run(
    folder: Path,
    *,
    config: ExperimentConfig = CONFIG,
    data: RetrievalSet | None = None,
    valid: RetrievalSet | None = None,
    **options: object,
) -> Trained:
    return train(
        config,
        make_set(config) if data is None else data,
        make_set(config, seed=1) if valid is None else valid,
        folder,
        **options,  # type: ignore[arg-type]
    )


def stop_after(step: int):
    seen = [0]

    def count(epoch: int, done: int) -> None:
        seen[0] += 1
        if seen[0] == step:
            signal.raise_signal(signal.SIGINT)

    return count


def test_a_run_says_what_it_was_made_of(tmp_path: Path) -> None:
    run(tmp_path / "first")
    run(tmp_path / "second", init=tmp_path / "first" / BEST)
    record = json.loads((tmp_path / "second" / RECORD).read_text())
    assert record["command"] == sys.argv
    assert record["made_by"].keys() == {"package", "torch"}
    assert record["init"] == str(tmp_path / "first" / BEST)
    assert len(record["train"][0]["queries_fingerprint"]) == 16
    for name in (BEST, LAST):
        assert load_checkpoint(tmp_path / "second" / name).made_of == record["made_of"]
    assert load_checkpoint(tmp_path / "first" / BEST).made_of["init"] is None


@pytest.mark.parametrize("removed", [LAST, "both"])
def test_what_a_run_found_is_not_overwritten(removed: str, tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / LAST).unlink()
    if removed == "both":
        (tmp_path / BEST).unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for resume in (False, True):
        with pytest.raises(TrainingError, match=r"without checkpoint-last.pt, .* choose another --out"):
            run(tmp_path, resume=resume, config=small("S1", "train.batch_size=4", "train.seed=5"))
    assert {path: path.read_bytes() for path in before} == before


def test_a_foreign_folder_with_settings_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("mine: true\n")
    with pytest.raises(TrainingError, match="is not overwritten; choose another --out"):
        run(tmp_path)
    assert (tmp_path / "config.yml").read_text() == "mine: true\n"


def test_a_run_that_made_no_step_is_begun_anew(tmp_path: Path) -> None:
    def fail(epoch: int, done: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run(tmp_path, on_step=fail)
    assert load_checkpoint(tmp_path / LAST).training.step == 0  # type: ignore[union-attr]
    assert len(run(tmp_path).history) == 2


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data": make_set(CONFIG, seed=7)}, r"train annotations, train features"),
        ({"data": make_set(CONFIG, 8)}, r"train annotations"),
        ({"valid": make_set(CONFIG, seed=7)}, r"valid annotations, valid features"),
    ],
)
def test_resuming_with_other_data_names_it(
    changed: dict[str, RetrievalSet], named: str, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=stop_after(2))
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(TrainingError, match=rf"was trained with other data \({named}.*choose another --out"):
        run(tmp_path, resume=True, **changed)
    assert (tmp_path / LAST).read_bytes() == before
    assert len(run(tmp_path, resume=True).history) == 2


def test_resuming_with_another_start_names_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(
            tmp_path / name,
            config=small("S1", "train.batch_size=4", "train.epochs=1", f"train.seed={ord(name)}"),
        )
    run(tmp_path / "tuned", init=tmp_path / "a" / BEST)
    with pytest.raises(TrainingError, match=r"other data \(init\)"):
        run(tmp_path / "tuned", init=tmp_path / "b" / BEST, resume=True)
    run(tmp_path / "tuned", resume=True)  # it goes on from its own weights


def test_a_run_of_an_earlier_version_goes_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=stop_after(4))
    (tmp_path / RECORD).unlink()
    content = torch.load(tmp_path / LAST, weights_only=True)
    del content["made_of"]
    for record in content["history"]:
        del record["valid_loss"]
    torch.save(content, tmp_path / LAST)
    assert len(run(tmp_path, resume=True).history) == 2
    assert "made by a version that did not record its data" in caplog.text
    assert (tmp_path / RECORD).exists()
    with pytest.raises(TrainingError, match="other data"):  # from now on it does
        run(tmp_path, resume=True, data=make_set(CONFIG, seed=7))


def test_one_training_at_a_time(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from amr_model.learn.runs import locked\n"
    code += "with locked(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ})
    assert other.stdout is not None
    assert other.stdout.readline() == b"in\n"
    with pytest.raises(
        TrainingError, match=rf"another training works here \(process {other.pid} on .*; wait"
    ):
        run(tmp_path)
    other.kill()
    other.communicate()
    assert (tmp_path / OWNER).exists()  # it had no time to tidy up, and yet its lock is free
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / OWNER).read_text()
    assert not (tmp_path / OWNER).exists()


def test_what_killed_saves_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = [
        ".checkpoint-last.91898ca0.part.pt",
        ".config.ab12-77-91898ca0.part.yml",
        ".metrics.00ff00ff.part",
    ]
    kept = [".hidden.pt", "notes.part.txt", ".a.part.pt"]
    for name in left + kept:
        (tmp_path / name).write_bytes(b"x")
    with locked(tmp_path):
        pass
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in left)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heeded_between_steps_and_costs_nothing(number: int, tmp_path: Path) -> None:
    """Delivered to whoever handled it before, once the checkpoint is saved."""
    heard: list[bool] = []

    def handler(number: int, frame: object) -> None:
        heard.append((tmp_path / "stopped" / LAST).exists())
        raise KeyboardInterrupt

    before = signal.signal(number, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", on_step=lambda epoch, done: done == 2 and signal.raise_signal(number))
    finally:
        signal.signal(number, before)
    assert heard == [True]
    state = load_checkpoint(tmp_path / "stopped" / LAST).training
    assert state is not None
    assert (state.epoch, state.step) == (0, 2)
    whole, resumed = run(tmp_path / "whole"), run(tmp_path / "stopped", resume=True)
    assert resumed.history == whole.history


def test_a_signal_during_validation_is_heeded_before_its_next_batch(tmp_path: Path, monkeypatch) -> None:
    from amr_model.learn import train as module

    def interrupted(*arguments: object, between, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)
        between()

    monkeypatch.setattr(module, "validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    state = load_checkpoint(tmp_path / LAST).training
    assert state is not None
    assert (state.epoch, state.step) == (0, 3)
    monkeypatch.undo()
    assert len(run(tmp_path, resume=True).history) == 2


def test_ignored_signals_stay_ignored_and_threads_are_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held_signals() as held:
            signal.raise_signal(signal.SIGINT)
            held.check()
    finally:
        signal.signal(signal.SIGINT, before)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(held_signals().__enter__().signal))
    thread.start()
    thread.join()
    assert seen == [None]
    assert issubclass(Stopped, KeyboardInterrupt)


def test_sets_without_moments_are_refused_before_the_first_step(tmp_path: Path) -> None:
    silent = make_set(CONFIG)
    silent.queries = tuple(dataclasses.replace(query, moments=()) for query in silent.queries)
    with pytest.raises(ManifestError, match=r"validation set: no query has a moment; give annotations with"):
        run(tmp_path / "r", valid=silent)
    with pytest.raises(ManifestError, match="training set: no query has a moment"):
        run(tmp_path / "r", data=silent)
    assert not (tmp_path / "r").exists()


def test_a_checkpoint_without_fingerprints_loads(tmp_path: Path) -> None:
    run(tmp_path / "r")
    content = torch.load(tmp_path / "r" / BEST, weights_only=True)
    del content["made_of"]
    torch.save(content, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt").made_of == {}
    save_checkpoint(tmp_path / "again.pt", load_checkpoint(tmp_path / "old.pt"))
    assert load_checkpoint(tmp_path / "again.pt").model.keys() == content["model"].keys()


def test_a_training_on_two_corpora_stopped_and_resumed_is_the_one_never_stopped(tmp_path: Path) -> None:
    config = small("S1", "model.text_dim=6", "train.batch_size=3", "train.epochs=2")
    files = []
    for name, weight in (("a", 0.5), ("b", 2.0)):
        lines = [annotation(f"q{at}", vid=f"r{at}", query=f"{name} {at}") for at in range(4)]
        annotations, features = write_corpus(tmp_path / name, lines)
        files.append(CorpusFiles(annotations=annotations, features=features, weight=weight))

    def corpora() -> RetrievalSet:
        return RetrievalSet.load_all(files, config)

    whole = run(tmp_path / "whole", config=config, data=corpora(), valid=corpora())
    with pytest.raises(KeyboardInterrupt):  # in the second of four steps of the second epoch
        run(tmp_path / "r", config=config, data=corpora(), valid=corpora(), on_step=stop_after(6))
    resumed = run(tmp_path / "r", config=config, data=corpora(), valid=corpora(), resume=True)
    assert resumed.history == whole.history
    ours, theirs = (load_checkpoint(tmp_path / name / LAST).model for name in ("r", "whole"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    files[1] = dataclasses.replace(files[1], weight=1.0)
    with pytest.raises(TrainingError, match=r"other data \(train weights\)"):
        run(tmp_path / "r", config=config, data=corpora(), valid=corpora(), resume=True)
