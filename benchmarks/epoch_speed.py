"""Training, loading included: ours beside Lighthouse's Dataset, model and criterion on the same files.

    python -m benchmarks.epoch_speed LIGHTHOUSE --annotations castella_train_release.jsonl --folder DIR

takes the first `--steps` of an epoch (69 make one of CASTELLA's 2,182 queries), batches of 32, dropout on,
float32, on the CPU; Lighthouse with `num_workers` 4, as it is configured. Random features are written to the
folder once.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from amr_model.data.sets import RetrievalSet
from amr_model.public.presets import compat_lighthouse
from benchmarks.loading_speed import BATCH_SIZE, lighthouse_batches, write_random_features
from benchmarks.model_step import Ours, Theirs, make_batch, stepper

LIGHTHOUSE_WORKERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lighthouse", type=Path)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", choices=("qd_detr", "uvcom"), default="qd_detr")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(options.threads)
    sys.path.insert(0, str(options.lighthouse))
    write_random_features(options.annotations, options.folder)

    config = compat_lighthouse(options.model)
    data = RetrievalSet.load(options.annotations, options.folder, config)
    load = lighthouse_batches(
        options.lighthouse, options.annotations, options.folder, LIGHTHOUSE_WORKERS, num_batches=options.steps
    )
    theirs, ours = Theirs(options.model, *make_batch()), Ours(config, *make_batch())
    theirs.model.train(), ours.model.train()
    their_step, our_step = stepper(theirs, fused=False), stepper(ours, fused=True)
    epochs = itertools.count()

    def train_theirs() -> None:
        for theirs.inputs, theirs.targets in load():
            their_step()

    def train_ours() -> None:
        batches = data.batches(batch_size=BATCH_SIZE, seed=1, epoch=next(epochs))
        for ours.batch, ours.targets in itertools.islice(batches, options.steps):
            our_step()

    pairs = [(_seconds(train_theirs), _seconds(train_ours)) for _ in range(options.rounds)]
    first, second = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    whole = second / options.steps * math.ceil(len(data) / BATCH_SIZE)
    print(
        f"{options.model}, {options.steps} steps with loading: "
        f"Lighthouse {first:.1f} s, ours {second:.1f} s, ratio {ratio:.2f}; "
        f"ours for an epoch of {len(data)} queries {whole:.0f} s"
    )


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
