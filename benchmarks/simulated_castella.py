"""Simulated CASTELLA: the real labels with made-up features, to compare systems without the audio.

    python benchmarks/simulated_castella.py --labels castella/ --out DIR --systems S1,S4,S8 --seeds 1,2,3
    python benchmarks/simulated_castella.py ... --reduced

`--labels` holds castella_{train,val}_release.jsonl: train (less a tenth of its recordings, to select by) is
trained on, val is the test set. Without `--reduced` networks, recordings and epochs are those of the report,
for a GPU. `--reduced` is for a CPU: the first 100 s of each recording, features of 64 numbers, 800 queries, a
network a quarter as wide, 60 epochs; its figures say nothing about the full size.

The features obey what is known of the real ones and nothing more. A recording is a slowly varying background;
a query's moments add a direction that is a fixed random map of its words, blurred at both ends, different at
every occurrence; captions of other recordings are heard as well, and nobody asks for them. `--level` is the
strength of moments, chosen so that S1 lands near the published baseline (R1@0.7 of 10 to 18).

DIR gets one corpus in the Lighthouse layout, which Lighthouse's own trainer reads too, and a RUN folder for
each system and seed. Finished runs are kept, stopped ones go on. Writes DIR/table.md from all runs there are.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic.dataclasses import dataclass

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
from clotho_long.core.records import Moment, Query
from clotho_long.core.seeds import generator
from clotho_long.core.settings import override
from clotho_long.features.files import AUDIO_KEY, TEXT_KEY, audio_file, text_file, write_features

Matrix = npt.NDArray[np.float32]

TEST_PREDICTIONS = "predictions-test.jsonl"
SAME_WEIGHTS = {"S5": "S4"}  # they differ in inference only, in nothing that selects a checkpoint
QUIET_WORDS = frozenset(
    {
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "by",
        "from",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "some",
        "that",
        "the",
    }
    | {"then", "to", "while", "with"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What the features are made of. Strengths are norms; a row's white noise has norm `noise`."""

    seed: int = 2026
    dim: int = 768
    latent_dim: int = 48  # meanings of words; the map from text to sound has this rank
    level: float = 0.9  # of a moment
    level_spread: float = 0.35  # standard deviation of its logarithm, over queries
    variation: float = 0.6  # of one occurrence, against the direction of its query
    mean: float = 1.0  # what all rows share, as CLAP's do
    background: float = 0.8  # of a recording
    drift: float = 0.5  # of the background, over `drift_s`
    drift_s: float = 15.0
    noise: float = 1.0
    distractors: float = 3.0  # events a recording that match no query
    blur_s: float = 1.5  # length of the ramps at both ends
    jitter_s: float = 0.5  # standard deviation of onset and offset
    valid_share: float = 0.1  # of the training recordings
    crop_s: float | None = (
        None  # only the start of each recording; queries without a moment there are left out
    )


# What a CPU can train in minutes: figures of this size say nothing about the full one.
REDUCED_SIMULATION = Simulation(dim=64, latent_dim=16, level=1.5, crop_s=100.0)
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


class Words:
    """Fixed random meanings: a word's vector hangs on its letters, so captions that share words are alike."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        rng = generator(simulation.seed, "maps")
        shape = (simulation.latent_dim, simulation.dim)
        self._to_text = rng.standard_normal(shape) / np.sqrt(simulation.latent_dim)
        self._to_sound = rng.standard_normal(shape) / np.sqrt(simulation.dim)
        self._text_mean = rng.standard_normal(simulation.dim)

    def tokens(self, query: Query) -> Matrix:
        """[token, dim] states that see the words before them, as a causal language model's do."""
        meanings = self._meanings(query.query)
        history = np.cumsum(meanings, axis=0) / np.arange(1, len(meanings) + 1)[:, None]
        noise = generator(self._simulation.seed, "tokens", query.qid).standard_normal(
            (len(meanings), self._simulation.dim)
        )
        states = (meanings + 0.5 * history) @ self._to_text + self._text_mean + 0.2 * noise
        return states.astype(np.float32)

    def direction(self, caption: str) -> npt.NDArray[np.float64]:
        """[dim] of unit length: how what a caption says sounds."""
        words = _words(caption)
        loud = [0.1 if word in QUIET_WORDS else 1.0 for word in words]
        return _unit(np.average(self._meanings(caption), axis=0, weights=loud) @ self._to_sound)

    def _meanings(self, caption: str) -> npt.NDArray[np.float64]:
        return np.stack(
            [
                generator(self._simulation.seed, "word", word).standard_normal(self._simulation.latent_dim)
                for word in _words(caption)
            ]
        )


def recording_features(
    simulation: Simulation, words: Words, queries: Sequence[Query], pool: Sequence[Query]
) -> Matrix:
    """[second, dim] of the recording that `queries` ask of; distractors are taken from `pool`."""
    recording_id = queries[0].recording_id
    rng = generator(simulation.seed, "recording", recording_id)
    seconds = int(min(queries[0].duration_s, 300))
    mean = _unit(generator(simulation.seed, "mean").standard_normal(simulation.dim))
    rows = simulation.mean * mean + simulation.background * _unit(rng.standard_normal(simulation.dim))
    rows = rows + simulation.drift * _slow(rng, seconds, simulation)
    for query in queries:
        _add_event(rows, rng, words.direction(query.query), query.moments, simulation)
    for _ in range(rng.poisson(simulation.distractors)):
        other = pool[rng.integers(len(pool))]
        if other.recording_id != recording_id and other.moments:
            length = other.moments[0].duration_s
            onset = float(rng.uniform(0, max(seconds - length, 1)))
            moment = Moment(onset_s=onset, offset_s=onset + length)
            _add_event(rows, rng, words.direction(other.query), [moment], simulation)
    rows += simulation.noise * rng.standard_normal(rows.shape) / np.sqrt(simulation.dim)
    return rows.astype(np.float32)


def _add_event(
    rows: npt.NDArray[np.float64],
    rng: np.random.Generator,
    direction: npt.NDArray[np.float64],
    moments: Iterable[Moment],
    simulation: Simulation,
) -> None:
    """Add all occurrences of one event to the rows, in place."""
    level = simulation.level * np.exp(simulation.level_spread * rng.standard_normal())
    middle = np.arange(len(rows)) + 0.5
    for moment in moments:
        onset = moment.onset_s + simulation.jitter_s * rng.standard_normal()
        offset = moment.offset_s + simulation.jitter_s * rng.standard_normal()
        ramp = np.minimum(middle - onset, offset - middle) / simulation.blur_s + 0.5
        other = _unit(rng.standard_normal(simulation.dim))
        heard = _unit(direction + simulation.variation * other)
        rows += level * np.clip(ramp, 0, 1)[:, None] * heard


def _slow(rng: np.random.Generator, seconds: int, simulation: Simulation) -> npt.NDArray[np.float64]:
    """[second, dim] a random walk that forgets within `drift_s`; rows have about unit norm."""
    keep = np.exp(-1 / simulation.drift_s)
    steps = rng.standard_normal((seconds, simulation.dim)) / np.sqrt(simulation.dim)
    for second in range(1, seconds):
        steps[second] = keep * steps[second - 1] + np.sqrt(1 - keep**2) * steps[second]
    return steps


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def _words(caption: str) -> list[str]:
    return [word.strip(".,!?'\"").lower() or "-" for word in caption.split()] or ["-"]


def write_corpus(labels: Path, out: Path, simulation: Simulation, max_train_queries: int | None) -> None:
    """Annotations (train, valid, test) and features of all of them, unless they are there already."""
    made_by = {"simulation": fingerprint([repr(simulation), max_train_queries])}
    done = out / "simulation.json"
    if done.exists() and json.loads(done.read_text()) == made_by:
        return
    train = _cropped(read_annotations(labels / "castella_train_release.jsonl"), simulation.crop_s)
    test = _cropped(read_annotations(labels / "castella_val_release.jsonl"), simulation.crop_s)
    recordings = sorted({query.recording_id for query in train})
    generator(simulation.seed, "split").shuffle(recordings)
    held_out = set(recordings[: round(simulation.valid_share * len(recordings))])
    place = {recording_id: at for at, recording_id in enumerate(recordings)}
    kept = sorted((q for q in train if q.recording_id not in held_out), key=lambda q: place[q.recording_id])
    splits = {
        "train": kept[:max_train_queries],
        "valid": [query for query in train if query.recording_id in held_out],
        "test": test,
    }
    words = Words(simulation)
    for name, queries in splits.items():
        write_queries(out / "text" / f"{name}.jsonl", queries)
        by_recording: dict[str, list[Query]] = {}
        for query in queries:
            by_recording.setdefault(query.recording_id, []).append(query)
            write_features(text_file(out / "features", query.qid), words.tokens(query), TEXT_KEY, made_by)
        for recording_id, asked in by_recording.items():
            rows = recording_features(simulation, words, asked, train)
            write_features(audio_file(out / "features", recording_id), rows, AUDIO_KEY, made_by)
    write_json(done, made_by)


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
    parser.add_argument("--level", type=float)
    parser.add_argument("--queries", type=int, help="at most this many training queries")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--reduced", action="store_true", help="a CPU's size; see above")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    simulation = REDUCED_SIMULATION if options.reduced else Simulation()
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


def _cropped(queries: list[Query], crop_s: float | None) -> list[Query]:
    """The queries with what of their recordings and moments lies before `crop_s`."""
    if crop_s is None:
        return queries
    cropped = []
    for query in queries:
        moments = tuple(
            Moment(onset_s=moment.onset_s, offset_s=min(moment.offset_s, crop_s))
            for moment in query.moments
            if moment.onset_s < crop_s
        )
        if moments:
            duration_s = min(query.duration_s, crop_s)
            cropped.append(dataclasses.replace(query, duration_s=duration_s, moments=moments))
    return cropped


if __name__ == "__main__":
    main()
