"""Who answers best with the same weights: the decoder, the curve by its shape, the calibrated curve, or both.

    python -m benchmarks.simulated_castella --labels castella/ --out DIR --reduced --systems S1,S4,S8,S9
    python -m benchmarks.read_out DIR

Reads the best checkpoint of every run below DIR/runs, fits the calibration on DIR's validation split, as
training does, and answers the test split, which nothing is fitted or chosen on. Writes DIR/read_out.csv (each
run), DIR/read_out.md (means over seeds, and differences to S8). What is known of a run is kept beside it.

A cell is the mean over seeds [lowest and highest seed] (95 % interval). The interval is the project's
bootstrap over queries of each query's mean over the seeds: it says what other queries would change, the seeds
in brackets what another training would. `all seeds` are the runs of a system together: their calibrated
logits averaged, and the average calibrated anew. The area under the ROC curve is the mean over test queries
of the share of absent ones (the same queries, each asked of another recording) that score lower: resampled
alike, the absent ones fixed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from amr_model.answer.calibrate import calibrate, fit
from amr_model.answer.calibrate import known as known_of
from amr_model.answer.calibration import presence_of
from amr_model.answer.readout import Curve, ReadoutConfig, read_out
from amr_model.answer.run import Asker, Found, as_predictions
from amr_model.checkpoint import load_model
from amr_model.config import ExperimentConfig, system
from amr_model.data.sets import RetrievalSet, read_annotations
from amr_model.learn.runs import BEST
from amr_model.scoring.metrics import score_queries
from amr_model.scoring.report import LENGTH_BANDS_S, bootstrap, headline_values
from clotho_long.core.files import write_json, write_text
from clotho_long.core.records import Query
from clotho_long.core.seeds import generator
from clotho_long.core.settings import override

Floats = npt.NDArray[np.float64]
Values = dict[str, dict[str, list[float]]]  # of a run, by who answers and figure: one number a query

CPU = torch.device("cpu")
KEPT = "read_out.json"
SHORT = "R1@0.7, <= 3 s"
ROC = "ROC presence"
FIGURES = ("R1@0.5", "R1@0.7", "mAP", SHORT, ROC)
# What is known without any fitting: runs of the curve above half of its maximum, scored by their mean.
HALF = ReadoutConfig(smooth_rows=1, relative=(0.5,), close_gap_rows=0)
PLAIN, AT_HALF = "curve, plain", "curve, half of its maximum"
# by who answers: the setting, and whether the curve is calibrated
ANSWERERS: dict[str, tuple[str, bool]] = {
    "decoder": ("decoder", False),
    PLAIN: ("curve", False),
    "curve, calibrated": ("curve", True),
    "both, calibrated": ("both", True),
}


@click.command()
@click.argument("corpus", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--together", multiple=True, metavar="SYSTEM", help="Also all seeds of it together.")
@click.option("--threads", default=1, show_default=True)
def main(corpus: Path, together: tuple[str, ...], threads: int) -> None:
    """Answer with every run in every way, and print the tables."""
    torch.set_num_threads(threads)
    runs = sorted(file.parent for file in (corpus / "runs").glob(f"*-seed*/{BEST}"))
    known = {run.name: of_run(corpus, run) for run in runs if (run / "predictions-test.jsonl").exists()}
    for name in together:
        members = [run for run in runs if run.name in known and run.name.startswith(f"{name}-seed")]
        known[f"{name}, all seeds-seed{len(members)}"] = of_all(corpus, members)
    short = np.array([is_short(query) for query in read_annotations(corpus / "text" / "test.jsonl")])
    text = write_tables(corpus, known, short)
    click.echo(text)


def of_run(corpus: Path, run: Path) -> Values:
    """What each way of answering makes of the test queries."""
    checkpoint = run / BEST
    made_of = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    if (run / KEPT).exists():
        kept = json.loads((run / KEPT).read_text())
        if kept["checkpoint"] == made_of:
            values: Values = kept["values"]
            return values
    opened, valid, test, elsewhere = _opened(corpus, run)
    config = opened.config
    result: Values = {}
    for name, (readout, calibrated) in ANSWERERS.items():
        asker = dataclasses.replace(opened, config=override(config, [f"inference.readout={readout}"]))
        if calibrated:
            asker = dataclasses.replace(asker, calibration=calibrate(asker, valid, seed=config.train.seed))
        present, absent = asker.answers(test), asker.answers(elsewhere)
        result[name] = values_of(test, present, absent)
        if name == PLAIN:
            result[AT_HALF] = values_of(test, _at_half(present), _at_half(absent))
    write_json(run / KEPT, {"checkpoint": made_of, "values": result})
    return result


def of_all(corpus: Path, runs: Sequence[Path]) -> Values:
    """What the mean of several runs' curves makes of the test queries, once it is calibrated."""
    sides: dict[str, list[list[Curve]]] = {"valid": [], "absent": [], "test": [], "elsewhere": []}
    for run in runs:
        asker, valid, test, elsewhere = _opened(corpus, run)
        asker = dataclasses.replace(asker, config=override(asker.config, ["inference.readout=curve"]))
        absent = valid.asked_elsewhere(generator(0, "absent"))
        assert absent is not None  # the benchmark's corpus has many recordings
        fitted = calibrate(asker, valid, seed=0).readout
        for name, data in zip(sides, (valid, absent, test, elsewhere), strict=True):
            curves = [found.curve for found in asker.answers(data)]
            sides[name].append([(curve - fitted.shift) / fitted.temperature for curve in curves])
    mean = {
        name: [np.mean(curves, axis=0) for curves in zip(*of_runs, strict=True)]
        for name, of_runs in sides.items()
    }
    queries = [*valid.queries, *absent.queries]
    found = [Found(moments=(), curve=curve) for curve in (*mean["valid"], *mean["absent"])]
    calibration = fit(known_of(queries, found, row_s=1.0))
    answers = []
    for name in ("test", "elsewhere"):
        moments = read_out(mean[name], calibration.readout, row_s=1.0)
        presence = presence_of(mean[name], calibration)
        answers.append(
            [
                Found(moments=of_query, curve=curve, presence=held)
                for of_query, curve, held in zip(moments, mean[name], presence, strict=True)
            ]
        )
    return {"curve, calibrated": values_of(test, *answers)}


def _opened(corpus: Path, run: Path) -> tuple[Asker, RetrievalSet, RetrievalSet, RetrievalSet]:
    """The network of a run, and the queries: of validation, of test, and these asked elsewhere."""
    network, config = load_model(run / BEST, CPU)
    config = noting_stretch(config, corpus)
    valid, test = (
        RetrievalSet.load(corpus / "text" / f"{split}.jsonl", corpus / "features", config)
        for split in ("valid", "test")
    )
    elsewhere = test.asked_elsewhere(generator(0, "absent"))
    assert elsewhere is not None  # the benchmark's corpus has many recordings
    return Asker(network=network, config=config, device=CPU), valid, test, elsewhere


def values_of(test: RetrievalSet, present: list[Found], absent: list[Found]) -> dict[str, list[float]]:
    """[query] of each figure, whose means over queries are the figures, in percent (ROC: a share)."""
    scores = score_queries(test.queries, as_predictions(test.queries, present))
    assert len(scores.qids) == len(test.queries)  # every query has a moment
    values = {name: of_queries.tolist() for name, of_queries in headline_values(scores).items()}
    here, elsewhere = (np.array([sureness(found) for found in side]) for side in (present, absent))
    above = (here[:, None] > elsewhere).mean(axis=1) + 0.5 * (here[:, None] == elsewhere).mean(axis=1)
    return {**values, ROC: above.tolist()}


def _at_half(found: list[Found]) -> list[Found]:
    """The same curves, read so."""
    moments = read_out([one.curve for one in found], HALF, row_s=1.0)
    return [dataclasses.replace(one, moments=theirs) for one, theirs in zip(found, moments, strict=True)]


def sureness(found: Found) -> float:
    """That the recording holds the query: presence, where there is none the best score."""
    if found.presence is not None:
        return found.presence
    return max((moment.score for moment in found.moments), default=0.0)


def is_short(query: Query) -> bool:
    """Whether all its moments last at most 3 s."""
    return all(moment.duration_s <= LENGTH_BANDS_S["<= 3 s"][1] for moment in query.moments)


def write_tables(corpus: Path, known: Mapping[str, Values], short: npt.NDArray[np.bool_]) -> str:
    """DIR/read_out.csv and DIR/read_out.md; returns the latter."""
    rows = []
    stacked: dict[tuple[str, str], dict[str, list[Floats]]] = {}
    for run, values in known.items():
        name, _, seed = run.rpartition("-seed")
        for answerer, figures in values.items():
            numbers = {figure: np.array(of_queries) for figure, of_queries in figures.items()}
            numbers[SHORT] = numbers["R1@0.7"][short]
            rows.append(
                {"system": name, "seed": seed, "answered by": answerer}
                | {figure: round(float(numbers[figure].mean()), 4) for figure in FIGURES}
            )
            for figure in FIGURES:
                stacked.setdefault((name, answerer), {}).setdefault(figure, []).append(numbers[figure])
    pd.DataFrame(rows).to_csv(corpus / "read_out.csv", index=False)
    lines = [
        f"{len(short)} test queries, {short.sum()} of them with moments of at most 3 s only. Mean over seeds",
        "[lowest and highest seed] (95 % interval of the mean, by bootstrap over queries).",
        "",
        f"| system | answered by | seeds | {' | '.join(FIGURES)} |",
        f"|{' --- |' * (len(FIGURES) + 3)}",
    ]
    for (name, answerer), figures in stacked.items():
        cells = [_cell(figure, figures[figure]) for figure in FIGURES]
        lines.append(f"| {name} | {answerer} | {len(figures[ROC])} | {' | '.join(cells)} |")
    lines += ["", *_differences(stacked)]
    text = "\n".join(lines) + "\n"
    write_text(corpus / "read_out.md", text)
    return text


def _differences(stacked: Mapping[tuple[str, str], Mapping[str, list[Floats]]]) -> list[str]:
    """S9 as it answers beside S8's answers, on the same queries."""
    asked_of = system("S9").inference.readout
    ours = stacked.get(("S9", f"{asked_of}, calibrated"))
    if ours is None:
        return []
    lines = [
        f"S9 ({asked_of}, calibrated) beside the others, same queries: ratio of the means; difference of the",
        "means (95 % interval over queries); seeds in which S9 is above.",
        "",
        f"| beside | {' | '.join(FIGURES)} |",
        f"|{' --- |' * (len(FIGURES) + 1)}",
    ]
    for (name, answerer), theirs in stacked.items():
        if name == "S9" and answerer == f"{asked_of}, calibrated":
            continue
        cells = []
        for figure in FIGURES:
            mine, other = np.mean(ours[figure], axis=0), np.mean(theirs[figure], axis=0)
            low, high = _interval(figure, mine - other)
            pairs = list(zip(ours[figure], theirs[figure], strict=False))
            wins = sum(a.mean() > b.mean() for a, b in pairs)
            places = _places(figure)
            cells.append(
                f"{_ratio(mine.mean(), other.mean())}; {mine.mean() - other.mean():+.{places}f} "
                f"({low:.{places}f} to {high:.{places}f}); {wins} of {len(pairs)}"
            )
        lines.append(f"| {name}, {answerer} | {' | '.join(cells)} |")
    return lines


def _ratio(mine: float, other: float) -> str:
    return f"{mine / other:.2f}" if other > 0 else "-"


def _cell(figure: str, of_seeds: list[Floats]) -> str:
    means, places = [float(values.mean()) for values in of_seeds], _places(figure)
    low, high = _interval(figure, np.mean(of_seeds, axis=0))
    return (
        f"{np.mean(means):.{places}f} [{min(means):.{places}f}, {max(means):.{places}f}] "
        f"({low:.{places}f} to {high:.{places}f})"
    )


def _interval(figure: str, values: Floats) -> tuple[float, float]:
    if figure != ROC:
        return bootstrap({figure: values}, seed=0)[figure]
    low, high = bootstrap({figure: 100 * values}, seed=0)[figure]  # it rounds to hundredths
    return low / 100, high / 100


def _places(figure: str) -> int:
    return 3 if figure == ROC else 1


def noting_stretch(config: ExperimentConfig, corpus: Path) -> ExperimentConfig:
    """The settings with the stretch that the network learnt on, for checkpoints that do not say."""
    if config.features.stretch_rows is not None:
        return config
    train = RetrievalSet.load(corpus / "text" / "train.jsonl", corpus / "features", config)
    return override(config, [f"features.stretch_rows={int(train.num_rows.max())}"])


if __name__ == "__main__":
    main()
