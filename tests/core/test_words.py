"""One word for one thing in public names (docs/index.md, CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.test_architecture import modules

# What a package does not call its things: a stretch is no chunk; inside the model a second is a row and what
# answers is a moment; only generated mixtures are clips.
REFUSED = {
    "clotho_long": {"chunk", "ear", "crew", "deaf"},
    "amr_model": {"chunk", "ear", "crew", "deaf", "clip", "window"},
    "pipelines": {"chunk", "ear", "crew", "deaf", "window"},
}
# An encoder's windows, which both name by where they lie.
WINDOWS_OF_AN_ENCODER = {"Convention", "WindowChoice"}
Annotation = ast.expr | None


def public_names(body: list[ast.stmt]) -> Iterator[tuple[str, Annotation]]:
    """Functions, their parameters, classes, fields and constants, with what annotates them."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            yield node.name, node.returns if isinstance(node, ast.FunctionDef) else None
            if isinstance(node, ast.ClassDef):
                yield from public_names(node.body)
            else:
                for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                    yield argument.arg, argument.annotation
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation
        elif isinstance(node, ast.Assign):
            yield from ((target.id, None) for target in node.targets if isinstance(target, ast.Name))


def words_of(name: str) -> set[str]:
    return {word.lower().rstrip("s") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_public_names_use_the_project_s_words(module: str, path: Path) -> None:
    refused = REFUSED[module.split(".")[0]]
    for name, annotation in public_names(ast.parse(path.read_text(encoding="utf-8")).body):
        annotated = {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)} if annotation else set()
        if annotated & WINDOWS_OF_AN_ENCODER:
            continue
        if name == "max_clips":  # of a corpus: mixtures
            continue
        assert not (words_of(name) & refused), f"{module}: {name}"


def test_the_check_sees_what_it_refuses() -> None:
    code = "CHUNK = 1\nclass A:\n    windows: int\n    def ask(self, clip_s): ...\ndef _window(): ..."
    seen = set().union(*(words_of(name) for name, _ in public_names(ast.parse(code).body)))
    assert {"chunk", "window", "clip"} <= seen
