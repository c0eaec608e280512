"""Steps a second of our trainer, by precision, with and without compilation, on any device.

    python -m benchmarks.training_speed --annotations castella_train_release.jsonl --folder DIR

Random features of the annotated lengths are written to the folder once. A step is all that `amr train` does
in one: gathering the batch, both passes, the assignment, the losses, the optimiser. From it follows the time
of a fine-tuning of 200 epochs, without its validations. On a GPU the share of the time in which it computes
is printed as well: far below 100 %, the host that starts its kernels is what bounds a step.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from amr_model.config import ExperimentConfig, system
from amr_model.data.sets import RetrievalSet
from amr_model.learn.distributed import Processes
from amr_model.learn.engine import Trainer
from amr_model.public.networks import network_of
from benchmarks.loading_speed import write_random_features
from clotho_long.core.settings import override

EPOCHS = 200
PROFILED_STEPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--system", default="S8")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precisions", default="float32,tf32,bf16")
    parser.add_argument("--compile", choices=("no", "yes", "both"), default="both")
    parser.add_argument("--batching", choices=("shuffle", "length"), default="shuffle")
    parser.add_argument("--warmup", type=int, default=20, help="steps, in which compilation happens")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    device = torch.device(options.device)
    write_random_features(options.annotations, options.folder)
    base = override(system(options.system), [f"train.batching={options.batching}"])
    data = RetrievalSet.load(options.annotations, options.folder, base, device=device)
    an_epoch = math.ceil(len(data) / base.train.batch_size)
    print(f"torch {torch.__version__}, {device}: {options.system}, {an_epoch} steps an epoch")
    compiled = {"no": (False,), "yes": (True,), "both": (False, True)}[options.compile]
    for precision, compiles in itertools.product(options.precisions.split(","), compiled):
        config = override(base, [f"train.precision={precision}", f"train.compile={compiles}"])
        step = endless_steps(config, data)
        run(step, options.warmup, device)
        seconds = run(step, options.steps, device) / options.steps
        name = precision + (", compiled" if compiles else "")
        whole = seconds * an_epoch * EPOCHS / 60
        print(f"{name:<20}{1 / seconds:>9.2f} steps/s, {EPOCHS} epochs {whole:>7.1f} min{busy(step, device)}")


def endless_steps(config: ExperimentConfig, data: RetrievalSet) -> Callable[[], object]:
    """One training step after the other, epoch after epoch."""
    torch.manual_seed(0)
    model = network_of(config.model).to(data.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.train.learning_rate, fused=True)
    trainer = Trainer(config, model, optimizer, data, Processes())
    nothing = torch.zeros(len(trainer.loss_names), device=data.device)
    epochs = (trainer.epoch(epoch, first_step=0, loss_sums=nothing) for epoch in itertools.count())
    steps = itertools.chain.from_iterable(epochs)
    return lambda: next(steps)


def run(step: Callable[[], object], count: int, device: torch.device) -> float:
    """Seconds of `count` steps."""
    started = time.perf_counter()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def busy(step: Callable[[], object], device: torch.device) -> str:
    """How much of the time a GPU computes, and its memory; nothing on a processor."""
    if device.type != "cuda":
        return ""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        seconds = run(step, PROFILED_STEPS, device)
    computing = sum(event.self_device_time_total for event in profile.key_averages()) * 1e-6
    gigabytes = torch.cuda.max_memory_allocated(device) / 1e9
    return f", GPU busy {100 * computing / seconds:.0f} %, peak {gigabytes:.1f} GB"


if __name__ == "__main__":
    main()
