"""`amr ablate` refuses what it would ignore or could not do, in one line and before any work."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from clotho_long.core.command_line import CommandGroup
from pipelines import ablation, pretrain_finetune
from pipelines.amr_command import ablate
from tests.retrieval_builders import annotation, write_jsonl


def run_ablate(folder: Path, *arguments: str) -> Result:
    for split in ("train", "valid", "test"):
        write_jsonl(folder / "corpus" / "text" / f"{split}.jsonl", [annotation()])
    (folder / "corpus" / "features").mkdir(exist_ok=True)
    corpus = str(folder / "corpus")
    group = CommandGroup("amr", commands={"ablate": ablate})
    command = ["ablate", "--pretrain", corpus, "--finetune", corpus, "--out", str(folder / "out"), *arguments]
    return CliRunner().invoke(group, command)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--seeds", "1,1"), "1 is there twice"),
        (("--seeds", "1,-2"), "'-2' is not a whole number from 0 to"),
        (("--systems", "S1,S8,S1"), "S1 is there twice"),
        (("--systems", "S12"), "no system is called 'S12'"),
        (("--device", "gpu"), "no device is called 'gpu'; take auto, cpu, cuda"),
        (("--device", "cuda:77"), "no NVIDIA GPU can be used here|there is no cuda:77"),
        (("--set", "train.seed=7"), "train.seed=7: train.seed is not for this; set seeds instead"),
        (("--set", "system=S3"), "system is not for this; set systems instead"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, arguments: tuple[str, ...], problem: str) -> None:
    result = run_ablate(tmp_path, *arguments)
    assert result.exit_code in (1, 2)
    assert any(part in result.stderr for part in problem.split("|")), result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("pipeline", "setting", "problem"),
    [
        (ablation, "device=gpu", "no device is called 'gpu'"),
        (pretrain_finetune, "device=gpu", "no device is called 'gpu'"),
        (ablation, "seeds=[1, 2, 1]", "1 is there twice; name each of them once"),
        (ablation, "pretrain_settings=[train.seed=7]", "train.seed is not for this; set seeds instead"),
        (pretrain_finetune, "settings=[train.seed=7]", "train.seed is not for this; set seed instead"),
    ],
)
def test_pipelines_refuse_it_as_well(
    tmp_path: Path, pipeline: ModuleType, setting: str, problem: str
) -> None:
    """With the settings that come with the package: what they name need not be here."""
    result = CliRunner().invoke(pipeline.main, ["--out", str(tmp_path / "out"), "--set", setting])
    assert result.exit_code in (1, 2)
    assert problem in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
