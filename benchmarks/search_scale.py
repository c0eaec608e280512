"""Searching 500 hours: what an index of two million seconds takes to build, and a query to answer.

    OMP_NUM_THREADS=1 python -m benchmarks.search_scale --out DIR --hours 500

Nothing is heard: features are drawn with the statistics of CLAP's rows (`vector_stores.drawn`), written as
`amr index` writes them (float16), and projected to a vector a second by a stand-in for MS-CLAP, 768 numbers
to 1,024. Everything else is the code that `amr search` runs, with an S9 of the report's size and random
weights, whose moments mean nothing and cost what others cost. Recall is that of the approximate nearest
seconds beside comparing all vectors.

Building and asking work in processes of their own. Before asking, the index is dropped from the page cache,
so that the first query reads the disk. 500 hours take 14 GB of disk, while they are made 17. Prints a list.
On a busy machine take one thread: two that wait for each other cost several times as much.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import numpy.typing as npt

from amr_model.index.catalog import VECTORS, Catalog, Entry, Hearing
from benchmarks.standin_encoder import DIM, NAME, SPACE_DIM, Space, StandIn, install
from benchmarks.vector_stores import RECORDING_S, Vectors, drawn
from clotho_long.core.files import WHOLE
from clotho_long.features.extract import WindowChoice
from clotho_long.features.files import AUDIO_KEY, audio_file, write_features
from clotho_long.features.provenance import audio_note

Result = TypeVar("Result")

HOUR_S = 3600
QUERIES, TIMED = 20, 9  # whose candidates are compared with exact ones; that are answered, first included
INDEX, CHECKPOINT, TRUTH = "index", "random.pt", "truth.npz"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder for the index.")
@click.option("--hours", default=500, show_default=True, help="Recordings of an hour each.")
@click.option("--keep", is_flag=True, help="Leave the index there, and take one that is there already.")
@click.option("--step", type=click.Choice(["build", "ask"]), hidden=True)
def main(out: Path, hours: int, keep: bool, step: str | None) -> None:
    """Build an index, ask it, print a table."""
    if step is not None:
        install()
        print(json.dumps({"build": _build, "ask": _ask}[step](out, hours)))
        return
    try:
        if not (keep and (out / TRUTH).is_file()):
            out.mkdir(parents=True, exist_ok=True)
            _print_build(_in_process("build", out, hours))
        _print_asked(_in_process("ask", out, hours))
    finally:
        if not keep:
            shutil.rmtree(out / INDEX, ignore_errors=True)


def _in_process(step: str, out: Path, hours: int) -> dict[str, Any]:
    command = [sys.executable, "-c", "from benchmarks.search_scale import main; main()"]
    command += ["--out", str(out), "--hours", str(hours), "--step", step]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# Building.


def _build(out: Path, hours: int) -> dict[str, Any]:
    import torch

    from amr_model.checkpoint import Checkpoint, save_checkpoint
    from amr_model.config import system
    from amr_model.index.search import CANDIDATES, NEAR_OF_A_PLACE
    from amr_model.index.vectors import VectorStore
    from amr_model.public.networks import network_of
    from clotho_long.core.settings import override

    shutil.rmtree(out / INDEX, ignore_errors=True)
    catalog = _catalog(out / INDEX, hours)
    store = VectorStore(catalog.folder / VECTORS, SPACE_DIM)
    truth = _Truth(NEAR_OF_A_PLACE * CANDIDATES)
    away: list[float] = []  # seconds of drawing and comparing, which are not the store's

    def vectors() -> Iterator[tuple[str, Vectors]]:
        rows = _hours()
        for name, entry in catalog.contents.items():
            started = time.perf_counter()
            projected = _write(catalog, entry, next(rows))
            truth.add(name, projected)
            away.append(time.perf_counter() - started)
            yield name, projected

    add_s = _timed(lambda: store.add(vectors()))[0] - sum(away)
    add_peak = _peak()
    settle_s, _ = _timed(store.settle)
    catalog.write()
    truth.write(out / TRUTH)
    config = override(system("S9"), [f"targets.encoder={NAME}"])
    torch.manual_seed(3)
    save_checkpoint(out / CHECKPOINT, Checkpoint(config=config, model=network_of(config.model).state_dict()))
    return {
        "vectors": len(store),
        "add_s": add_s,
        "add_peak": add_peak,
        "settle_s": settle_s,
        "peak": _peak(),
        "features": _size(catalog.features_dir),
        "store": _size(catalog.folder / VECTORS),
        "catalog": sum(file.stat().st_size for file in catalog.folder.iterdir() if file.is_file()),
    }


def _catalog(folder: Path, hours: int) -> Catalog:
    """The recordings of an index, of which no file is there: a search reads none."""
    hearing = Hearing(encoder=NAME, float16=True)
    entries = [
        Entry(
            path=Path(f"/recordings/{at:04d}.wav"),
            content=f"{WHOLE}{hashlib.sha256(str(at).encode()).hexdigest()}",
            state=None,
            duration_s=float(HOUR_S),
            rows=HOUR_S,
        )
        for at in range(hours)
    ]
    return Catalog(
        folder=folder,
        hearing=hearing,
        made_by=hearing.choice(device="cpu").provenance(),
        space_dim=SPACE_DIM,
        roots=(Path("/recordings"),),
        entries={entry.path: entry for entry in entries},
    )


def _hours() -> Iterator[Vectors]:
    """[HOUR_S, DIM], as many as are asked for."""
    pieces = drawn(1 << 40, DIM)
    while True:
        yield np.concatenate(list(islice(pieces, HOUR_S // RECORDING_S)))


def _write(catalog: Catalog, entry: Entry, rows: Vectors) -> Vectors:
    """Write the features of a recording; its vectors."""
    choice = catalog.hearing.choice(device="cpu")
    note = audio_note(choice, WindowChoice(convention=catalog.hearing.windows), {"file": entry.content})
    file = audio_file(catalog.features_dir, entry.features_id)
    write_features(file, rows, AUDIO_KEY, note, float16=catalog.hearing.float16)
    return Space().project_rows(catalog.features(entry))


class _Truth:
    """The seconds nearest to each query, by comparing all."""

    def __init__(self, limit: int) -> None:
        self._queries = _vectors_of(_sentences())
        self._limit = limit
        self._names: list[str] = []
        self._scores = np.full((len(self._queries), limit), -2.0, np.float32)
        self._places = np.zeros((len(self._queries), limit), np.int64)

    def add(self, name: str, vectors: Vectors) -> None:
        """Compare the vectors of a recording."""
        first = HOUR_S * len(self._names)
        self._names.append(name)
        places = np.broadcast_to(np.arange(first, first + len(vectors)), (len(self._queries), len(vectors)))
        scores = np.concatenate([self._scores, self._queries @ vectors.T], axis=1)
        places = np.concatenate([self._places, places], axis=1)
        kept = np.argpartition(-scores, self._limit - 1, axis=1)[:, : self._limit]
        self._scores = np.take_along_axis(scores, kept, axis=1)
        self._places = np.take_along_axis(places, kept, axis=1)

    def write(self, file: Path) -> None:
        """Best first."""
        order = np.argsort(-self._scores, axis=1)
        np.savez(
            file,
            names=np.array(self._names),
            places=np.take_along_axis(self._places, order, axis=1),
            scores=np.take_along_axis(self._scores, order, axis=1),
        )


# Asking.


def _ask(out: Path, hours: int) -> dict[str, Any]:
    _drop_from_cache(out / INDEX)
    import_s, amr_model = _timed(lambda: importlib.import_module("amr_model"))
    open_s, index = _timed(
        lambda: amr_model.open_index(out / INDEX, checkpoint=out / CHECKPOINT, device="cpu")
    )
    stages = _Stages()
    asked = []
    for sentence in _sentences()[:TIMED]:
        stages.begin()
        before_s = time.process_time()
        seconds, rankings = _timed(partial(index.rank, sentence, min_score=0.0))
        assert rankings[0].hits
        asked.append({"all_s": seconds, "cpu_s": time.process_time() - before_s, **stages.told()})
    first, further = asked[0], asked[1:]
    peak = _peak()
    return {
        "import_s": import_s,
        "open_s": open_s,
        "first": first,
        "further": {name: float(np.median([one[name] for one in further])) for name in first},
        "slowest_s": max(one["all_s"] for one in further),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "peak": peak,
        **_recall(out, index),
    }


class _Stages:
    """How long each part of a search took, and how many stretches were heard."""

    def __init__(self) -> None:
        from amr_model.answer.run import Asker
        from amr_model.index.search import Index

        self._told: dict[str, float] = {}
        places, outputs = Index._places, Asker.outputs

        def timed_places(*given: Any) -> Any:
            seconds, result = _timed(lambda: places(*given))
            self._told["stage_one_s"] = seconds
            self._told["recordings"] = len(result[0])
            return result

        def timed_outputs(asker: Asker, batch: Any) -> Any:
            seconds, result = _timed(lambda: outputs(asker, batch))
            self._told["network_s"] += seconds
            self._told["stretches"] += len(batch.audio)
            return result

        Index._places = timed_places  # type: ignore[method-assign, assignment]
        Asker.outputs = timed_outputs  # type: ignore[method-assign, assignment]

    def begin(self) -> None:
        """Before a query."""
        self._told = {"stage_one_s": 0.0, "recordings": 0, "network_s": 0.0, "stretches": 0}

    def told(self) -> dict[str, float]:
        """Of the query since."""
        return dict(self._told)


def _recall(out: Path, index: Any) -> dict[str, float]:
    """Of the nearest seconds, and of the places that follow from them."""
    from amr_model.index.search import CANDIDATES, NEAR_OF_A_PLACE, _of_near

    near = index._near(_vectors_of(_sentences()), CANDIDATES)
    with np.load(out / TRUTH) as truth:
        names, places, scores = truth["names"].tolist(), truth["places"], truth["scores"]
    seconds, minutes, num_places = [], [], []
    for found, own_places, own_scores in zip(near, places.tolist(), scores.tolist(), strict=True):
        true = [
            (score, names[place // HOUR_S], place % HOUR_S)
            for place, score in zip(own_places, own_scores, strict=True)
        ]
        seconds.append(_share({one[1:] for one in found}, {one[1:] for one in true}))
        proposed, exact = (_minutes(_of_near(some, CANDIDATES)) for some in (found, true))
        minutes.append(_share(proposed, exact))
        num_places.append(len(proposed))
    return {
        "nearest": NEAR_OF_A_PLACE * CANDIDATES,
        "recall_seconds": float(np.mean(seconds)),
        "recall_places": float(np.mean(minutes)),
        "places": float(np.mean(num_places)),
    }


def _minutes(where: Mapping[str, npt.NDArray[np.int64]]) -> set[tuple[str, int]]:
    from amr_model.index.search import PLACE_ROWS

    return {(name, row // PLACE_ROWS) for name, rows in where.items() for row in rows.tolist()}


def _share(found: set[Any], true: set[Any]) -> float:
    return len(found & true) / len(true)


def _sentences() -> list[str]:
    return [f"sound number {at}" for at in range(QUERIES)]


def _vectors_of(sentences: Sequence[str]) -> Vectors:
    return Space().project_texts(StandIn().encode_texts(sentences))


def _drop_from_cache(folder: Path) -> None:
    """Ask the kernel to read these files from disk when they are next read."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# Telling.


def _print_build(got: dict[str, Any]) -> None:
    print(f"{got['vectors']:,} vectors")
    print(
        f"features {got['features'] / 1e9:.2f} GB, vectors {got['store'] / 1e9:.2f} GB, "
        f"catalogue {got['catalog'] / 1e6:.2f} MB"
    )
    print(f"adding vectors {got['add_s']:.0f} s, peak {got['add_peak'] / 1e9:.2f} GB")
    print(f"joining pieces and indexing {got['settle_s']:.0f} s, peak {got['peak'] / 1e9:.2f} GB", flush=True)


def _print_asked(got: dict[str, Any]) -> None:
    print(f"importing {got['import_s']:.1f} s, opening {got['open_s']:.1f} s, threads {got['threads']}")
    for label in ("first", "further"):
        one = got[label]
        rest_s = one["all_s"] - one["stage_one_s"] - one["network_s"]
        print(f"{label} query {one['all_s']:.2f} s, of processors {one['cpu_s']:.2f} s")
        print(
            f"  where to listen {one['stage_one_s']:.2f} s, network {one['network_s']:.2f}, rest {rest_s:.2f}"
        )
        print(f"  {one['stretches']:.0f} stretches of {one['recordings']:.0f} recordings")
    print(f"slowest further query {got['slowest_s']:.2f} s, peak {got['peak'] / 1e9:.2f} GB")
    print(
        f"of the {got['nearest']} nearest seconds {100 * got['recall_seconds']:.1f} % are found, of the "
        f"{got['places']:.0f} places {100 * got['recall_places']:.1f} %"
    )


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
