"""What the command line may say, and what is said before any work is done."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
import torch
import yaml

from amr_model.checkpoint import load_checkpoint
from amr_model.config import ExperimentConfig
from amr_model.public.presets import compat_dcase, compat_lighthouse
from amr_model.systems import NAMES, load_experiment, system
from clotho_long.core.errors import ConfigError
from clotho_long.core.settings import override
from tests.cli.test_amr import LINES, NARROW, SMALL, make_checkpoint, run
from tests.public.test_checkpoint import EasyDict, public_state, write_public
from tests.retrieval_builders import write_corpus

SIZES = [part for setting in (*SMALL, *NARROW) for part in ("--set", setting)]


@pytest.fixture
def sets(tmp_path: Path) -> list[object]:
    annotations, features = write_corpus(tmp_path, LINES)
    return ["--train", annotations, "--valid", annotations, "--features", features, "--jobs", 1]


@pytest.fixture
def asked(tmp_path: Path) -> list[object]:
    annotations, features = write_corpus(tmp_path, LINES)
    return ["--annotations", annotations, "--features", features, "--jobs", 1]


def public_file(path: Path, config: ExperimentConfig | None = None) -> Path:
    """A public QD-DETR checkpoint of the size of the test's features."""
    config = override(config or compat_lighthouse("qd_detr"), [*SMALL, *NARROW])
    return write_public(path, public_state("qd_detr", config), EasyDict(nheads=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--system", "S1", "--system", "S2"], "--system is given 2 times; see main train --help"),
        (["--system", "S1", "--resume", "--init", "x.pt"], "--resume and --init exclude each other"),
        (["--system", "S1", "--config", __file__], "--system and --config exclude each other"),
        (["--system", "S1", "--seed", "-1"], "--seed"),
        (["--system", "S1", "--set", "train.seed=-1"], "--set: seed must be at least 0, got -1"),
        (["--system", "S1", "--set", "model.hidden_dim=["], "the value of model.hidden_dim cannot be read"),
        (["--system", "S1", "--set", "model.hidden_dim.x=3"], "model.hidden_dim has no parts"),
        (["--system", "S1", "--device", "gpu"], "no device is called 'gpu'; take auto, cpu, cuda"),
        (["--system", "S1", "--device", "mps"], "no Apple GPU can be used here"),
        (["--system", "S17"], "no system is called 'S17'"),
        ([], "no settings are named"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_status_2_and_one_line(tmp_path, sets, arguments, message) -> None:
    status, _, errors = run("train", *sets, "--out", tmp_path / "run", *arguments)
    assert (status, len(errors.splitlines())) == (2, 1), errors
    assert message in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["evaluate", "submit"])
def test_settings_that_training_settled_are_refused_later(tmp_path, asked, command) -> None:
    checkpoint = make_checkpoint(tmp_path / "model.pt")
    common = [command, "--checkpoint", checkpoint, *asked, "--out", tmp_path / "out"]
    status, _, errors = run(*common, "--set", "model.hidden_dim=32")
    assert status == 2
    assert "--set: model.hidden_dim was settled by training; what can be set here: inference, " in errors
    assert run(*common, "--set", "inference.nms_iou=0.5", "--set", "features.audio_max=9")[0] == 0


def test_checks_that_need_no_features_come_first(tmp_path, sets) -> None:
    (tmp_path / "features" / "clap" / "r0.npz").write_bytes(b"never read")
    run_dir = tmp_path / "run"
    narrow = make_checkpoint(tmp_path / "narrow.pt")
    for arguments, message in (
        (["--init", tmp_path / "none.pt"], "none.pt: no such checkpoint; check the path"),
        (["--init", narrow], "the model needs"),
    ):
        status, _, errors = run("train", "--system", "S1", *sets, "--out", run_dir, *arguments)
        assert (status, message in errors) == (1, True), errors
    run_dir.mkdir()
    (run_dir / "checkpoint-last.pt").write_bytes(b"")
    status, _, errors = run("train", "--system", "S1", *sets, "--out", run_dir)
    assert (status, "this run exists; resume it" in errors) == (1, True), errors
    status, _, errors = run("train", *sets, "--out", tmp_path / "new", "--resume")
    assert (status, "there is no run to go on with" in errors) == (1, True), errors


def test_init_gives_its_settings_unless_a_system_is_named(tmp_path, sets) -> None:
    public = public_file(tmp_path / "best.ckpt")
    status, _, errors = run("train", *sets, "--out", tmp_path / "a", "--init", public, "--epochs", 1)
    assert status == 0, errors
    ours = load_checkpoint(tmp_path / "a" / "checkpoint-best.pt").config
    assert (ours.system, ours.model.cross_mask, ours.targets.time_scale) == (
        "lighthouse-qd_detr", "reference", "duration",
    )  # fmt: skip
    assert "other settings" not in errors
    named = ["--system", "S1", *SIZES, "--set", "model.decoder_layers=2"]
    status, _, errors = run("train", *named, *sets, "--out", tmp_path / "b", "--init", public, "--epochs", 1)
    assert status == 0, errors
    assert "best.ckpt was trained with other settings: " in errors
    assert "model.cross_mask reference -> item" in errors
    status, *_ = run(
        "train", *sets, "--out", tmp_path / "c", "--init", public, "--epochs", 1, "--cross-mask", "item"
    )
    assert load_checkpoint(tmp_path / "c" / "checkpoint-best.pt").config.model.cross_mask == "item"


def test_convert_writes_settings_and_chooses_the_better_generation(tmp_path, asked) -> None:
    public = public_file(tmp_path / "best.ckpt")
    annotations, features = asked[1], asked[3]
    status, text, _ = run("convert", public, "--out", tmp_path / "a.pt", "--cross-mask", "item")
    assert (status, "cross mask item" in text) == (0, True)
    assert load_checkpoint(tmp_path / "a.pt").config.model.cross_mask == "item"
    assert load_experiment(tmp_path / "a.yml") == load_checkpoint(tmp_path / "a.pt").config
    chosen = ["--valid", annotations, "--features", features]
    status, text, errors = run("convert", public, "--out", tmp_path / "b.pt", *chosen)
    assert status == 0, errors
    figures = {}
    for mask in ("reference", "item"):
        where = tmp_path / mask
        run("evaluate", "--checkpoint", public, *asked, "--cross-mask", mask, "--out", where)
        figures[mask] = yaml.safe_load((where / "metrics.json").read_text())["brief"]["MR-full-mAP"]
    better = max(figures, key=lambda mask: figures[mask])
    assert f"reference {figures['reference']:.2f}, item {figures['item']:.2f}; taken: {better}" in errors
    assert load_checkpoint(tmp_path / "b.pt").config.model.cross_mask == better
    ours = make_checkpoint(tmp_path / "ours.pt")
    status, _, errors = run("convert", ours, "--out", tmp_path / "d.pt", "--cross-mask", "item")
    assert (status, "--cross-mask: is for public checkpoints" in errors) == (2, True)


def test_a_yaml_that_names_a_system_starts_from_it(tmp_path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("system: S8\ntrain: {epochs: 1}\nmodel: {num_queries: 20}\n")
    assert load_experiment(path) == override(system("S8"), ["train.epochs=1", "model.num_queries=20"])
    path.write_text("system: dcase-baseline\n")
    assert load_experiment(path) == compat_dcase()
    path.write_text("")
    assert load_experiment(path) == system("S1")
    path.write_text("system: mine\ntrain: {epochs: 1}\n")
    assert load_experiment(path) == override(ExperimentConfig(system="mine"), ["train.epochs=1"])
    path.write_text("system: S8\nmodel: 5\n")
    with pytest.raises(ConfigError, match=r"mine\.yml: model: Input should be"):
        load_experiment(path)


@pytest.mark.parametrize("name", NAMES)
def test_every_system_is_found_by_its_name(name) -> None:
    assert system(name).system == name


def test_old_names_of_settings_keep_loading(tmp_path, monkeypatch) -> None:
    # as after a renaming of `batch_size`: the table is what a renaming has to fill
    monkeypatch.setattr(ExperimentConfig, "RENAMED", {"train.batch": "train.batch_size"})
    checkpoint = make_checkpoint(tmp_path / "model.pt")
    content = torch.load(checkpoint, weights_only=True)
    content["config"]["train"]["batch"] = content["config"]["train"].pop("batch_size") + 1
    torch.save(collections.OrderedDict(content), checkpoint)
    assert load_checkpoint(checkpoint).config.train.batch_size == 33
    (tmp_path / "old.yml").write_text("system: S2\ntrain: {batch: 5}\n")
    assert load_experiment(tmp_path / "old.yml").train.batch_size == 5
    assert override(system("S1"), ["train.batch=7"]).train.batch_size == 7


def test_pictures_queries_and_seeds_are_checked_before_any_work(tmp_path) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"never read")
    common = ["predict", recording, "--checkpoint", tmp_path / "none.pt"]
    for arguments, message in (
        (["--query", "a dog", "--plot", "p.xyz"], "--plot: p.xyz names no kind of picture; end it in .png"),
        (["--query", "a dog", "--plot", "p"], "--plot: p names no kind of picture"),
        (["--query", "a dog", "--query", " "], "a query is empty; write what you want to hear"),
    ):
        status, _, errors = run(*common, *arguments)
        assert (status, message in errors) == (2, True), errors
    ablation = ["ablate", "--pretrain", tmp_path, "--finetune", tmp_path, "--out", tmp_path / "out"]
    for arguments, message in (
        (["--seeds", "1,1"], "1 is there twice"),
        (["--seeds", "-1"], "'-1' is not a whole number from 0"),
        (["--systems", "S1, S1"], "S1 is there twice"),
        (["--systems", "S0"], "no system is called 'S0'"),
        (["--device", "cuda:77"], "--device"),
        (["--set", "model.num_heads=0"], "num_heads must be at least 1"),
    ):
        status, _, errors = run(*ablation, *arguments)
        assert (status, message in errors) == (2, True), errors
