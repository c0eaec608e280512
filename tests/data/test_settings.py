"""Settings under the names that they had before: in `--set`, in a file and in a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from amr_model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from amr_model.config import ExperimentConfig, system
from clotho_long.core.settings import build_config, override, to_plain

VALUES = {
    "targets.encoder": "logmel",
    "targets.windows": "centred",
    "targets.clip_s": 2.0,
    "targets.audio_max": 75,
    "targets.stretch_rows": 60,
    "targets.text_max": 64,
    "targets.audio_normalise": False,
    "targets.text_normalise": False,
    "targets.window_policy": "keep",
    "targets.max_windows": 5,
    "targets.saliency_windows": "first",
    "targets.sim_windows": "first",
    "inference.num_windows": 7,
    "inference.clip_end": 300.0,
}


def value_of(config: ExperimentConfig, name: str) -> object:
    section, key = ExperimentConfig.RENAMED[name].split(".")
    return to_plain(config)[section][key]


def test_every_old_name_has_a_value_here() -> None:
    assert set(VALUES) == set(ExperimentConfig.RENAMED)


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_an_old_name_is_understood_by_set(name: str, value: object) -> None:
    assert value_of(override(system("S4"), [f"{name}={yaml.safe_dump(value).split()[0]}"]), name) == value


def test_a_file_of_an_earlier_version_is_read() -> None:
    sections: dict[str, dict[str, object]] = {}
    for name, value in VALUES.items():
        section, key = name.split(".")
        sections.setdefault(section, {})[key] = value
    config = build_config(ExperimentConfig, sections, where="config.yml")
    assert {name: value_of(config, name) for name in VALUES} == VALUES


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    save_checkpoint(path, Checkpoint(config=system("S4"), model={}))
    content = torch.load(path)
    plain = content["config"]
    for name, value in VALUES.items():
        section, key = ExperimentConfig.RENAMED[name].split(".")
        del plain[section][key]
        section, key = name.split(".")
        plain[section][key] = value
    del plain["features"]
    torch.save(content, path)
    config = load_checkpoint(path).config
    assert {name: value_of(config, name) for name in VALUES} == VALUES
