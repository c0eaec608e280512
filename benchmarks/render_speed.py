"""Rendering against the public generator, on the same recipes, sources and machine, in turn.

    git clone https://github.com/h-munakata/Lighthouse-Wrapper-for-Audio-Moment-Retrieval generator
    python benchmarks/render_speed.py --generator generator --clotho DIR --walking-tours DIR

The public generator cuts every background clip and every event to a wav of its own beforehand (its steps 3
and 4); that is done here too and is not timed. What is timed is its step 6: load and resample them, mix,
write, with as many processes as ours. Ours reads its decoded cache; the first run, which fills it, is shown
apart. Seconds of processor time, one clip after the other, are given too: they say what is left when neither
the disk nor a neighbour on the machine is in the way.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile

from clotho_long.audio.io import probe, read_mono, write_blocks
from clotho_long.core.settings import override
from clotho_long.corpus import Corpus
from clotho_long.recipe.spec import PRESETS
from clotho_long.stages.mixtures import MixtureTask, mixture_blocks, mixture_tasks
from clotho_long.stages.plan import plan
from clotho_long.stages.render import render
from clotho_long.stages.scan import scan

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--generator", required=True, type=FOLDER, help="Checkout of the public generator.")
@click.option("--clotho", required=True, type=FOLDER)
@click.option("--walking-tours", required=True, type=FOLDER)
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="clotho-moment-long", show_default=True)
@click.option("--clips", type=int, default=24, show_default=True, help="Clips of each run.")
@click.option("--rounds", type=int, default=5, show_default=True)
@click.option("--jobs", type=int, default=os.cpu_count(), show_default=True)
def main(
    generator: Path, clotho: Path, walking_tours: Path, preset: str, clips: int, rounds: int, jobs: int
) -> None:
    """Time both and print the ratio of each round."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        corpus = Corpus(root / "corpus")
        with timed() as scanned:
            counts = scan(corpus, clotho, walking_tours, split_rule="ratio:1,0,0", jobs=jobs)
        click.echo(
            f"scan: {counts.background_s / 60:.0f} min of tours in {scanned():.1f} s, "
            f"{counts.background_s / scanned():.0f} times real time with {jobs} jobs"
        )
        plan(corpus, override(PRESETS[preset], []), preset=preset, seed=2023, max_clips=clips)
        tasks = mixture_tasks(corpus, ["train"])
        theirs = PublicGenerator(generator, root / "theirs", tasks)
        first = run_ours(corpus, jobs)
        ratios, seconds = [], []
        for _ in range(rounds):
            their_s, our_s = theirs.run(jobs), run_ours(corpus, jobs)
            ratios.append(their_s / our_s)
            seconds.append((their_s, our_s))
        their_s, our_s = (statistics.median(column) for column in zip(*seconds, strict=True))
        click.echo(f"{len(tasks)} clips of {preset}, {jobs} processes each, medians of {rounds} rounds:")
        click.echo(f"  public generator  {len(tasks) / their_s * 3600:9,.0f} clips an hour")
        click.echo(f"  ours              {len(tasks) / our_s * 3600:9,.0f} clips an hour")
        click.echo(
            f"  ours, first run   {len(tasks) / first * 3600:9,.0f} clips an hour (events not cached yet)"
        )
        click.echo(
            f"  ratio {statistics.median(ratios):.1f} (lowest {min(ratios):.1f}, highest {max(ratios):.1f})"
        )
        their_cpu_s, our_cpu_s, mixing_s = processor_seconds(theirs, tasks, root / "alone")
        click.echo(
            f"  processor time of a clip: theirs {their_cpu_s * 1e3:.0f} ms, ours {our_cpu_s * 1e3:.0f} ms"
        )
        click.echo(
            f"  (ratio {their_cpu_s / our_cpu_s:.1f}); mixing without writing, as `extract` does: ", nl=False
        )
        click.echo(f"{mixing_s * 1e3:.0f} ms (ratio {their_cpu_s / mixing_s:.1f})")
        click.echo(f"  peak memory of a worker of ours: {worker_memory(corpus):.0f} MB")
        click.echo(f"  largest difference of a sample: {difference(corpus, theirs, tasks)}")


class PublicGenerator:
    """Step 6 of the public generator, on inputs as its steps 3 to 5 leave them."""

    def __init__(self, checkout: Path, root: Path, tasks: list[MixtureTask]) -> None:
        self.out = root / "wav"
        path = checkout / "clotho-moment_generetor" / "6_create_dataset.py"
        self.origin = str(path)
        self.recipes = [self._prepare(root, task) for task in tasks]

    def _prepare(self, root: Path, task: MixtureTask) -> dict[str, Any]:
        recipe = task.recipe
        name = f"{recipe.start_s:.1f}_{recipe.start_s + recipe.duration_s:.1f}.wav"
        background = root / "bg" / recipe.background_id / name
        self._cut(task.background.path, background, recipe.start_s, recipe.duration_s)
        events = []
        for source, event in zip(task.events, recipe.events, strict=True):
            path = root / "fg" / f"{event.event_id}.wav"
            self._cut(source.path, path, event.trim_onset_s or 0, event.duration_s)
            events += [
                {"path": str(path), "dB": event.foreground_db, "start_time": start}
                for start in event.starts_s
            ]
        return {"bg": {"path": str(background), "dB": recipe.background_db}, "fg": events}

    @staticmethod
    @functools.lru_cache(maxsize=1)
    def _native(path: Path) -> tuple[Any, int]:
        return read_mono(path), probe(path).sample_rate_hz

    def _cut(self, source: Path, target: Path, start_s: float, duration_s: float) -> None:
        if not target.exists():
            sound, rate_hz = self._native(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            start = int(start_s * rate_hz)
            soundfile.write(target, sound[start : start + int(duration_s * rate_hz)], rate_hz)

    def run(self, jobs: int) -> float:
        """Seconds for all clips, into an empty folder."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        generate = functools.partial(_their_clip, self.origin, self.out)
        with multiprocessing.get_context("fork").Pool(jobs) as pool, timed() as took:
            for _ in pool.imap_unordered(generate, self.recipes):
                pass
        return took()


def _their_clip(origin: str, out: Path, recipe: dict[str, Any]) -> None:
    module = _their_module(origin)
    with contextlib.redirect_stdout(io.StringIO()):
        module._gen_audio(recipe, wav_dir=out, duration=None, sr=32_000)


@functools.lru_cache
def _their_module(origin: str) -> Any:
    spec = importlib.util.spec_from_file_location("public_generator", origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_ours(corpus: Corpus, jobs: int) -> float:
    """Seconds for all clips, into an empty folder."""
    shutil.rmtree(corpus.root / "audio", ignore_errors=True)
    with timed() as took:
        counts = render(corpus, splits=("train",), jobs=jobs)
    assert not counts.problems, counts.problems
    return took()


def processor_seconds(
    theirs: PublicGenerator, tasks: list[MixtureTask], folder: Path
) -> tuple[float, float, float]:
    """Processor seconds of a clip: the public generator's, ours, ours without a file; medians of three."""

    def publicly() -> None:
        shutil.rmtree(theirs.out)
        theirs.out.mkdir()
        for recipe in theirs.recipes:
            _their_clip(theirs.origin, theirs.out, recipe)

    def to_files() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for task in tasks:
            write_blocks(
                folder / f"{task.recipe.recording_id}.wav", mixture_blocks(task), task.recipe.sample_rate_hz
            )

    def in_memory() -> None:
        for task in tasks:
            for _ in mixture_blocks(task):
                pass

    def cost(work: Callable[[], None]) -> float:
        start = time.process_time()
        work()
        return (time.process_time() - start) / len(tasks)

    rounds = [(cost(publicly), cost(to_files), cost(in_memory)) for _ in range(3)]
    publicly_s, to_files_s, in_memory_s = (statistics.median(column) for column in zip(*rounds, strict=True))
    return publicly_s, to_files_s, in_memory_s


def worker_memory(corpus: Corpus) -> float:
    """Peak resident memory, in MB, of a process that renders clips one after the other."""

    def work() -> None:
        run_ours(corpus, 1)
        peak.value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    context = multiprocessing.get_context("fork")
    peak = context.Value("d")
    process = context.Process(target=work)
    process.start()
    process.join()
    return float(peak.value)


def difference(corpus: Corpus, theirs: PublicGenerator, tasks: list[MixtureTask]) -> str:
    """How far apart the two mixtures are, in 16-bit steps, at the edges of a clip and inside it."""
    edge = inside = 0
    for task in tasks:
        name = f"{task.recipe.recording_id}.wav"
        ours, _ = soundfile.read(corpus.audio_dir("train") / name, dtype="int16")
        other, _ = soundfile.read(theirs.out / name, dtype="int16")
        apart = np.abs(ours.astype(int) - other[: len(ours)])
        inside = max(inside, int(apart[3200:-3200].max()))
        edge = max(edge, int(apart.max()))
    return f"{inside} steps of 16 bits ({edge} in the first and last 0.1 s, where theirs resamples a cut)"


@contextlib.contextmanager
def timed() -> Iterator[Any]:
    """Yields a function that says how long the block took."""
    start = time.perf_counter()
    took = [0.0]
    yield lambda: took[0]
    took[0] = time.perf_counter() - start


if __name__ == "__main__":
    main()
