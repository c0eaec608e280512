"""Answers of a pipeline are those of the checkpoint: its features, its targets, the precision that is set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from amr_model.checkpoint import Checkpoint, save_checkpoint
from amr_model.config import REPORT_SYSTEMS, ExperimentConfig
from amr_model.model import MomentRetriever
from amr_model.public.networks import network_of
from clotho_long.core.devices import find_device
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.features.files import AUDIO_KEY, audio_file, write_features
from pipelines.runs import (
    LabelledSet,
    ask,
    pretraining_of,
    refuse_overrides,
    score_run,
    settings_of,
    train_run,
)
from tests.retrieval_builders import annotation, make_features, write_corpus

SMALL = (
    "model.audio_dim=6",
    "model.text_dim=6",
    "model.hidden_dim=16",
    "model.num_heads=2",
    "model.feedforward_dim=16",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "train.epochs=1",
)


def small(system: str = "S1", *overrides: str) -> ExperimentConfig:
    return settings_of(system, [*SMALL, *overrides])


def make_set(folder: Path, **made_by: object) -> LabelledSet:
    """Two queries of one recording of 20 s, whose features say what made them, if anything is given."""
    annotations, features = write_corpus(folder, [annotation("a"), annotation("b", query="a bell rings")])
    if made_by:
        write_features(audio_file(features, "r1"), make_features(20), AUDIO_KEY, made_by)
    return LabelledSet(annotations=annotations, features=features)


def save_network(path: Path, config: ExperimentConfig) -> Path:
    torch.manual_seed(0)
    save_checkpoint(path, Checkpoint(config=config, model=network_of(config.model).state_dict()))
    return path


def test_answers_have_the_precision_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, checkpoint = make_set(tmp_path), save_network(tmp_path / "network.pt", small())
    mixed = []
    forward = MomentRetriever.forward

    def watched(self, *arguments, **options):
        mixed.append(torch.is_autocast_enabled("cpu"))
        return forward(self, *arguments, **options)

    monkeypatch.setattr(MomentRetriever, "forward", watched)
    for precision in ("float32", "bf16"):
        ask(small("S1", f"train.precision={precision}"), asked, checkpoint).answers()
    assert mixed == [False, True]


@pytest.mark.parametrize(
    ("made_by", "problem"),
    [
        (
            {"encoder": {"name": "logmel"}, "windows": "aligned"},
            "encoder logmel, the model reads encoder msclap",
        ),
        (
            {"encoder": {"name": "msclap-2023"}, "windows": "centred"},
            "windows centred, the model reads windows",
        ),
    ],
)
def test_features_that_a_checkpoint_does_not_read_are_refused(
    tmp_path: Path, made_by: dict[str, object], problem: str
) -> None:
    asked, checkpoint = make_set(tmp_path, **made_by), save_network(tmp_path / "network.pt", small())
    with pytest.raises(FeatureError, match=problem):
        score_run(small(), asked, tmp_path / "out", checkpoint, device="cpu", threads=None)
    assert not (tmp_path / "out").exists()


def test_fine_tuning_on_features_of_another_encoder_is_refused(tmp_path: Path) -> None:
    both = make_set(tmp_path, encoder={"name": "logmel"}, moments="aligned")
    init = save_network(tmp_path / "network.pt", small())
    with pytest.raises(FeatureError, match=r"encoder logmel, .*network.pt has learnt to read msclap-2023"):
        train_run(small(), both, both, tmp_path / "run", init=init, device="cpu", threads=None)
    assert not (tmp_path / "run").exists()


def test_ranking_is_that_of_the_row_and_the_network_that_of_its_checkpoint(tmp_path: Path) -> None:
    checkpoint = save_network(
        tmp_path / "network.pt", small("S1", "features.audio_max=7", "features.row_s=2")
    )
    retrieval = ask(small("S1", "inference.num_moments=3"), make_set(tmp_path), checkpoint)
    assert retrieval.config.features.audio_max == 7
    assert retrieval.data.num_rows.tolist() == [7, 7]
    answers = retrieval.answers()
    assert [len(prediction.moments) for prediction in answers] == [3, 3]


@pytest.mark.parametrize("system", REPORT_SYSTEMS)
def test_pretraining_differs_from_fine_tuning_in_its_labels_alone(system: str) -> None:
    pretraining = pretraining_of(system, [])
    assert pretraining.targets.saliency_moments == "first"
    assert settings_of(system, ["targets.saliency_moments=first"]) == pretraining
    assert pretraining_of(system, [], "all") == settings_of(system, [])


def test_what_another_setting_decides_is_refused() -> None:
    refuse_overrides(["train.epochs=3", "train.seeds=3"], {"train.seed": "seed"})
    with pytest.raises(
        ConfigError, match=r"^--set train.seed = 3: train.seed is not for this; set seed inst"
    ):
        refuse_overrides(["train.epochs=3", "train.seed = 3"], {"train.seed": "seed"})


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta", "", "cpu:0:1"])
def test_a_device_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no device is called '{name}'; take auto, cpu"):
        find_device(name)
