"""Imports point one way. Review does not see this; this test does."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Which parts of the project each part may import. A part is the longest prefix listed here.
CORPUS_SIDE = ("clotho_long.core", "clotho_long.features")
MAY_IMPORT = {
    "clotho_long.core": set(),
    "clotho_long.recipe": {"clotho_long.core"},
    "clotho_long.audio": {"clotho_long.core"},
    "clotho_long.sources": {"clotho_long.core", "clotho_long.audio"},
    "clotho_long.features": {"clotho_long.core", "clotho_long.audio"},
    "clotho_long.corpus": {"clotho_long.core", "clotho_long.recipe", "clotho_long.sources", "clotho_long"},
    "clotho_long.stages": {
        "clotho_long.core",
        "clotho_long.recipe",
        "clotho_long.audio",
        "clotho_long.sources",
        "clotho_long.features",
        "clotho_long.corpus",
    },
    # Public networks are the papers' with other parts: public knows model, which knows nothing of it. Other
    # rooms take from public what settings ask for: a network, or public labels, losses and rankings.
    "amr_model.public": {"amr_model", "amr_model.model", "clotho_long.core"},
    "amr_model.model": {"amr_model", "clotho_long.core"},
    "amr_model.data": {"amr_model", "amr_model.public", *CORPUS_SIDE},
    "amr_model.scoring": {"amr_model", "clotho_long.core"},
    "amr_model.answer": {
        "amr_model",
        "amr_model.data",
        "amr_model.public",
        "clotho_long.audio",
        *CORPUS_SIDE,
    },
    "amr_model.index": {"amr_model", "amr_model.answer", "clotho_long.audio", *CORPUS_SIDE},
    "amr_model.learn": {
        "amr_model",
        "amr_model.answer",
        "amr_model.data",
        "amr_model.model",
        "amr_model.public",
        "amr_model.scoring",
        "clotho_long.core",
    },
}
PARTS = sorted(
    {*MAY_IMPORT, "clotho_long", "clotho_long.cli", "amr_model", "pipelines"}, key=len, reverse=True
)


def part_of(module: str) -> str | None:
    return next((part for part in PARTS if module == part or module.startswith(f"{part}.")), None)


def imports_of(path: Path) -> set[str]:
    """Modules of the project that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return {name for name in found if part_of(name)}


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
        for package in ("clotho_long", "amr_model", "pipelines")
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_point_one_way(module: str, path: Path) -> None:
    part = part_of(module)
    for imported in imports_of(path):
        target = part_of(imported)
        assert not (imported.startswith("pipelines") and part != "pipelines"), f"{module} imports {imported}"
        assert not (imported.startswith("amr_model") and module.startswith("clotho_long")), (
            f"{module} imports {imported}"
        )
        if part in MAY_IMPORT:
            assert target == part or target in MAY_IMPORT[part], f"{module} imports {imported}"


def test_importing_the_generator_loads_no_torch() -> None:
    code = "import sys, clotho_long.cli, clotho_long.stages.render; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_only_the_audio_package_opens_sound_files() -> None:
    for module, path in modules():
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        if not module.startswith("clotho_long.audio.") and module != "pipelines.synthetic":
            assert not names & {"soundfile", "av", "soxr"}, module


def test_one_module_knows_where_vectors_are_kept() -> None:
    for module, path in modules():
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        if module != "amr_model.index.vectors":
            assert not {name.split(".")[0] for name in names} & {"lancedb", "pyarrow"}, module
