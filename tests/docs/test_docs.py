"""What the documentation says exists: commands with their options, pages, settings, and a working example."""

from __future__ import annotations

import dataclasses
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from amr_model.cli import main as amr
from amr_model.config import (
    ExperimentConfig,
    FeatureConfig,
    InferenceConfig,
    LossConfig,
    ModelConfig,
    TargetConfig,
    TrainConfig,
)
from clotho_long.cli import main as clotho_long
from clotho_long.recipe.spec import MixtureSpec

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = {"clotho-long": clotho_long, "amr": amr}
FENCE = re.compile(r"^[ ]*```[^\n]*\n(.*?)^[ ]*```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")
PIPELINE = re.compile(r"python -m (pipelines\.\w+)")


def page_text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def command_lines() -> Iterator[tuple[str, str]]:
    """Every (page, command line) of ours in a fenced block; continued lines are joined."""
    for page in PAGES:
        for block in FENCE.findall(page_text(page)):
            for line in block.replace("\\\n", " ").splitlines():
                bare = re.split(r"\s+#|\s&&|;\s*do\s", line.strip())[0].strip()
                if bare.split(" ")[0] in GROUPS or PIPELINE.match(bare):
                    yield page.name, bare


COMMAND_LINES = sorted(set(command_lines()))


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The click command that a line calls, and its arguments."""
    if words[0] == "python":
        module = importlib.import_module(words[2])
        return module.main, words[3:]
    group = GROUPS[words[0]]
    if words[1].startswith("-"):
        return group, words[1:]
    assert words[1] in group.commands, f"{words[0]} has no command {words[1]}"
    return group.commands[words[1]], words[2:]


def test_the_documentation_has_commands():
    named = {line.split()[1] for _, line in COMMAND_LINES if line.split()[0] in GROUPS}
    for group in GROUPS.values():
        assert set(group.commands) - named == set(), "commands that no page shows"


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES)
def test_every_command_on_a_page_exists_with_its_options(page, line):
    command, arguments = command_of(shlex.split(line))
    known = {name: option for option in command.params for name in option.opts}
    expects_value = False
    for word in arguments:
        if expects_value or not re.match(r"--?[a-z]", word):
            expects_value = False
            continue
        assert word in known, f"{page}: {line}: no option {word}"
        expects_value = not getattr(known[word], "is_flag", False)
    assert not expects_value
    given = set(arguments)
    for option in command.params:
        if isinstance(option, click.Option) and option.required:
            assert given & set(option.opts), f"{page}: {line}: {option.opts[0]} is required"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_page_leads_somewhere(page):
    for target, anchor in LINK.findall(page_text(page)):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", page_text(path), re.MULTILINE)
            assert anchor[1:] in {slug(heading) for heading in headings}, f"{page.name}: {target}{anchor}"


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_is_in_the_index():
    index = page_text(ROOT / "docs" / "index.md")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name}" in index, page.name


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("model", ModelConfig),
        ("loss", LossConfig),
        ("features", FeatureConfig),
        ("targets", TargetConfig),
        ("inference", InferenceConfig),
        ("train", TrainConfig),
    ],
)
def test_every_setting_is_described_in_its_section(section, kind):
    described = page_text(ROOT / "docs" / "systems.md").split(f"### `{section}`\n")[1].split("\n#")[0]
    first_cells = " ".join(re.findall(r"^\| ([^|]*) \|", described, re.MULTILINE))
    names = set(re.findall(r"`(\w+)`", first_cells))
    assert names == {field.name for field in dataclasses.fields(kind)}
    assert {field.name for field in dataclasses.fields(ExperimentConfig)} >= {section}


def test_every_setting_of_a_mixture_is_described():
    described = page_text(ROOT / "docs" / "corpus.md")
    for field in dataclasses.fields(MixtureSpec):
        assert re.search(rf"^\| `{field.name}[`.]", described, re.MULTILINE), field.name


def test_the_example_encoder_works_as_printed(tmp_path):
    """Built from the page, found through its entry point by the commands of another process."""
    blocks = dict(
        re.findall(
            r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```",
            page_text(ROOT / "docs" / "adding_an_encoder.md"),
            re.DOTALL | re.MULTILINE,
        )
    )
    site = tmp_path / "site"
    metadata = site / "eight_bands-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "eight_bands.py").write_text(blocks["eight_bands.py"])
    # what pip writes from the page's pyproject.toml; pip itself needs a network for the build's requirements
    group, point = re.search(r'entry-points\."([\w.]+)"\]\n(.+ = ".+")', blocks["pyproject.toml"]).groups()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: eight-bands\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{point.replace(chr(34), '')}\n")
    script = tmp_path / "run.py"
    script.write_text(EXAMPLE)
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env={"PYTHONPATH": f"{site}:{ROOT}", "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


EXAMPLE = """
import json, sys
from pathlib import Path
import numpy as np
from click.testing import CliRunner
from amr_model.cli import main as amr
from clotho_long.cli import main as clotho_long
from clotho_long.audio.io import write_audio

root = Path(sys.argv[1])
def run(main, *words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout

sound = (0.3 * np.sin(np.arange(16000 * 7 // 2) * 0.2)).astype(np.float32)
write_audio(root / "recordings" / "street.wav", sound, 16000)
line = {"qid": "1", "query": "a low tone", "duration": 3, "vid": "street", "relevant_windows": [[1, 2]]}
(root / "train.jsonl").write_text(json.dumps(line) + "\\n")
named = ("--encoder", "eight-bands", "--jobs", 1)
run(clotho_long, "features", root / "recordings", "--out", root / "features", *named)
run(clotho_long, "text-features", root / "train.jsonl", "--out", root / "features", *named)
rows = np.load(root / "features" / "clap" / "street.npz")["features"]
assert rows.shape == (3, 8), rows.shape
settings = ("model.audio_dim=8", "model.text_dim=8", "model.hidden_dim=16", "model.num_heads=2")
small = [word for setting in settings for word in ("--set", setting)]
run(amr, "train", "--system", "S1", *small, "--epochs", 1, "--jobs", 1, "--train", root / "train.jsonl",
    "--valid", root / "train.jsonl", "--features", root / "features", "--out", root / "run")
told = run(amr, "predict", root / "recordings" / "street.wav", "--query", "a low tone",
           "--checkpoint", root / "run" / "checkpoint-best.pt", "--jobs", 1)
assert "street.wav: a low tone" in told
"""
