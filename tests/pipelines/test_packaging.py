"""What is built into a wheel is enough to run the pipelines far from a checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LOOK = """
from pathlib import Path
import pipelines
from pipelines import ablation, corpora, demo, pretrain_finetune, regenerate, report
from pipelines.command import settings_from

assert Path(pipelines.__file__).parent == Path.cwd() / "built" / "pipelines", pipelines.__file__
for module, kind in (
    (ablation, ablation.AblationSettings),
    (demo, demo.DemoSettings),
    (pretrain_finetune, pretrain_finetune.RetrievalSettings),
    (regenerate, corpora.CorpusSettings),
):
    settings = settings_from(kind, module.__file__, None, ())
recipes = corpora.find_manifest(settings.manifest) / "recipes" / "train.jsonl.gz"
assert Path.cwd() in recipes.parents and recipes.is_file()
assert "<html" in report.to_html(report.ReportPage(title="t", lead="l", sections=()))
"""


def test_a_built_package_runs_outside_the_checkout(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    egg_info = ["egg_info", "--egg-base", str(tmp_path)]
    build = [*egg_info, "build_py", "--build-lib", str(tmp_path / "built")]
    for command, folder, path in (
        (["setup.py", "-q", *build], ROOT, ""),
        (["-c", LOOK], tmp_path, str(tmp_path / "built")),
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={"PYTHONPATH": path, "PATH": "", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
