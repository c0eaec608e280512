"""Trainings of S1 to S8 on random small corpora, to find what stops one.

Recordings of 1 to 60 rows; queries without a moment, with one that fills the recording, with many, past the
end; batches of one item and of more than there are; every system in turn, and settings that change what is
computed.

    python -m benchmarks.random_trainings --count 200

Prints the seed of a training that ends in an error, with which `--first SEED --count 1` repeats it.
"""

from __future__ import annotations

import argparse
import tempfile
import traceback
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from amr_model.config import SYSTEMS, ExperimentConfig, system
from amr_model.data.sets import RetrievalSet
from amr_model.learn.curves import Curves
from amr_model.learn.train import train
from clotho_long.core.records import Moment, Query
from clotho_long.core.settings import override

AUDIO_DIM, TEXT_DIM = 6, 5
TINY = (
    *(f"model.audio_dim={AUDIO_DIM}", f"model.text_dim={TEXT_DIM}", "model.hidden_dim=16"),
    *("model.num_heads=2", "model.feedforward_dim=16", "model.encoder_layers=1"),
    *("model.slot_inner_dim=16", "model.similarity_inner_dim=16"),
    *("model.audio_centres=3", "model.text_centres=2"),
)
# One of each line is drawn.
CHOICES = (
    ("train.batch_size=1", "train.batch_size=2", "train.batch_size=3", "train.batch_size=32"),
    ("train.epochs=1", "train.epochs=2"),
    ("train.batching=shuffle", "train.batching=length"),
    ("model.num_queries=1", "model.num_queries=4", "model.num_queries=10"),
    ("targets.max_moments=null", "targets.max_moments=1"),
    ("features.audio_max=300", "features.audio_max=20"),
    ("targets.saliency_pairs=sample", "targets.saliency_pairs=sample", "targets.saliency_pairs=all"),
    ("targets.moment_policy=clip", "targets.moment_policy=clip", "targets.moment_policy=keep"),
    ("targets.neg_pair=distinct", "targets.neg_pair=next"),
    ("loss.quality_targets=matched", "loss.quality_targets=all"),
    ("loss.boundary_iou=[0.4, 0.75]", "loss.boundary_iou=[0.01, 1.0]"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    failed = []
    for seed in range(options.first, options.first + options.count):
        try:
            one_training(seed)
        except Exception:
            failed.append(seed)
            print(f"seed {seed}:\n{traceback.format_exc()}", flush=True)
        if (seed - options.first + 1) % 20 == 0:
            print(f"{seed - options.first + 1} trainings", flush=True)
    print(f"{options.count} trainings, {len(failed)} ended in an error" + (f": {failed}" if failed else ""))
    raise SystemExit(1 if failed else 0)


def one_training(seed: int) -> None:
    """Train one system on one corpus, both drawn by the seed."""
    rng = np.random.default_rng(seed)
    name = tuple(SYSTEMS)[seed % len(SYSTEMS)]
    config = override(system(name), (*TINY, *(str(rng.choice(choice)) for choice in CHOICES)))
    config = override(config, [f"train.seed={seed}"])
    # pictures would take most of the time
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Curves, "draw"):
        trained = train(config, random_set(rng, config), random_set(rng, config), Path(folder) / "run")
    for record in trained.history:
        losses = {**record["loss"], **record["valid_loss"]}
        assert np.isfinite(list(losses.values())).all(), losses


def random_set(rng: np.random.Generator, config: ExperimentConfig) -> RetrievalSet:
    """Queries of recordings of all lengths; at least one has a moment."""
    lengths = rng.integers(1, 61, size=rng.integers(1, 6)).tolist()
    audio = {f"r{n}": _features(rng, length, AUDIO_DIM) for n, length in enumerate(lengths)}
    queries = [_query(rng, qid, lengths) for qid in range(int(rng.integers(1, 9)))]
    queries.append(_query(rng, len(queries), lengths, kind="one"))
    text = {query.qid: _features(rng, int(rng.integers(1, 8)), TEXT_DIM) for query in queries}
    return RetrievalSet(queries, audio, text, config)


def _query(rng: np.random.Generator, qid: int, lengths: list[int], *, kind: str | None = None) -> Query:
    place = int(rng.integers(len(lengths)))
    length = float(lengths[place])
    kind = kind or str(rng.choice(["none", "whole", "one", "one", "many", "past the end", "a blink"]))
    windows = {
        "none": [],
        "whole": [(0.0, length)],
        "one": [_window(rng, length)],
        "many": [_window(rng, length) for _ in range(14)],
        "past the end": [(length - 0.5, length + 20.0), (length + 1.0, length + 2.0)],
        "a blink": [(length / 2, length / 2)],
    }[kind]
    return Query(
        qid=f"q{qid}",
        query=f"sound {rng.integers(4)}",
        recording_id=f"r{place}",
        duration_s=length,
        moments=tuple(Moment(onset_s=onset, offset_s=offset) for onset, offset in windows),
    )


def _window(rng: np.random.Generator, length: float) -> tuple[float, float]:
    onset, offset = sorted(rng.uniform(0, length, size=2).round(1).tolist())
    return onset, min(max(offset, onset + 0.1), length)


def _features(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    return rng.standard_normal((rows, dim)).astype(np.float32)


if __name__ == "__main__":
    main()
