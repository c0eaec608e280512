"""A vector a second of all recordings, and those nearest to a query: kept by LanceDB, in a folder.

LanceDB runs inside this process, keeps its columns on disk and in versions (a reader sees a whole one, a
killed writer leaves the one before), and its tables can lie in object storage, too. benchmarks/search.md
compares it with others.

Vectors only propose where to listen: answers are read off the features. So an approximate search may miss a
place but never change a score.
"""

from __future__ import annotations

import datetime
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clotho_long.core.errors import FeatureError
from clotho_long.core.extras import require_package
from clotho_long.features.files import Features

TABLE = "seconds"
ROWS_OF_AN_ADD = 1 << 14  # rows that are held and written together
EXACT_ROWS = 100_000  # up to which every vector is compared: half a second, and nothing is missed
UNINDEXED_SHARE = 0.1  # of the rows, from which an index over the older ones is made anew
# Of the k-means behind the index: a fifth of LanceDB's own rounds, on a quarter of its vectors.
ITERATIONS, SAMPLE = 10, 64
PROBES = 64  # partitions that a query looks into
REFINE = 2  # times as many candidates as asked for are compared with their whole vectors
FAILURES = (OSError, RuntimeError, ValueError)  # what LanceDB ends in


class Near(NamedTuple):
    """A second that resembles a query."""

    recording: str
    second: int
    similarity: float


class VectorStore:
    """The vectors of an index. One writer at a time (the index's lock), any number of readers."""

    def __init__(self, folder: Path, dim: int) -> None:
        """Open the store in `folder`, which is made if it is not there.

        Raises:
            ConfigError: LanceDB is not installed.
            FeatureError: what lies there is no store of vectors of this width.
        """
        require_package("lancedb")
        import lancedb
        import pyarrow as pa

        self._folder, self.dim = folder, dim
        vector = pa.list_(pa.float32(), dim)
        self._schema = pa.schema([("recording", pa.string()), ("second", pa.int32()), ("vector", vector)])
        try:
            database = lancedb.connect(str(folder))
            self._table: Any = database.create_table(TABLE, schema=self._schema, exist_ok=True)
        except FAILURES as error:
            raise _damaged(folder, error) from None

    def num_rows(self) -> dict[str, int]:
        """Recording -> how many seconds of it are there.

        Raises:
            FeatureError: the store is damaged.
        """
        import pyarrow.compute as pc

        column = self._read(lambda: self._table.search().select(["recording"]).to_arrow()["recording"])
        counts = pc.value_counts(column)
        return {item["values"]: item["counts"] for item in counts.to_pylist()}

    def __len__(self) -> int:
        """How many vectors are there."""
        return int(self._table.count_rows())

    def add(self, recordings: Iterable[tuple[str, Features]]) -> None:
        """Add the vectors, [second, dim] float32 of unit length, of recordings that are not there.

        A recording is there with all its seconds or with none, whenever this is killed.
        """
        import pyarrow as pa

        for batch in _batches(recordings):
            ids = np.repeat([name for name, _ in batch], [len(vectors) for _, vectors in batch])
            seconds = np.concatenate([np.arange(len(vectors), dtype=np.int32) for _, vectors in batch])
            flat = np.concatenate([vectors.astype(np.float32, copy=False).ravel() for _, vectors in batch])
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), self.dim)
            columns = [pa.array(ids.tolist(), pa.string()), pa.array(seconds), vectors]
            self._table.add(pa.Table.from_arrays(columns, schema=self._schema))

    def remove(self, recordings: Iterable[str]) -> None:
        """Remove the vectors of recordings, if there are any."""
        names = sorted(recordings)
        for start in range(0, len(names), 500):
            self._table.delete(_is_one_of(names[start : start + 500]))

    def settle(self) -> None:
        """After changes: join small pieces, keep the index of a large store up to date, free the space."""
        self._tidy()
        rows = len(self)
        indexes = self._table.list_indices()
        unindexed = self._table.index_stats(indexes[0].name).num_unindexed_rows if indexes else rows
        if rows > EXACT_ROWS and unindexed > UNINDEXED_SHARE * rows:
            self._make_index(rows)
            self._tidy()

    def nearest(
        self, queries: Features, limit: int, *, among: Collection[str] | None = None
    ) -> list[list[Near]]:
        """The `limit` seconds that are nearest to each of [query, dim], best first.

        Args:
            among: recordings whose seconds count, all of which are compared; None: all recordings.

        Raises:
            FeatureError: the store is damaged.
        """
        return [self._nearest(query, limit, among) for query in queries]

    def _nearest(self, query: Features, limit: int, among: Collection[str] | None) -> list[Near]:
        def read() -> dict[str, list[Any]]:
            search = self._table.search(query, vector_column_name="vector").distance_type("cosine")
            if among is not None:
                search = search.where(_is_one_of(sorted(among)), prefilter=True).bypass_vector_index()
            elif self._table.list_indices():
                search = search.nprobes(PROBES).refine_factor(REFINE)
            columns = ["recording", "second", "_distance"]
            found: dict[str, list[Any]] = search.limit(limit).select(columns).to_arrow().to_pydict()
            return found

        found = self._read(read)
        places = zip(found["recording"], found["second"], found["_distance"], strict=True)
        near = [Near(name, int(second), 1.0 - float(distance)) for name, second, distance in places]
        # of equals always the same ones first, however the rows came to lie
        return sorted(near, key=lambda one: (-one.similarity, one.recording, one.second))

    def _read(self, work: Callable[[], Any]) -> Any:
        """What `work` reads. A version that `settle` has removed meanwhile is left for the latest."""
        try:
            return work()
        except FAILURES:
            pass
        try:
            self._table.checkout_latest()
            return work()
        except FAILURES as error:
            raise _damaged(self._folder, error) from None

    def _tidy(self) -> None:
        with warnings.catch_warnings():
            # it says that readers of older versions fail: `_read` tries again
            warnings.simplefilter("ignore", UserWarning)
            self._table.optimize(cleanup_older_than=datetime.timedelta(0))

    def _make_index(self, rows: int) -> None:
        from lancedb.index import IvfSq

        partitions = max(1, math.isqrt(rows))
        # a byte a number: product quantisation is a quarter of the size, but loses a fifth of the neighbours
        config = IvfSq(
            distance_type="cosine",
            num_partitions=partitions,
            max_iterations=ITERATIONS,
            sample_rate=SAMPLE,
        )
        self._table.create_index("vector", config=config, replace=True)


def _is_one_of(recordings: Sequence[str]) -> str:
    """The condition, in LanceDB's SQL; names are hexadecimal digits."""
    listed = ", ".join(f"'{name}'" for name in recordings)
    return f"recording IN ({listed})"


def _batches(recordings: Iterable[tuple[str, Features]]) -> Iterator[list[tuple[str, Features]]]:
    """Whole recordings, of about `ROWS_OF_AN_ADD` rows together."""
    batch: list[tuple[str, Features]] = []
    for name, vectors in recordings:
        batch.append((name, vectors))
        if sum(len(own) for _, own in batch) >= ROWS_OF_AN_ADD:
            yield batch
            batch = []
    if batch:
        yield batch


def _damaged(folder: Path, error: Exception) -> FeatureError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return FeatureError(
        f"cannot be read as a vector store ({reason})", folder, "remove it and run `amr index` again"
    )
