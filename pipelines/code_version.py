"""Which source code a result was made with: one hash for each module of ours that a module leads to."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from clotho_long.core.files import fingerprint_file

OURS = ("amr_model", "clotho_long", "pipelines")
NATIVE_SUFFIXES = (".cpp", ".h")  # compiled code beside a package's __init__


def code_version(modules: Iterable[str]) -> dict[str, str]:
    """Hashes by module name of these modules, and of all of ours that they import, directly or not."""
    waiting, found = list(modules), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name in found or (path := _source(name)) is None:
            continue
        found[name] = fingerprint_file(path)
        if path.name == "__init__.py":
            native = (p for p in sorted(path.parent.iterdir()) if p.suffix in NATIVE_SUFFIXES)
            found |= {f"{name}/{p.name}": fingerprint_file(p) for p in native}
        waiting += _imports(path)
        if "." in name:
            waiting.append(name.rpartition(".")[0])  # a module's package runs first
    return dict(sorted(found.items()))


def _source(name: str) -> Path | None:
    """The file of a module of ours; None for what is no module, such as a class that is imported."""
    package, *parts = name.split(".")
    place = _folder(package).joinpath(*parts)
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


@cache
def _folder(package: str) -> Path:
    """Where a package lies; nothing is imported to find out."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is one of ours"
    assert spec.submodule_search_locations, f"{package} is a package"
    return Path(spec.submodule_search_locations[0])


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Names of ours that a file imports anywhere; of `from a import b` both a and a.b."""
    names = [
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _names(node)
        if name.partition(".")[0] in OURS
    ]
    return tuple(dict.fromkeys(names))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
