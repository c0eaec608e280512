"""The vector store: whole recordings, the nearest seconds, and an index that finds nearly the same."""

from __future__ import annotations

import numpy as np
import pytest

from amr_model.index import vectors
from amr_model.index.vectors import VectorStore
from clotho_long.core.errors import FeatureError

DIM = 8


def unit(num: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((num, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_nearest_seconds_are_those_of_comparing_all(tmp_path):
    recordings = {f"{at:032x}": unit(30 + at, at) for at in range(5)}
    store = VectorStore(tmp_path, DIM)
    store.add(recordings.items())
    assert store.num_rows() == {name: len(rows) for name, rows in recordings.items()}
    queries = unit(2, 99)
    for query, near in zip(queries, store.nearest(queries, 7), strict=True):
        everything = [
            (float(row @ query), name, second)
            for name, rows in recordings.items()
            for second, row in enumerate(rows)
        ]
        best = sorted(everything, reverse=True)[:7]
        assert [(one.recording, one.second) for one in near] == [(name, second) for _, name, second in best]
        assert [one.similarity for one in near] == pytest.approx([value for value, *_ in best], abs=1e-5)


def test_what_is_removed_is_found_no_more_and_a_reader_sees_it(tmp_path):
    store = VectorStore(tmp_path, DIM)
    rows = unit(20, 1)
    store.add([("a" * 32, rows), ("b" * 32, rows)])
    store.remove(["a" * 32, "c" * 32])
    store.settle()
    assert VectorStore(tmp_path, DIM).num_rows() == {"b" * 32: 20}
    assert {one.recording for one in store.nearest(rows[:1], 5)[0]} == {"b" * 32}


def test_a_large_store_gets_an_index_that_finds_nearly_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "EXACT_ROWS", 500)
    store = VectorStore(tmp_path, DIM)
    store.add([("a" * 32, unit(600, 3))])
    query = unit(1, 4)
    exact = {one.second for one in store.nearest(query, 10)[0]}
    store.settle()
    assert len(exact & {one.second for one in store.nearest(query, 10)[0]}) >= 9
    store.add([("b" * 32, query)])  # what is not in the index yet is found all the same
    assert store.nearest(query, 1)[0][0].recording == "b" * 32


@pytest.mark.parametrize("settled", [False, True])
def test_just_the_recordings_that_are_named_are_compared_all_of_them(tmp_path, monkeypatch, settled):
    monkeypatch.setattr(vectors, "EXACT_ROWS", 500)
    recordings = {letter * 32: unit(400, at) for at, letter in enumerate("abc")}
    store = VectorStore(tmp_path, DIM)
    store.add(recordings.items())
    if settled:
        store.settle()
    query = recordings["a" * 32][7:8]
    assert store.nearest(query, 1)[0][0].recording == "a" * 32
    near = store.nearest(query, 1000, among=["b" * 32, "c" * 32, "d" * 32])[0]
    best = np.concatenate([recordings["b" * 32], recordings["c" * 32]]) @ query[0]
    assert [one.similarity for one in near] == pytest.approx(sorted(best, reverse=True), abs=1e-5)


def test_what_is_no_store_of_this_width_is_one_line(tmp_path):
    VectorStore(tmp_path / "store", DIM)
    with pytest.raises(FeatureError, match="cannot be read as a vector store"):
        VectorStore(tmp_path / "store", DIM + 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(FeatureError, match="cannot be read as a vector store"):
        VectorStore(tmp_path / "file", DIM)
