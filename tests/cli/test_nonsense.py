"""Whatever is typed or read, a command ends with status 0, 1, 2 or 130, and says what is wrong in a line."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from amr_model.checkpoint import Checkpoint, save_checkpoint
from amr_model.cli import main as amr
from amr_model.config import ExperimentConfig, system
from amr_model.public.networks import network_of
from amr_model.systems import load_experiment
from clotho_long.audio.io import write_audio
from clotho_long.cli import main as clotho_long
from clotho_long.core.errors import ClothoLongError, ConfigError
from clotho_long.core.jsonl import read_lines
from clotho_long.core.settings import override, to_plain
from clotho_long.core.yaml_reader import YamlError, parse_yaml
from clotho_long.features.files import AUDIO_KEY, audio_file, read_features
from clotho_long.recipe.spec import CLOTHO_MOMENT_LONG
from pipelines import ablation, demo, make_manifest, pretrain_finetune, regenerate
from pipelines.amr_command import ablate
from tests.cli.nonsense import VALUES, lines, write_files
from tests.retrieval_builders import annotation, write_corpus

TINY = (
    "model.hidden_dim=8", "model.num_heads=2", "model.feedforward_dim=8", "model.encoder_layers=1",
    "model.decoder_layers=1", "model.audio_dim=6", "model.text_dim=6", "train.epochs=1",
)  # fmt: skip
PIPELINES = {
    "demo": demo.main,
    "regenerate": regenerate.main,
    "pretrain_finetune": pretrain_finetune.main,
    "ablation": ablation.main,
    "make_manifest": make_manifest.main,
}
VALUES_OF_AN_OPTION = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """A folder with small healthy inputs, and `broken/`."""
    root = tmp_path_factory.mktemp("nonsense")
    write_corpus(root, [annotation("q1"), annotation("q2", vid="r2")])
    config = override(system("S1"), TINY)
    torch.manual_seed(0)
    checkpoint = Checkpoint(config=config, model=network_of(config.model).state_dict())
    save_checkpoint(root / "good.pt", checkpoint)
    write_audio(root / "sound.wav", np.zeros(8000, np.float32), 8000)
    answer = {"qid": "q1", "query": "a dog barks", "vid": "r1", "pred_relevant_windows": [[2, 5, 0.9]]}
    (root / "answers.jsonl").write_text(lines(answer))
    (root / "corpus").mkdir()
    heard = [
        "index",
        str(root / "sound.wav"),
        "--out",
        str(root / "heard"),
        "--encoder",
        "logmel",
        "--jobs",
        "1",
    ]
    assert CliRunner().invoke(amr, heard).exit_code == 0
    write_files(root / "broken")
    with contextlib.chdir(root) if hasattr(contextlib, "chdir") else _inside(root):
        yield root


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    import os

    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def drive(command: click.Command, *arguments: object) -> tuple[int, str]:
    """Run a command as users do; its status and stderr, which are as they must be."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(command, given)
    what = (command.name, given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(what) from result.exception
    assert result.exit_code in (0, 1, 2, 130), what
    errors = [line for line in result.stderr.splitlines() if line.startswith(("error:", "Error:"))]
    assert "Traceback" not in result.output, what
    if result.exit_code == 0:
        assert not errors, what
    else:
        assert len(errors) == 1, (what, result.stderr)
        assert result.stderr.splitlines()[-1] == errors[0], (what, result.stderr)
        assert len(errors[0]) < 1500, what
        assert "weights_only" not in errors[0], what
    return result.exit_code, result.stderr


def base(name: str, root: Path, port: int) -> list[object]:
    """Arguments with which a command ends early but not before it has looked at its options."""
    asked = ["--annotations", "text/train.jsonl", "--features", "features"]
    sets = ["--train", "text/train.jsonl", "--valid", "text/train.jsonl", "--features", "features"]
    sources = ["--clotho", "corpus", "--walking-tours", "corpus"]
    return {
        "build": [*sources, "--out", "new", "--encoder", "logmel"],
        "scan": [*sources, "--out", "new"],
        "plan": ["corpus"],
        "import-recipe": ["broken/five.json", "--out", "new"],
        "render": ["corpus"],
        "check": ["corpus"],
        "stats": ["corpus"],
        "extract": ["corpus", "--encoder", "logmel"],
        "features": ["sound.wav", "--out", "new", "--encoder", "logmel", "--jobs", 1],
        "text-features": ["text/train.jsonl", "--out", "new", "--encoder", "logmel", "--jobs", 1],
        "train": [*sets, "--system", "S1", "--out", "new", "--init", "broken/other.pt"],
        "evaluate": ["--checkpoint", "good.pt", *asked],
        "metrics": ["--predictions", "text/train.jsonl", "--annotations", "text/train.jsonl"],
        "compare": ["answers.jsonl", "answers.jsonl", "--annotations", "text/train.jsonl"],
        "submit": ["--checkpoint", "good.pt", *asked, "--out", "new.jsonl"],
        "predict": ["sound.wav", "--query", "a dog", "--checkpoint", "good.pt", "--encoder", "logmel"],
        "index": ["sound.wav", "--out", "new", "--encoder", "logmel", "--jobs", 1],
        "search": ["heard", "--query", "a dog", "--jobs", 1],
        "convert": ["good.pt", "--out", "new.pt"],
        "serve": ["--checkpoint", "good.pt", "--port", port],
        "ablate": ["--pretrain", "corpus", "--finetune", "corpus", "--out", "new"],
        "make_manifest": ["corpus", "--out", "new"],
    }.get(name, ["--out", "new", "--until", "no such step"])


def commands() -> list[tuple[str, click.Command, tuple[str, ...], click.Command]]:
    """(name, program, words that lead to the command, command)."""
    inside = [
        (name, group, (name,), command)
        for group in (clotho_long, amr)
        for name, command in group.commands.items()
    ]
    alone = [(name, command, (), command) for name, command in PIPELINES.items()]
    named = {name for name, *_ in inside}
    return inside + alone + ([] if "ablate" in named else [("ablate", ablate, (), ablate)])


def without(arguments: list[object], option: str) -> list[object]:
    """Arguments without an option and its value."""
    if option not in arguments:
        return arguments
    at = arguments.index(option)
    return arguments[:at] + arguments[at + 2 :]


@pytest.mark.parametrize(("name", "program", "words", "command"), commands(), ids=[c[0] for c in commands()])
def test_every_option_of_every_command_with_nonsense(place, name, program, words, command) -> None:
    values = itertools.cycle(VALUES[sum(map(ord, name)) % len(VALUES) :] + VALUES)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        start = base(name, place, taken.getsockname()[1])
        drive(program, *words)
        drive(program, *words, "--no-such-option")
        for option in command.params:
            if not isinstance(option, click.Option) or option.is_flag or "--port" in option.opts:
                continue
            for value in itertools.islice(values, VALUES_OF_AN_OPTION):
                drive(program, *words, *without(start, option.opts[-1]), f"{option.opts[-1]}={value}")
                shutil.rmtree(place / "new", ignore_errors=True)
        for value in itertools.islice(values, VALUES_OF_AN_OPTION):
            drive(program, *words, value, *start[1:])


SLOTS = {
    "annotations": (amr, "metrics", "--predictions", "text/train.jsonl", "--annotations", "FILE"),
    "predictions": (amr, "metrics", "--annotations", "text/train.jsonl", "--predictions", "FILE"),
    "compared": (amr, "compare", "answers.jsonl", "--annotations", "text/train.jsonl", "FILE"),
    "asked": (amr, "evaluate", "--checkpoint", "good.pt", "--features", "features", "--annotations", "FILE"),
    "checkpoint": (
        amr,
        "evaluate",
        "--annotations",
        "text/train.jsonl",
        "--features",
        "features",
        "--checkpoint",
        "FILE",
    ),
    "convert": (amr, "convert", "--out", "new.pt", "FILE"),
    "config": (
        amr,
        "train",
        "--train",
        "text/train.jsonl",
        "--valid",
        "text/train.jsonl",
        "--features",
        "features",
        "--out",
        "new",
        "--init",
        "broken/other.pt",
        "--config",
        "FILE",
    ),
    "init": (
        amr,
        "train",
        "--train",
        "text/train.jsonl",
        "--valid",
        "text/train.jsonl",
        "--features",
        "features",
        "--out",
        "new",
        "--init",
        "FILE",
    ),
    "text": (clotho_long, "text-features", "--out", "new", "--encoder", "logmel", "--jobs", "1", "FILE"),
    "weights": (
        clotho_long,
        "text-features",
        "text/train.jsonl",
        "--out",
        "new",
        "--jobs",
        "1",
        "--weights",
        "FILE",
    ),
    "searched": (amr, "search", "heard", "--query", "x", "--checkpoint", "FILE"),
    "like": (amr, "search", "heard", "--jobs", "1", "--like", "FILE"),
    "collection": (amr, "search", "FILE", "--query", "x"),
    "demo": (demo.main, "--out", "new", "--until", "x", "--config", "FILE"),
    "ablation": (ablation.main, "--out", "new", "--until", "x", "--config", "FILE"),
    "retrieval": (pretrain_finetune.main, "--out", "new", "--until", "x", "--config", "FILE"),
    "regenerate": (regenerate.main, "--out", "new", "--until", "x", "--config", "FILE"),
}


@pytest.mark.parametrize("slot", SLOTS)
def test_every_file_that_is_read_with_every_broken_one(place, slot) -> None:
    program, *arguments = SLOTS[slot]
    for path in [*sorted((place / "broken").iterdir()), place / "broken" / "missing"]:
        status, _ = drive(program, *(path if word == "FILE" else word for word in arguments))
        fine = slot == "text" and path.name in ("huge.jsonl", "windows.jsonl")  # in what is read of them
        assert (status == 0) == fine, (slot, path)
        shutil.rmtree(place / "new", ignore_errors=True)


@pytest.mark.parametrize("suffix", [".npz"])
def test_every_feature_file_with_every_broken_one(place, tmp_path, suffix) -> None:
    features = tmp_path / "features"
    shutil.copytree(place / "features", features)
    for path in (place / "broken").iterdir():
        if path.is_dir():
            continue
        shutil.copyfile(path, audio_file(features, "r1"))
        drive(
            amr,
            "evaluate",
            "--checkpoint",
            "good.pt",
            "--annotations",
            "text/train.jsonl",
            "--features",
            features,
        )
        with contextlib.suppress(ClothoLongError):
            assert read_features(audio_file(features, "r1"), AUDIO_KEY)[0].nbytes < 1 << 20, path


def attempt(config: object, text: str) -> tuple[object | None, str]:
    """The config with an override, or what is said of it, which is said of the command line."""
    try:
        return override(config, [text]), ""
    except ConfigError as error:
        if not error.is_usage:
            raise
        return None, str(error)


def settings_of(config: object) -> list[str]:
    """The dotted names of all settings."""
    plain = to_plain(config)
    sections = [(f"{name}.", value) for name, value in plain.items() if isinstance(value, dict)]
    inner = [f"{prefix}{key}" for prefix, values in sections for key in values]
    return [*plain, *inner]


@pytest.mark.parametrize("config", [system("S8"), CLOTHO_MOMENT_LONG], ids=["experiment", "mixture"])
def test_every_setting_takes_a_value_or_names_what_is_wrong(config) -> None:
    for at, name in enumerate(settings_of(config)):
        for value in VALUES[at % 3 :: 3]:
            changed, said = attempt(config, f"{name}={value}")
            assert len(said) < 700, (name, value)
            assert "\n" not in said, (name, value)
            if changed is not None:
                yaml.safe_dump(to_plain(changed))


@pytest.mark.parametrize(
    "text",
    [
        "train.seed=-1", "train.seed=9223372036854775808", "model.num_heads=0", "model.num_heads=-8",
        "model.hidden_dim=1000000", "model.em_iterations=-1", "model.em_iterations=1000000000",
        "train.weight_decay=-1", "train.lr_gamma=-1", "train.epochs=0", "inference.timeline_end=-5",
        "inference.min_length_s=-3", "inference.proposal_lengths=[]", "inference.proposal_lengths=[0]",
        "inference.proposal_lengths=[-1]", "inference.proposal_peaks=-1",
        "features.row_s=.inf", "features.row_s=0",
        "features.encoder=", "features.encoder=' '", "train.learning_rate=.nan", "train.learning_rate=1e400",
        "loss.span=-1", "loss.boundary_epsilon=0", "loss.sim_scale=0",
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=text.partition("=")[0].rpartition(".")[2]):
        override(system("S8"), [text])


@given(st.text(max_size=40))
def test_any_override_is_a_setting_or_one_line(text: str) -> None:
    for given_text in (text, f"model.{text}", f"train.seed={text}"):
        changed, said = attempt(system("S1"), given_text)
        assert isinstance(changed, ExperimentConfig) != bool(said)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_are_settings_annotations_or_one_line(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        load_experiment(path)
    with contextlib.suppress(ClothoLongError):
        list(read_lines(path))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text(alphabet="abc", min_size=1, max_size=3)


@given(
    st.recursive(
        SCALARS | st.text(alphabet="abé 1:-", max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=10,
    )
)
def test_what_yaml_writes_is_read_as_it_was(value: object) -> None:
    with contextlib.suppress(YamlError):
        assert parse_yaml(yaml.safe_dump(value)) == value
