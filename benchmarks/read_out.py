"""Who answers best with the same weights: the decoder, the curve by its shape, the calibrated curve, or both.

    python -m benchmarks.simulated_castella --labels castella/ --out DIR --systems S8,S9 --seeds 1 --reduced
    python -m benchmarks.read_out DIR/runs/S8-seed1/checkpoint-best.pt --corpus DIR

Calibration is fitted on DIR's validation split, as training does, and never sees the test split, of which the
figures are. The area under the ROC curve is that of test queries against the same queries asked of another
recording.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import numpy as np
import torch

from amr_model.answer.calibrate import calibrate
from amr_model.answer.run import Asker, as_predictions
from amr_model.checkpoint import load_calibrated
from amr_model.config import ExperimentConfig
from amr_model.data.sets import RetrievalSet
from amr_model.roc import area_under_roc
from amr_model.scoring.report import evaluate
from clotho_long.core.seeds import generator
from clotho_long.core.settings import override

READOUTS = ("decoder", "curve", "both")
CPU = torch.device("cpu")


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--corpus", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of the absent queries.")
@click.option("--threads", default=1, show_default=True)
def main(checkpoint: Path, corpus: Path, seed: int, threads: int) -> None:
    torch.set_num_threads(threads)
    network, config, _ = load_calibrated(checkpoint, CPU)
    config = noting_stretch(config, corpus)
    valid, test = (
        RetrievalSet.load(corpus / "text" / f"{split}.jsonl", corpus / "features", config)
        for split in ("valid", "test")
    )
    elsewhere = test.asked_elsewhere(generator(seed, "absent"))
    assert elsewhere is not None  # the benchmark's corpus has many recordings
    columns = (
        "answered by",
        "R1@0.5",
        "R1@0.7",
        "mAP",
        "found, <= 3 s",
        "found, > 30 s",
        "ROC score",
        "ROC presence",
    )
    click.echo(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for readout in READOUTS:
        chosen = override(config, [f"inference.readout={readout}"])
        asker = Asker(network=network, config=chosen, device=CPU)
        rows = {} if readout == "both" else {f"{readout}": asker}
        if readout != "decoder":
            fitted = calibrate(asker, valid, seed=config.train.seed)
            rows[f"{readout}, calibrated"] = dataclasses.replace(asker, calibration=fitted)
        for name, one in rows.items():
            click.echo(f"| {name} | {' | '.join(figures(one, test, elsewhere))} |")


def figures(asker: Asker, test: RetrievalSet, elsewhere: RetrievalSet) -> list[str]:
    """The cells of a row."""
    present, absent = asker.answers(test), asker.answers(elsewhere)
    report = evaluate(test.queries, as_predictions(test.queries, present))
    full, by_length = report["full"], report["by_length"]
    values = [full["MR-R1"]["0.5"], full["MR-R1"]["0.7"], full["MR-mAP"]["average"]]
    values += [by_length[band]["found@0.5"] if band in by_length else np.nan for band in ("<= 3 s", "> 30 s")]
    holds = np.arange(len(present) + len(absent)) < len(present)
    top = [max((moment.score for moment in found.moments), default=0.0) for found in (*present, *absent)]
    roc = [area_under_roc(np.array(top), holds)]
    held = [found.presence for found in (*present, *absent) if found.presence is not None]
    roc.append(area_under_roc(np.array(held), holds) if len(held) == len(holds) else np.nan)
    return [*(f"{value:.1f}" for value in values), *("" if np.isnan(area) else f"{area:.2f}" for area in roc)]


def noting_stretch(config: ExperimentConfig, corpus: Path) -> ExperimentConfig:
    """The settings with the stretch that the network learnt on, for checkpoints that do not say."""
    if config.features.stretch_rows is not None:
        return config
    train = RetrievalSet.load(corpus / "text" / "train.jsonl", corpus / "features", config)
    return override(config, [f"features.stretch_rows={int(train.num_rows.max())}"])


if __name__ == "__main__":
    main()
