"""The sections that the reports are put together from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amr_model.config import ExperimentConfig
from amr_model.data.sets import read_annotations
from amr_model.public.networks import network_of
from amr_model.scoring.report import LENGTH_BANDS_S
from clotho_long.core.records import Query
from clotho_long.core.settings import load_config, to_plain
from clotho_long.corpus import Corpus
from clotho_long.stages.stats import of_corpus, plot_distributions
from pipelines import charts
from pipelines.made_by import made_by
from pipelines.published import CITATION, FIGURES, PUBLISHED, ROWS
from pipelines.report import CLOSE_IOU, FOUND_IOU, Block, Example, Headline, Picture, Section, Table, Text
from pipelines.runs import METRICS
from pipelines.steps import StepRun

HEADLINES = ("R1@0.5", "R1@0.7", "mAP")

Metrics = dict[str, Any]


def results_section(
    scored: Mapping[str, Path], *, strong: str, headline: tuple[str, str] | None = None
) -> Section:
    """The table: what each model scores, with intervals over queries.

    Args:
        scored: folder of `score_step` by the name of the row.
        strong: the row that matters most.
        headline: two rows to compare in large figures, before and after.
    """
    metrics = {name: read_metrics(folder) for name, folder in scored.items()}
    blocks: list[Block] = []
    if headline is not None:
        before, after = (metrics[name] for name in headline)
        blocks.append(
            Headline(
                figures=tuple(
                    (
                        f"{figure}, {headline[1]}",
                        f"{figure_of(after, figure):.1f}",
                        f"{headline[0]}: {figure_of(before, figure):.1f}",
                    )
                    for figure in HEADLINES
                )
            )
        )
    names = list(metrics)
    counts = next(iter(metrics.values()))["counts"]
    blocks.append(
        Table(
            header=("", *HEADLINES, "R5@0.5", "found@0.5", "unanswered"),
            rows=tuple(
                (
                    name,
                    *(_with_interval(values, figure) for figure in HEADLINES),
                    f"{values['more']['R5@0.5']:.1f}",
                    f"{values['more']['found@0.5']:.1f}",
                    str(values["counts"]["unanswered"]),
                )
                for name, values in metrics.items()
            ),
            strong=(names.index(strong),),
            note=(
                f"Percent, on {counts['queries']} queries with {counts['moments']} moments; in brackets 95 % "
                "intervals by bootstrap over queries. R1@0.7: the first window meets a true moment with an "
                "IoU of at least 0.7. found: true moments that one of the ten windows meets."
            ),
        )
    )
    highest = max(values["intervals"][figure][1] for values in metrics.values() for figure in HEADLINES[:2])
    for figure in HEADLINES[:2]:
        rows = {name: (figure_of(m, figure), tuple(m["intervals"][figure])) for name, m in metrics.items()}
        blocks.append(
            Picture(
                name=f"results-{figure.replace('@', '-')}",
                content=charts.intervals(rows, title=figure, label="%", limit=min(1.05 * highest + 1, 101)),
                caption=f"{figure} with 95 % intervals over queries.",
            )
        )
    return Section(title="Results", blocks=tuple(blocks))


def published_section(scored: Mapping[str, Path]) -> Section:
    """The report's Table 1 below our own rows.

    Args:
        scored: folder of `score_step` by the name of the row.
    """
    ours = tuple(
        (name, "scored here", *(f"{figure_of(metrics, figure):.2f}" for figure in FIGURES))
        for name, metrics in ((name, read_metrics(folder)) for name, folder in scored.items())
    )
    published = tuple(
        (name, what, *(f"{PUBLISHED[name][figure]:.2f}" for figure in FIGURES)) for name, what in ROWS.items()
    )
    table = Table(
        header=("", "what", *FIGURES),
        rows=(*ours, *published),
        strong=tuple(range(len(ours))),
        words=(1,),
        note=(
            "Percent. Published: one run each on CASTELLA's development-testing split, with which ours "
            f"compare if they are of it too. Table 1 of {CITATION}."
        ),
    )
    return Section(title="Beside the report", blocks=(table,))


def lengths_section(scored: Mapping[str, Path]) -> Section:
    """How much is found of short and of long moments, and of queries with several."""
    metrics = {name: read_metrics(folder) for name, folder in scored.items()}
    last = next(reversed(metrics))
    header = ("", "queries", "moments", *HEADLINES, "found@0.5")
    tables = tuple(
        Table(
            header=(label, *header[1:]),
            rows=tuple(
                (
                    band,
                    str(row["queries"]),
                    str(row["moments"]),
                    *(f"{row[figure]:.1f}" for figure in (*HEADLINES, "found@0.5")),
                )
                for band, row in metrics[last][key].items()
            ),
            note=f"{last}.",
        )
        for label, key in (("length of moments", "by_length"), ("moments of a query", "by_number"))
    )
    pictures = tuple(
        Picture(
            name=f"by-length-{figure.replace('@', '-')}",
            content=charts.bars(
                {
                    name: {band: row[figure] for band, row in m["by_length"].items()}
                    for name, m in metrics.items()
                },
                title=f"{figure} by length of the moment",
                label="%",
            ),
            caption=caption,
        )
        for figure, caption in (
            ("R1@0.5", "First windows that meet a moment of the given length."),
            ("found@0.5", "Moments of the given length that one of the ten windows meets."),
        )
    )
    return Section(title="By length and number of moments", blocks=(*pictures, *tables))


def examples_section(examples: Sequence[Example]) -> Section:
    """Queries to look at and to listen to."""
    hits = sum(example.hit for example in examples)
    explained = Text(
        text=(
            f"{hits} queries whose first window is right (IoU of at least {FOUND_IOU}) and "
            f"{len(examples) - hits} whose is not, drawn by lot among each kind: nothing here is picked. "
            f"Close is what has an IoU of at least {CLOSE_IOU}, missed what has less. Click a moment to hear "
            "it; answers are the darker, the higher their score. The curve is what the network says of each "
            "second: a probability if it is calibrated, else saliency between its lowest and highest value."
        )
    )
    return Section(title="Examples", blocks=(explained, *examples))


def curves_section(runs: Mapping[str, Path]) -> Section:
    """Losses and validation figures over the epochs of each run."""
    histories = {name: read_history(run) for name, run in runs.items()}
    configs = {name: load_config(ExperimentConfig, run / "config.yml") for name, run in runs.items()}
    kept = {name: _kept_epoch(history, configs[name]) for name, history in histories.items()}
    last = next(reversed(histories))
    pictures = [
        Picture(
            name="curves-loss",
            content=charts.curves(
                histories, figure="loss.total", title="Training loss", label="weighted sum"
            ),
            caption="The objective, mean of each epoch.",
        ),
        *(
            Picture(
                name=f"curves-{figure.replace('@', '-')}",
                content=charts.curves(
                    histories,
                    figure=f"valid.{figure}",
                    title=f"Validation {figure}",
                    label="%",
                    kept=kept,
                ),
                caption=(
                    f"{figure} on the validation split of the corpus that is trained on. The dots mark the "
                    "epochs whose networks were kept."
                ),
            )
            for figure in ("R1@0.5", "R1@0.7")
        ),
        Picture(
            name="curves-terms",
            content=charts.loss_terms(histories[last], title=last),
            caption="The terms of the loss, without their weights.",
        ),
    ]
    networks = Table(
        header=("", "parameters", "epochs", "kept epoch", *HEADLINES),
        rows=tuple(
            (
                name,
                f"{_num_parameters(configs[name]):,}",
                str(len(history)),
                str(history[kept[name]]["epoch"] + 1),
                *(f"{history[kept[name]]['valid'][figure]:.1f}" for figure in HEADLINES),
            )
            for name, history in histories.items()
        ),
        note="Percent on the validation split of the corpus that is trained on, at the epoch that was kept.",
    )
    return Section(title="Training", blocks=(*pictures, networks))


def corpus_section(title: str, corpus: Corpus, *, name: str) -> Section:
    """What a corpus holds."""
    values_of = of_corpus(corpus)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "distributions.png"
        plot_distributions(values_of, path, title=title)
        picture = path.read_bytes()
    rows = tuple(
        (
            split,
            f"{len(v.queries_per_clip):,}",
            f"{len(v.moments_per_query):,}",
            f"{len(v.moment_s):,}",
            f"{sum(v.moment_s) / max(len(v.moment_s), 1):.1f}",
            f"{v.hours:,.1f}",
        )
        for split, v in values_of.items()
    )
    return Section(
        title=title,
        blocks=(
            Table(
                header=("split", "recordings", "queries", "moments", "mean length (s)", "hours"), rows=rows
            ),
            Picture(
                name=f"corpus-{name}",
                content=picture,
                suffix="png",
                caption="Distributions of what was drawn, for each split.",
                wide=True,
            ),
        ),
    )


def annotations_section(files: Mapping[str, Path]) -> Section:
    """What some annotation files hold, by the name of their part."""
    queries_of = {name: read_annotations(path) for name, path in files.items()}
    rows = []
    for name, queries in queries_of.items():
        recordings = {query.recording_id: query.duration_s for query in queries}
        lengths = _moment_lengths(queries)
        rows.append(
            (
                name,
                f"{len(recordings):,}",
                f"{sum(recordings.values()) / 3600:,.1f}",
                f"{len(queries):,}",
                f"{len(lengths):,}",
                f"{np.median(lengths):.1f}" if lengths else "",
            )
        )
    shares = {
        name: {
            band: 100 * float(np.mean([low < length <= high for length in lengths]))
            for band, (low, high) in LENGTH_BANDS_S.items()
        }
        for name, queries in queries_of.items()
        if (lengths := _moment_lengths(queries))
    }
    return Section(
        title="Annotations",
        blocks=(
            Table(
                header=("", "recordings", "hours", "queries", "moments", "median length (s)"),
                rows=tuple(rows),
            ),
            Picture(
                name="annotations-lengths",
                content=charts.bars(shares, title="Length of moments", label="% of moments"),
                caption="How long the moments of each part are.",
            ),
        ),
    )


def settings_section(settings: Any, runs: Sequence[StepRun]) -> Section:
    """What made the report: code, command and machine, all settings, and what each step cost."""
    flat = _flat(to_plain(settings))
    return Section(
        title="Made by",
        blocks=(
            Table(header=("made by", ""), rows=made_by(), words=(1,)),
            Table(header=("setting", "value"), rows=tuple(flat), words=(1,)),
            Table(
                header=("step", "this time", "seconds"),
                rows=tuple((run.name, _what_happened(run), f"{run.seconds:.1f}") for run in runs),
                words=(1,),
                note="Seconds of each step's last run, on the machine that ran it.",
            ),
        ),
    )


def read_metrics(scored: Path) -> Metrics:
    """metrics.json of a `score_step`."""
    metrics: Metrics = json.loads((scored / METRICS).read_text(encoding="utf-8"))
    return metrics


def read_history(run: Path) -> list[dict[str, Any]]:
    """One record for each epoch of a run."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def figure_of(metrics: Metrics, name: str) -> float:
    """A headline figure in percent."""
    brief: dict[str, float] = metrics["brief"]
    return brief[f"MR-full-{name}"]


def _what_happened(run: StepRun) -> str:
    """What became of a step, for somebody who was not there."""
    reasons = {"": "unchanged since an earlier time", "no output yet": "made"}
    return reasons.get(run.why, f"made again: {run.why}")


def _kept_epoch(history: Sequence[Mapping[str, Any]], config: ExperimentConfig) -> int:
    """The place in a history of the epoch whose network was kept: the first that validates best."""
    chosen_by = config.train.select_by
    return max(range(len(history)), key=lambda at: (history[at]["valid"][chosen_by], -at))


def _num_parameters(config: ExperimentConfig) -> int:
    return sum(parameter.numel() for parameter in network_of(config.model).parameters())


def _moment_lengths(queries: Sequence[Query]) -> list[float]:
    return [moment.duration_s for query in queries for moment in query.moments]


def _with_interval(metrics: Metrics, figure: str) -> str:
    low, high = metrics["intervals"][figure]
    return f"{figure_of(metrics, figure):.1f} ({low:.1f}-{high:.1f})"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            rows.append((f"{prefix}{key}", ", ".join(str(item) for item in value) or "none"))
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows
