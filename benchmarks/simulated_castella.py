"""Simulated CASTELLA: the real labels with made-up features, to compare systems without the audio.

    python -m benchmarks.simulated_castella --labels castella/ --out DIR --systems S1,S4,S8 --seeds 1,2,3
    python -m benchmarks.simulated_castella ... --reduced
    python -m benchmarks.simulated_castella ... --simulation white

`--labels` holds castella_{train,val}_release.jsonl: train (less a tenth of its recordings, to select by) is
trained on, val is the test set. Without `--reduced` networks, recordings and epochs are those of the report,
for a GPU. `--reduced` is for a CPU: the first 100 s of each recording, features of 64 numbers, 800 queries, a
network a quarter as wide, 60 epochs; its figures say nothing about the full size.

`--simulation calibrated` has the statistics of real MS-CLAP features, `white` is the one that earlier tables
were made with (`pipelines/simulation`). `--level` is the strength of moments, chosen so that S1 lands near
the published baseline (R1@0.7 of 10 to 18).

DIR gets one corpus in the Lighthouse layout, which Lighthouse's own trainer reads too, and a RUN folder for
each system and seed. Finished runs are kept, stopped ones go on. Writes DIR/table.md from all runs there are.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from amr_model.answer.run import predict_set
from amr_model.checkpoint import load_model
from amr_model.config import SYSTEMS, ExperimentConfig, system
from amr_model.data.sets import RetrievalSet, read_annotations
from amr_model.learn.train import train
from amr_model.scoring.metrics import score_queries
from amr_model.scoring.report import bootstrap, headline_values
from clotho_long.core.annotations import write_queries
from clotho_long.core.files import fingerprint, write_json, write_text
from clotho_long.core.predictions import read_predictions, write_predictions
from clotho_long.core.records import Query
from clotho_long.core.seeds import generator
from clotho_long.core.settings import override
from clotho_long.features.files import AUDIO_KEY, TEXT_KEY, audio_file, text_file, write_features
from pipelines.simulation import calibrated, white
from pipelines.simulation.calibrated import CalibratedFeatures, CalibratedSettings
from pipelines.simulation.labels import Simulator, cropped
from pipelines.simulation.white import WhiteFeatures, WhiteSettings

Settings: TypeAlias = CalibratedSettings | WhiteSettings

TEST_PREDICTIONS = "predictions-test.jsonl"
SAME_WEIGHTS = {"S5": "S4"}  # they differ in inference only, in nothing that selects a checkpoint
SIMULATIONS: dict[str, Settings] = {"calibrated": CalibratedSettings(), "white": WhiteSettings()}
REDUCED_SIMULATIONS: dict[str, Settings] = {"calibrated": calibrated.REDUCED, "white": white.REDUCED}
# What a CPU can train in minutes: figures of this size say nothing about the full one.
REDUCED_QUERIES = 800
REDUCED_SETTINGS = (
    "model.hidden_dim=64",
    "model.num_heads=4",
    "model.feedforward_dim=128",
    "model.similarity_inner_dim=256",
    "model.encoder_layers=1",
    "model.audio_centres=10",
    "model.em_iterations=3",
    "model.dropout=0.0",
    "model.input_dropout=0.2",
    "train.batch_size=16",
    "train.learning_rate=1.0e-3",
    "train.max_grad_norm=0.5",
    "train.epochs=60",  # with 30, seeds differ by when they take off: see evaluation.md
)


def write_corpus(labels: Path, out: Path, settings: Settings, max_train_queries: int | None) -> None:
    """Annotations (train, valid, test) and features of all of them, unless they are there already."""
    made_by = {"simulation": fingerprint([repr(settings), max_train_queries])}
    done = out / "simulation.json"
    if done.exists():
        if json.loads(done.read_text()) != made_by:
            raise SystemExit(f"error: {done}: made with other settings; give another --out")
        return
    train = cropped(read_annotations(labels / "castella_train_release.jsonl"), settings.crop_s)
    test = cropped(read_annotations(labels / "castella_val_release.jsonl"), settings.crop_s)
    recordings = sorted({query.recording_id for query in train})
    generator(settings.seed, "split").shuffle(recordings)
    held_out = set(recordings[: round(settings.valid_share * len(recordings))])
    place = {recording_id: at for at, recording_id in enumerate(recordings)}
    kept = sorted((q for q in train if q.recording_id not in held_out), key=lambda q: place[q.recording_id])
    splits = {
        "train": kept[:max_train_queries],
        "valid": [query for query in train if query.recording_id in held_out],
        "test": test,
    }
    simulator = simulator_of(settings)
    for name, queries in splits.items():
        write_queries(out / "text" / f"{name}.jsonl", queries)
        by_recording: dict[str, list[Query]] = {}
        for query in queries:
            by_recording.setdefault(query.recording_id, []).append(query)
            write_features(text_file(out / "features", query.qid), simulator.tokens(query), TEXT_KEY, made_by)
        for recording_id, asked in by_recording.items():
            rows = simulator.recording(asked, train)
            write_features(audio_file(out / "features", recording_id), rows, AUDIO_KEY, made_by)
    write_json(done, made_by)


def simulator_of(settings: Settings) -> Simulator:
    """What makes features of such settings."""
    return WhiteFeatures(settings) if isinstance(settings, WhiteSettings) else CalibratedFeatures(settings)


def run_system(out: Path, name: str, seed: int, overrides: Sequence[str]) -> None:
    """Train one system with one seed and score it on the test set, unless that is done."""
    run = out / "runs" / f"{name}-seed{seed}"
    if (run / TEST_PREDICTIONS).exists():
        return
    config = override(system(name), [*overrides, f"train.seed={seed}"])
    twin = out / "runs" / f"{SAME_WEIGHTS.get(name, name)}-seed{seed}"
    if twin == run or not (twin / TEST_PREDICTIONS).exists():
        train_on(out, run, config)
        twin = run
    predict_test(out, run, twin / "checkpoint-best.pt", config)


def train_on(out: Path, run: Path, config: ExperimentConfig) -> None:
    """Train on the corpus's train and valid splits, or go on."""
    train_set, valid_set = (
        RetrievalSet.load(out / "text" / f"{split}.jsonl", out / "features", config, device=_device())
        for split in ("train", "valid")
    )
    train(config, train_set, valid_set, run, resume=True)


def predict_test(out: Path, run: Path, weights: Path, config: ExperimentConfig) -> None:
    """Answer the test queries with any checkpoint; what a run has then is what the table reads."""
    network, _ = load_model(weights, _device())
    test = RetrievalSet.load(out / "text" / "test.jsonl", out / "features", config, device=_device())
    write_predictions(run / TEST_PREDICTIONS, predict_set(network, test, config))


def write_table(out: Path) -> str:
    """DIR/table.md: whatever has finished runs, its mean over seeds and an interval over queries."""
    queries = read_annotations(out / "text" / "test.jsonl")
    lines = [
        f"{len(queries)} test queries. Mean over seeds [lowest and highest seed] (95 % interval of the mean,",
        "by bootstrap over queries).",
        "",
        "| system | seeds | R1@0.5 | R1@0.7 | mAP |",
        "| --- | --- | --- | --- | --- |",
    ]
    finished = sorted((out / "runs").glob(f"*-seed*/{TEST_PREDICTIONS}"))
    for name, runs_of_name in itertools.groupby(
        finished, key=lambda file: file.parent.name.rpartition("-seed")[0]
    ):
        files = list(runs_of_name)
        runs = [headline_values(score_queries(queries, read_predictions(file))) for file in files]
        mean = {figure: np.mean([run[figure] for run in runs], axis=0) for figure in runs[0]}
        intervals = bootstrap(mean, seed=0)
        cells = []
        for figure, values in mean.items():
            of_seeds = [run[figure].mean() for run in runs]
            low, high = intervals[figure]
            cells.append(
                f"{values.mean():.2f} [{min(of_seeds):.2f}, {max(of_seeds):.2f}] ({low:.2f} to {high:.2f})"
            )
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    table = "\n".join(lines) + "\n"
    write_text(out / "table.md", table)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--simulation", choices=sorted(SIMULATIONS), default="calibrated")
    parser.add_argument("--level", type=float)
    parser.add_argument("--queries", type=int, help="at most this many training queries")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--reduced", action="store_true", help="a CPU's size; see above")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    simulation = (REDUCED_SIMULATIONS if options.reduced else SIMULATIONS)[options.simulation]
    if options.level is not None:
        simulation = dataclasses.replace(simulation, level=options.level)
    overrides = [*(REDUCED_SETTINGS if options.reduced else ()), f"model.audio_dim={simulation.dim}"]
    overrides += [f"model.text_dim={simulation.dim}", *options.overrides]
    if options.epochs is not None:
        overrides.append(f"train.epochs={options.epochs}")
    queries = options.queries or (REDUCED_QUERIES if options.reduced else None)
    write_corpus(options.labels, options.out, simulation, queries)
    for seed in options.seeds.split(","):
        for name in options.systems.split(","):
            run_system(options.out, name, int(seed), overrides)
            print(write_table(options.out), flush=True)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    main()
