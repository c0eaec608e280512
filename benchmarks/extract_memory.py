"""Peak memory of `clotho-long features` for a recording of 300 s and one of 3 hours.

    python benchmarks/extract_memory.py [--encoder logmel] [--weights FILE] [--seconds 300 --seconds 10800]

Each recording is synthesised (44.1 kHz stereo, 16 bit), encoded by a process of its own, and deleted.
"""

from __future__ import annotations

import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import soundfile

from clotho_long.core.work import Workers
from clotho_long.features.extract import EncoderChoice, WindowChoice
from clotho_long.stages.extract import extract_recordings

RATE_HZ = 44_100


@click.command()
@click.option("--encoder", "name", default="logmel", show_default=True)
@click.option("--weights", type=click.Path(exists=True, path_type=Path))
@click.option("--seconds", "durations_s", multiple=True, type=int, default=(300, 10_800), show_default=True)
def main(name: str, weights: Path | None, durations_s: tuple[int, ...]) -> None:
    """Print peak memory (resident) and time for each duration; 0 s loads the encoder only."""
    for duration_s in (0, *durations_s):
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
            recording = _synthesise(Path(folder) / "recording.wav", duration_s)
            choice = EncoderChoice(name=name, weights=weights)
            peak_mib, seconds = pool.submit(_measure, recording, Path(folder), choice).result()
        click.echo(f"{duration_s:6} s: {peak_mib:6.0f} MiB, {seconds:.1f} s")


def _synthesise(path: Path, duration_s: int) -> Path:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 2, "PCM_16") as file:
        for _ in range(duration_s):
            file.write(0.1 * rng.standard_normal((RATE_HZ, 2), dtype=np.float32))
    return path


def _measure(recording: Path, folder: Path, choice: EncoderChoice) -> tuple[float, float]:
    started = time.perf_counter()
    choice.load()
    if soundfile.info(recording).frames:
        counts = extract_recordings(
            [recording], folder / "features", encoder=choice, windows=WindowChoice(), workers=Workers()
        )
        assert counts.written == 1, counts.problems
    seconds = time.perf_counter() - started
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds


if __name__ == "__main__":
    main()
