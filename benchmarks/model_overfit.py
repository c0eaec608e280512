"""Can a system learn 16 queries by heart? R1@0.7 on its own training batch, from real CASTELLA labels.

    python benchmarks/model_overfit.py --annotations castella_train.jsonl [--systems S1,S8] [--steps 400]

Features are simulated: noise per recording, and for each query a direction of its own at its moments.
Prints the step at which R1@0.7 reaches 100.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amr_model.config import ExperimentConfig, system
from amr_model.data.sets import RetrievalSet, read_annotations
from amr_model.learn.distributed import Processes
from amr_model.learn.engine import Trainer, validate
from amr_model.public.networks import network_of
from clotho_long.core.records import Query
from clotho_long.core.settings import override

QUERIES = 16
EVENT_LEVEL = 4.0  # length of the direction of an event over the noise of a window, per dimension


def simulate(queries: list[Query], config: ExperimentConfig, *, seed: int = 0) -> RetrievalSet:
    """The queries with features in which their moments can be heard."""
    rng = np.random.default_rng(seed)
    audio: dict[str, Any] = {}
    text: dict[str, Any] = {}
    for query in queries:
        length = int(query.duration_s)
        rows = audio.setdefault(
            query.recording_id, rng.standard_normal((length, config.model.audio_dim)).astype(np.float32)
        )
        sound = rng.standard_normal(config.model.audio_dim).astype(np.float32)
        for moment in query.moments:
            rows[int(moment.onset_s) : int(np.ceil(moment.offset_s))] += EVENT_LEVEL * sound
        tokens = rng.standard_normal((8, config.model.text_dim)).astype(np.float32)
        text[query.qid] = tokens
    return RetrievalSet(queries, audio, text, config)


def overfit(config: ExperimentConfig, data: RetrievalSet, *, steps: int, every: int) -> int | None:
    """Train on the one batch; the step at which R1@0.7 is 100, or None."""
    torch.manual_seed(config.train.seed)
    model = network_of(config.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.train.learning_rate, fused=True)
    trainer = Trainer(config, model, optimizer, data, Processes())
    for step in range(steps):
        for _ in trainer.epoch(step, first_step=0, loss_sums=torch.zeros(len(trainer.loss_names))):
            pass
        if (step + 1) % every == 0 or step + 1 == steps:
            figures = validate(model, data, config).figures
            logging.info("%s step %d: %s", config.system, step + 1, figures)
            if figures["R1@0.7"] == 100:
                return step + 1
    return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--systems", default="S1,S8")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="a setting, KEY=VALUE")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    everything = read_annotations(arguments.annotations)
    usable = [q for q in everything if q.moments and q.duration_s <= 300 and len(q.moments) <= 5]
    # the shortest recordings, one query each: the law is the same and a CPU is done in minutes
    first = {q.recording_id: q for q in reversed(usable)}
    queries = sorted(first.values(), key=lambda q: (q.duration_s, q.qid))[:QUERIES]
    for name in arguments.systems.split(","):
        overrides = ("train.batch_size=16", "train.learning_rate=0.0003", *arguments.overrides)
        config = override(system(name), overrides)
        reached = overfit(config, simulate(queries, config), steps=arguments.steps, every=20)
        print(
            f"{name}: {'not reached' if reached is None else f'R1@0.7 = 100 after {reached} steps'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
