"""Whether an index is what it says: every file, row and vector of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from amr_model.index.catalog import VECTORS, Catalog, Entry, read_catalog
from amr_model.index.vectors import VectorStore
from clotho_long.core.errors import FeatureError
from clotho_long.core.files import fingerprint_file
from clotho_long.core.work import Watch, unwatched
from clotho_long.features.encode import Problem
from clotho_long.features.files import AUDIO_KEY, audio_file, read_features
from clotho_long.features.pack import FeatureFolder
from clotho_long.features.recordings import readable


def check_index(folder: Path, *, watch: Watch = unwatched) -> tuple[int, list[Problem]]:
    """How many recordings an index holds, and everything that is wrong with it; changes nothing.

    All recordings and features are read, so it takes as long as reading them does.

    Raises:
        ManifestError: there is no index, or its list of recordings is damaged.
        ConfigError: it holds vectors, and LanceDB is not installed.
    """
    catalog = read_catalog(folder)
    problems: list[Problem] = []
    paths = sorted(catalog.entries)
    for path in watch(paths, total=len(paths), label="checking", unit="recording"):
        problems += _of_file(catalog.entries[path])
    contents = catalog.contents
    for name, entry in contents.items():
        problems += _of_features(catalog, name, entry)
    for name in FeatureFolder(features_dir=catalog.features_dir, kind="audio").items():
        if name not in contents:
            problems.append(_said(audio_file(catalog.features_dir, name), "belongs to no recording"))
    problems += _of_vectors(catalog)
    return len(catalog.entries), problems


def _of_file(entry: Entry) -> Iterator[Problem]:
    try:
        content = fingerprint_file(entry.path)
    except OSError as error:
        yield _said(entry.path, f"cannot be read ({error.strerror})")
        return
    if content != entry.content:
        yield _said(entry.path, "was changed since it was heard")


def _of_features(catalog: Catalog, name: str, entry: Entry) -> Iterator[Problem]:
    file = audio_file(catalog.features_dir, name)
    try:
        rows, note = read_features(file, AUDIO_KEY)
    except FeatureError as error:
        yield _said(file, error.problem)
        return
    if len(rows) != entry.rows:
        yield _said(file, f"holds {len(rows)} rows instead of {entry.rows}")
    if not np.isfinite(rows).all():
        yield _said(file, "holds numbers that are not finite")
    facts = note or {}
    if facts.get("encoder") != catalog.made_by or facts.get("windows") != catalog.hearing.windows:
        yield _said(file, "was made by another encoder, or with other windows")
    source = facts.get("source")
    if not isinstance(source, dict) or source.get("file") != entry.content:
        yield _said(file, f"was not made of {readable(entry.path)}")


def _of_vectors(catalog: Catalog) -> Iterator[Problem]:
    if catalog.space_dim is None:
        return
    folder = catalog.folder / VECTORS
    try:
        there = VectorStore(folder, catalog.space_dim).num_rows()
    except FeatureError as error:
        yield _said(folder, error.problem)
        return
    contents = catalog.contents
    for name, entry in contents.items():
        if there.get(name, 0) != entry.rows:
            yield _said(
                folder, f"holds {there.get(name, 0)} of {entry.rows} vectors of {readable(entry.path)}"
            )
    for name in sorted(there.keys() - contents.keys()):
        yield _said(folder, f"holds {there[name]} vectors of {name}, which is no recording")


def _said(path: Path, problem: str) -> Problem:
    return Problem(item=readable(path), reason=problem)
