"""Many processes with one thread, or few with many: which encodes more windows.

    python benchmarks/extract_workers.py [--encoder logmel] [--weights FILE] [--windows 16] [--rounds 3]

The same windows of noise are encoded by each split of the cores, in turn, round after round; every process
loads the encoder before its time counts. Wall-clock time: leave the machine alone, or read ratios only.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
from joblib import Parallel, delayed, parallel_config

from clotho_long.features.extract import EncoderChoice


@click.command()
@click.option("--encoder", "name", default="logmel", show_default=True)
@click.option("--weights", type=click.Path(exists=True, path_type=Path))
@click.option("--windows", "num_windows", default=16, show_default=True, help="For each process and round.")
@click.option("--rounds", default=3, show_default=True)
def main(name: str, weights: Path | None, num_windows: int, rounds: int) -> None:
    """Print the median windows per second of every split of the cores."""
    choice = EncoderChoice(name=name, weights=weights)
    num_cores = len(os.sched_getaffinity(0))
    splits = [(jobs, num_cores // jobs) for jobs in range(1, num_cores + 1) if num_cores % jobs == 0]
    speeds: dict[tuple[int, int], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for jobs, threads in splits:
            with parallel_config(backend="loky"), Parallel(n_jobs=jobs) as pool:
                work = delayed(_encode)
                pool(work(choice, threads, 4) for _ in range(jobs))
                started = time.perf_counter()
                pool(work(choice, threads, num_windows) for _ in range(jobs))
                speeds[jobs, threads].append(jobs * num_windows / (time.perf_counter() - started))
    for (jobs, threads), measured in speeds.items():
        spread = f"{min(measured):.1f} to {max(measured):.1f}"
        click.echo(f"{jobs} x {threads} threads: {statistics.median(measured):.1f} windows/s ({spread})")


def _encode(choice: EncoderChoice, num_threads: int, num_windows: int) -> None:
    encoder = choice.load()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(num_threads)
    noise = np.random.default_rng(0).standard_normal((num_windows, encoder.window_samples), dtype=np.float32)
    encoder.encode_windows(0.1 * noise)


if __name__ == "__main__":
    main()
