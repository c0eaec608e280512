"""Where to keep a vector a second: LanceDB beside FAISS, by size, time, memory, recall and dependencies.

    pip install faiss-cpu
    python -m benchmarks.vector_stores --vectors 2000000 --out DIR

Vectors are drawn with the statistics of CLAP's rows (a mean that all share, a background of each recording, a
few dozen directions, events of some seconds); the same seed draws the same ones. Both stores quantise as
`amr index` does (IVF-SQ, a byte a number, as many partitions as the root of their number), and compare
twice as many candidates as asked for with whole vectors: LanceDB reads these from disk, FAISS has them in
memory. Each works in a process of its own. Prints a table.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Result = TypeVar("Result")

RECORDING_S = 600
RANK = 64
QUERIES, NEAREST = 100, 100
MORE_PROBES = 4
PACKAGES = {
    "lancedb": (
        "lancedb",
        "pyarrow",
        "lance-namespace",
        "lance-namespace-urllib3-client",
        "deprecation",
        "overrides",
    ),
    "faiss": ("faiss-cpu",),
}
COLUMNS = (
    "store", "size", "add", "index", "a query: first; further", f"recall@{NEAREST}",
    f"{MORE_PROBES} times the probes: a query, recall",
    "a query without an index", "peak memory", "packages",
)  # fmt: skip


@click.command()
@click.option("--vectors", "num", default=2_000_000, show_default=True, help="How many.")
@click.option("--dim", default=1024, show_default=True, help="Numbers of each.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder for the stores.")
@click.option("--store", type=click.Choice(sorted(PACKAGES)), help="Only this one, here; prints JSON.")
def main(num: int, dim: int, out: Path, store: str | None) -> None:
    """Draw vectors, let each store build and answer, print a table."""
    out.mkdir(parents=True, exist_ok=True)
    if store is not None:
        measure = {"lancedb": _lancedb, "faiss": _faiss}[store]
        print(json.dumps(measure(num, dim, out)))
        return
    started = time.perf_counter()
    queries, expected = _truth(num, dim)
    np.savez(out / "truth.npz", queries=queries, expected=expected)
    print(f"{num:,} vectors of {dim}; truth of {QUERIES} queries: {time.perf_counter() - started:.0f} s")
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"| {' | '.join('---' for _ in COLUMNS)} |", flush=True)
    for name in sorted(PACKAGES, reverse=True):
        command = [sys.executable, "-m", "benchmarks.vector_stores", "--store", name]
        command += ["--vectors", str(num), "--dim", str(dim), "--out", str(out)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        print(_row(name, json.loads(done.stdout.splitlines()[-1])), flush=True)


def drawn(num: int, dim: int, seed: int = 0) -> Iterator[Vectors]:
    """[second, dim] of unit length, a recording at a time."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(99).standard_normal((dim, RANK + 1)))[0].T
    spectrum = (np.arange(RANK) + 1.2) ** -1.25
    spectrum /= np.linalg.norm(spectrum)
    for start in range(0, num, RECORDING_S):
        count = min(RECORDING_S, num - start)
        events = rng.standard_normal((count // 8 + 2, RANK))
        drift = np.repeat(events, 8, axis=0)[:count] * 0.53 * spectrum
        noise = rng.standard_normal((count, RANK)) * 0.56 * spectrum
        background = rng.standard_normal(RANK) * 0.61 * spectrum
        rows = axes[0] + (drift + noise + background) @ axes[1:]
        rows += 0.05 / math.sqrt(dim) * rng.standard_normal((count, dim))
        yield (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _truth(num: int, dim: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """Queries, and the places of the vectors nearest to each, by comparing all."""
    # a second of each of as many recordings: neighbours would all be found, or all be missed, together
    queries = np.stack([rows[0] for rows in drawn(QUERIES * RECORDING_S, dim, seed=1)])
    best = np.full((QUERIES, NEAREST), -2.0, np.float32)
    place = np.zeros((QUERIES, NEAREST), np.int64)
    start = 0
    for rows in drawn(num, dim):
        scores = np.concatenate([best, queries @ rows.T], axis=1)
        places = np.concatenate([place, np.tile(np.arange(start, start + len(rows)), (QUERIES, 1))], axis=1)
        kept = np.argpartition(-scores, NEAREST - 1, axis=1)[:, :NEAREST]
        best, place = np.take_along_axis(scores, kept, 1), np.take_along_axis(places, kept, 1)
        start += len(rows)
    return queries, place


def _lancedb(num: int, dim: int, out: Path) -> dict[str, float]:
    from amr_model.index import vectors

    vectors.EXACT_ROWS = num  # no index yet
    store = vectors.VectorStore(out / "lancedb", dim)
    named = ((f"{at:08d}", rows) for at, rows in enumerate(drawn(num, dim)))
    add_s, _ = _timed(lambda: store.add(named))
    store.settle()
    queries, expected = _read_truth(out)

    def places(query: Vectors) -> list[int]:
        near = store.nearest(query[None], NEAREST)[0]
        return [int(one.recording) * RECORDING_S + one.second for one in near]

    exact = [_timed(lambda q=q: places(q))[0] for q in queries[:10]]
    vectors.EXACT_ROWS = 0
    index_s, _ = _timed(store.settle)
    asked = _asked(places, queries, expected)
    vectors.PROBES *= MORE_PROBES
    asked |= {f"more_{name}": value for name, value in _asked(places, queries, expected).items()}
    times = {"add_s": add_s, "index_s": index_s, "exact_s": float(np.median(exact))}
    return {**times, **asked, "bytes": _size(out / "lancedb")}


def _faiss(num: int, dim: int, out: Path) -> dict[str, float]:
    import faiss

    from amr_model.index import vectors

    queries, expected = _read_truth(out)
    flat = faiss.IndexFlatIP(dim)
    add_s, _ = _timed(lambda: [flat.add(rows) for rows in drawn(num, dim)])
    exact = [_timed(lambda q=q: flat.search(q[None], NEAREST))[0] for q in queries[:10]]
    whole = faiss.rev_swig_ptr(flat.get_xb(), num * dim).reshape(num, dim)

    def build() -> object:
        partitions = math.isqrt(num)
        coarse = faiss.IndexFlatIP(dim)
        index = faiss.IndexIVFScalarQuantizer(
            coarse, dim, partitions, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.niter = vectors.ITERATIONS
        sample = np.random.default_rng(0).permutation(num)[: max(vectors.SAMPLE * partitions, 1 << 14)]
        index.train(whole[np.sort(sample)])
        index.add(whole)
        index.nprobe = vectors.PROBES
        return index

    index_s, index = _timed(build)
    refined = faiss.IndexRefine(index, flat)
    refined.k_factor = vectors.REFINE
    faiss.write_index(index, str(out / "ivfsq.faiss"))
    faiss.write_index(flat, str(out / "flat.faiss"))
    asked = _asked(lambda query: refined.search(query[None], NEAREST)[1][0].tolist(), queries, expected)
    index.nprobe *= MORE_PROBES
    more = _asked(lambda query: refined.search(query[None], NEAREST)[1][0].tolist(), queries, expected)
    asked |= {f"more_{name}": value for name, value in more.items()}
    size = (out / "ivfsq.faiss").stat().st_size + (out / "flat.faiss").stat().st_size
    times = {"add_s": add_s, "index_s": index_s, "exact_s": float(np.median(exact))}
    return {**times, **asked, "bytes": size}


def _asked(
    places: Callable[[Vectors], list[int]], queries: Vectors, expected: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Time and recall of all queries, one after the other."""
    seconds, found = zip(*(_timed(lambda q=q: places(q)) for q in queries), strict=True)
    hits = [len(set(own) & set(true.tolist())) / NEAREST for own, true in zip(found, expected, strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "first_s": seconds[0],
        "query_s": float(np.median(seconds[1:])),
        "recall": float(np.mean(hits)),
        "peak": peak,
    }


def _row(name: str, got: dict[str, float]) -> str:
    files = [file for package in PACKAGES[name] for file in metadata.files(package) or ()]
    installed = sum(Path(file.locate()).stat().st_size for file in files if Path(file.locate()).exists())
    cells = (
        name,
        f"{got['bytes'] / 1e9:.2f} GB",
        f"{got['add_s']:.0f} s",
        f"{got['index_s']:.0f} s",
        f"{1000 * got['first_s']:.0f}; {1000 * got['query_s']:.0f} ms",
        f"{100 * got['recall']:.1f} %",
        f"{1000 * got['more_query_s']:.0f} ms, {100 * got['more_recall']:.1f} %",
        f"{1000 * got['exact_s']:.0f} ms",
        f"{got['peak'] / 1e9:.2f} GB",
        f"{len(PACKAGES[name])}, {installed / 1e6:.0f} MB",
    )
    return f"| {' | '.join(cells)} |"


def _read_truth(out: Path) -> tuple[Vectors, npt.NDArray[np.int64]]:
    with np.load(out / "truth.npz") as arrays:
        return arrays["queries"], arrays["expected"]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
