"""Speed and memory of the MS-CLAP audio towers: the public wrapper's way beside ours, in alternation.

    python -m benchmarks.clap_audio                                 # 300 s, one process, all cores
    python -m benchmarks.clap_audio --processes 2 --threads 1 --windows 60 --way "ours, kernel"
    python -m benchmarks.clap_audio --threads 1 --cpu-time          # on a machine that others use

Every measurement is a fresh process on random weights of the published shape, after one warm-up; the ways
take turns and the fastest round of each counts. `share` is the part of the machine's matrix-multiply peak (a
large float32 product, measured in the same process) that goes into the products that the embedding needs.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import click
import torch
from torch import Tensor

from clotho_long.features.encoders.msclap import CPU_WINDOWS, GPU_WINDOWS, KERNEL_WINDOWS, cpu_has_bf16
from clotho_long.features.encoders.msclap.audio import AudioTower
from clotho_long.features.encoders.msclap.layout import DEPTHS, SIDE, TOKENS, WIDTHS
from clotho_long.features.encoders.msclap.linear import can_pack
from clotho_long.features.encoders.msclap.native import NativeTower, load_kernel
from clotho_long.features.encoders.msclap.weights import AUDIO_PREFIX, audio_shapes
from clotho_long.features.encoders.msclap_reference import reference_htsat
from tests.random_clap_weights import random_audio_state

WRAPPER = "msclap, one batch"
MATRIX = 3072  # side of the product that measures the peak

Embed = Callable[[Tensor], Tensor]


class Measured(NamedTuple):
    seconds: float
    peak_gflops: float  # of a large float32 product
    memory_mb: float  # most that the process held


@click.command()
@click.option("--windows", type=int, default=301, show_default=True, help="The wrapper makes 301 of 300 s.")
@click.option("--rounds", type=int, default=3, show_default=True)
@click.option("--processes", type=int, default=1, show_default=True, help="Copies that work side by side.")
@click.option("--threads", type=int, default=torch.get_num_threads(), show_default="all cores")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--cpu-time", is_flag=True, help="Count processor time: for one thread, on a busy machine.")
@click.option("--way", "chosen", multiple=True, help="Only this way; may be repeated.")
def main(
    windows: int,
    rounds: int,
    processes: int,
    threads: int,
    device: str,
    cpu_time: bool,
    chosen: tuple[str, ...],
) -> None:
    """Measure the ways of embedding one recording and print a table."""
    ways = [way for way in available(device) if not chosen or way in chosen]
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        for way in ways:
            found = side_by_side(processes, way, windows, threads, device, cpu_time)
            if way not in best or found.seconds < best[way].seconds:
                best[way] = found
    click.echo(
        f"{windows} windows; {processes} process(es) of {threads} thread(s) on {device}; best of {rounds}"
    )
    click.echo("| way | windows/s | ms a window | against the wrapper | share | peak MB |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for way, found in best.items():
        rate = processes * windows / found.seconds
        ratio = f"{best[WRAPPER].seconds / found.seconds:.2f}" if WRAPPER in best else "-"
        share = rate * needed_gflop() / (found.peak_gflops * processes)
        click.echo(
            f"| {way} | {rate:.2f} | {1000 / rate:.1f} | {ratio} | {share:.2f} | {found.memory_mb:.0f} |"
        )
    if device == "cpu" and not cpu_has_bf16():
        click.echo("bf16: this processor does not compute in it")


def available(device: str) -> list[str]:
    """Names of the ways that exist on this machine."""
    if device == "cuda":
        return [WRAPPER, "msclap, 64 a batch", "ours, float32", "ours, tf32", "ours, bf16"]
    ways = [WRAPPER, f"msclap, {CPU_WINDOWS} a batch", "ours, torch"]
    return ways + ["ours, kernel"] * (load_kernel() is not None) + ["ours, bf16"] * cpu_has_bf16()


def side_by_side(processes: int, *work: object) -> Measured:
    """The slowest of so many processes that measure at the same time."""
    with ProcessPoolExecutor(processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        jobs = [pool.submit(measure, *work) for _ in range(processes)]
        return max(job.result() for job in jobs)


@torch.inference_mode()
def measure(way: str, windows: int, threads: int, device: str, cpu_time: bool) -> Measured:
    """Run one way over random windows in this process."""
    clock = time.process_time if cpu_time else time.perf_counter
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = way.endswith("tf32")
    embed, batch = tower(way, windows, device)
    sound = 0.1 * torch.randn(windows, 44100, generator=torch.Generator().manual_seed(0))
    peak = peak_gflops(device, clock)
    embed(sound[: min(batch, 4)].to(device))
    start = clock()
    rows = [embed(piece.to(device)).cpu() for piece in sound.split(batch)]
    seconds = clock() - start
    assert torch.cat(rows).isfinite().all()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(seconds, max(peak, peak_gflops(device, clock)), memory)


def tower(way: str, windows: int, device: str) -> tuple[Embed, int]:
    """The function that embeds a batch, and how many windows a batch has."""
    state = random_audio_state(2023)
    maker, _, how = way.partition(", ")
    if maker == "msclap":
        reference = reference_htsat(state).to(device)
        return lambda x: reference(x)["latent_output"], windows if how == "one batch" else int(how.split()[0])
    weights = {name: state[AUDIO_PREFIX + name] for name in audio_shapes()}
    dtype = torch.bfloat16 if how == "bf16" else torch.float32
    ours = AudioTower(weights, where=Path("random"), dtype=dtype).to(device).eval()
    if how == "kernel":
        kernel = load_kernel()
        assert kernel is not None
        return NativeTower(kernel, ours), KERNEL_WINDOWS
    if device == "cpu" and can_pack():
        ours.pack()
    return ours, CPU_WINDOWS if device == "cpu" else GPU_WINDOWS


def peak_gflops(device: str, clock: Callable[[], float]) -> float:
    """Of a large float32 product, best of five."""
    a = torch.randn(MATRIX, MATRIX, device=device)
    best = float("inf")
    for _ in range(5):
        start = clock()
        (a @ a)[0, 0].item()
        best = min(best, clock() - start)
    return 2e-9 * MATRIX**3 / best


def needed_gflop() -> float:
    """Of the matrix products behind one embedding: linear layers and attention."""
    multiplications = 0
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        tokens = (SIDE >> stage) ** 2
        multiplications += depth * tokens * (12 * width**2 + 2 * TOKENS * width)
        if stage < len(WIDTHS) - 1:
            multiplications += tokens // 4 * 4 * width * 2 * width
    return 2e-9 * multiplications


if __name__ == "__main__":
    main()
