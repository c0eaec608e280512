"""Settings of S9 compared on the validation split alone: short trainings, one row each.

    python -m benchmarks.simulated_castella --labels castella/ --out DIR --reduced --systems S9 --seeds 1
    python -m benchmarks.read_out_trials DIR --trial as-it-is= --trial frame-3=loss.frame=3

A trial is NAME=KEY=VALUE[,KEY=VALUE...]: S9 at the reduced size with these settings. Finished trials are
kept, stopped ones go on. Writes DIR/trials.csv and DIR/trials.md from all trials there are. The test split is
not opened.

The calibrated figures are of the best epoch and cross-fitted: what is fitted on one half of the validation
recordings reads the other half. Those of the plain read-out are means over epochs 8 to 12, since 141 queries
move by three points from epoch to epoch; trials of different lengths compare in them.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch

from amr_model.answer.calibrate import MOST_QUERIES, Known, first_ious, fit, known
from amr_model.answer.calibration import presence_of
from amr_model.answer.run import Asker
from amr_model.checkpoint import load_model
from amr_model.config import ExperimentConfig, system
from amr_model.data.sets import RetrievalSet
from amr_model.learn.runs import BEST, HISTORY
from amr_model.learn.train import train
from amr_model.roc import area_under_roc
from benchmarks.simulated_castella import REDUCED_SETTINGS
from clotho_long.core.files import write_text
from clotho_long.core.records import Query
from clotho_long.core.seeds import generator
from clotho_long.core.settings import override
from pipelines.simulation.calibrated import REDUCED

CPU = torch.device("cpu")
COMMON = slice(7, 12)  # epochs that every trial has, whose mean says what one epoch hides
FIGURES = "trial.json"


@click.command()
@click.argument("corpus", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--trial", "trials", multiple=True, metavar="NAME=SETTINGS")
@click.option("--system", "base", default="S9", show_default=True)
@click.option("--epochs", default=12, show_default=True)
@click.option("--seeds", default="1", show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(corpus: Path, trials: tuple[str, ...], base: str, epochs: int, seeds: str, threads: int) -> None:
    """Train what is not trained yet, and print all there is."""
    torch.set_num_threads(threads)
    for trial in trials:
        name, _, settings = trial.partition("=")
        for seed in seeds.split(","):
            config = override(
                system(base),
                [
                    *REDUCED_SETTINGS,
                    f"model.audio_dim={REDUCED.dim}",
                    f"model.text_dim={REDUCED.dim}",
                    f"train.epochs={epochs}",
                    f"train.seed={seed}",
                    *(part for part in settings.split(",") if part),
                ],
            )
            run = corpus / "trials" / f"{name}-seed{seed}"
            if not (run / FIGURES).exists():
                try_out(corpus, run, config, settings)
            click.echo(write_tables(corpus))


def try_out(corpus: Path, run: Path, config: ExperimentConfig, settings: str) -> None:
    """One trial: train, and say what it does on validation."""
    sets = {
        split: RetrievalSet.load(corpus / "text" / f"{split}.jsonl", corpus / "features", config)
        for split in ("train", "valid")
    }
    train(config, sets["train"], sets["valid"], run, resume=True)
    history = [json.loads(line) for line in (run / HISTORY).read_text().splitlines()]
    plain = pd.DataFrame([record["valid"] for record in history])
    best = int(plain[config.train.select_by].argmax())
    row: dict[str, object] = {"settings": settings, "epochs": len(history), "best epoch": best}
    row |= {f"epochs 8-12 {name}": round(float(plain[name][COMMON].mean()), 1) for name in plain}
    row |= cross_fitted(run / BEST, sets["valid"])
    (run / FIGURES).write_text(json.dumps(row))


def cross_fitted(checkpoint: Path, valid: RetrievalSet) -> dict[str, float]:
    """Calibrated figures on validation, each half read as the other half says."""
    network, config = load_model(checkpoint, CPU)
    figures: dict[str, float] = {}
    both = override(config, ["inference.readout=decoder"])
    asker = Asker(network=network, config=both, device=CPU)
    elsewhere = valid.asked_elsewhere(generator(0, "absent"))
    assert elsewhere is not None  # the corpus has many recordings
    queries = [*valid.queries, *elsewhere.queries]
    assert len(queries) <= MOST_QUERIES
    found = [*asker.answers(valid), *asker.answers(elsewhere)]
    halves = _halves(queries)
    for name, decoder in (("curve", False), ("both", True)):
        everything = known(queries, found, row_s=config.features.row_s, decoder=decoder)
        ious, presence = np.zeros(len(queries)), np.zeros(len(queries))
        for half in (halves, ~halves):
            fitted = fit(_part(everything, ~half))
            mine = _part(everything, half)
            ious[half] = first_ious(mine, fitted.readout)
            presence[half] = presence_of(mine.curves, fitted)
        ious = ious[everything.holds]
        figures |= {
            f"{name} R1@{level}": round(100 * float((ious >= level).mean()), 1) for level in (0.5, 0.7)
        }
        figures[f"{name} IoU"] = round(100 * float(ious.mean()), 1)
        if name == "curve":
            figures["ROC presence"] = round(area_under_roc(presence, everything.holds), 3)
    return figures


def write_tables(corpus: Path) -> str:
    """DIR/trials.csv and DIR/trials.md, of all finished trials."""
    rows = {
        file.parent.name: json.loads(file.read_text())
        for file in sorted((corpus / "trials").glob(f"*/{FIGURES}"))
    }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "trial"
    frame.to_csv(corpus / "trials.csv")
    lines = [f"| trial | {' | '.join(frame.columns)} |", "| --- |" + " --- |" * len(frame.columns)]
    lines += [
        f"| {name} | {' | '.join(map(str, row))} |"
        for name, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    text = "\n".join(lines) + "\n"
    write_text(corpus / "trials.md", text)
    return text


def _halves(queries: list[Query]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """[query] whether it belongs to the first half; all of one recording belong together."""
    names = sorted({query.recording_id for query in queries})
    order = generator(0, "halves").permutation(len(names))
    first = {names[place] for place in order[: len(names) // 2]}
    return np.array([query.recording_id in first for query in queries])


def _part(everything: Known, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Known:
    places = np.flatnonzero(chosen)
    return Known(
        curves=[everything.curves[at] for at in places],
        truth=[everything.truth[at] for at in places],
        proposals=[everything.proposals[at] for at in places],
        row_s=everything.row_s,
    )


if __name__ == "__main__":
    main()
