"""How fast windows are prepared (mix, resample, cut), and what share of extraction that is.

    python benchmarks/extract_feed.py CORPUS [--encoder logmel] [--weights FILE] [--recordings N]

CORPUS is a planned corpus. Every recording goes through all steps before the next one does, on one core;
times are processor time, so that other work on the machine does not count. The last lines prepare recordings
on threads, as extraction on a GPU does, and are wall-clock time.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from clotho_long.audio.io import resample
from clotho_long.core.work import one_thread
from clotho_long.corpus import Corpus
from clotho_long.features.encoder import Encoder
from clotho_long.features.extract import PIECE_WINDOWS, EncoderChoice, WindowChoice
from clotho_long.features.windows import Windows
from clotho_long.stages.mixtures import MixtureTask, mixture_tasks, render_mixture


@click.command()
@click.argument("corpus_dir", metavar="CORPUS", type=click.Path(exists=True, path_type=Path))
@click.option("--encoder", "name", default="logmel", show_default=True)
@click.option("--weights", type=click.Path(exists=True, path_type=Path))
@click.option("--recordings", "num_recordings", default=8, show_default=True)
def main(corpus_dir: Path, name: str, weights: Path | None, num_recordings: int) -> None:
    """Print seconds and windows per second of each step of extraction."""
    corpus = Corpus(corpus_dir)
    tasks = mixture_tasks(corpus, corpus.planned_splits)[:num_recordings]
    encoder = EncoderChoice(name=name, weights=weights).load()
    for task in tasks:
        render_mixture(task)  # decodes the sources into the corpus's cache, once for all runs
    spent: dict[str, float] = defaultdict(float)
    num_windows = 0
    with one_thread():
        for task in tasks:
            windows = _prepare(task, encoder, spent)
            num_windows += len(windows)
            with _Timer(spent, "encode"):
                encoder.encode_windows(windows)
    total_s = sum(spent.values())
    click.echo(f"{len(tasks)} recordings, {num_windows} windows of {encoder.name}, one core")
    for step, seconds in spent.items():
        click.echo(f"{step:9} {num_windows / seconds:10,.0f} windows/s {100 * seconds / total_s:6.2f} %")
    prepare_s = total_s - spent["encode"]
    click.echo(f"all but encoding: {num_windows / prepare_s:,.0f} windows/s a core")
    for num_threads in (1, len(os.sched_getaffinity(0))):
        started = time.perf_counter()
        with ThreadPoolExecutor(num_threads) as pool:
            counts = list(pool.map(lambda task: len(_prepare(task, encoder, defaultdict(float))), tasks))
        click.echo(f"{num_threads} threads: {sum(counts) / (time.perf_counter() - started):,.0f} windows/s")


def _prepare(task: MixtureTask, encoder: Encoder, spent: dict[str, float]) -> Windows:
    with _Timer(spent, "mix"):
        mixture = render_mixture(task)
    with _Timer(spent, "resample"):
        sound = resample(mixture, task.recipe.sample_rate_hz, encoder.sample_rate_hz)
    with _Timer(spent, "cut"):
        (windows,) = WindowChoice().grid(encoder).cut([sound], PIECE_WINDOWS)
    return windows


class _Timer:
    """Adds the processor time of a block to one step."""

    def __init__(self, spent: dict[str, float], step: str) -> None:
        self._spent, self._step = spent, step

    def __enter__(self) -> None:
        self._started = time.thread_time()

    def __exit__(self, *exception: object) -> None:
        self._spent[self._step] += time.thread_time() - self._started


if __name__ == "__main__":
    main()
