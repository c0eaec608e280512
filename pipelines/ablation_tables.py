"""The figures of an ablation, as tables for people (the page, Markdown) and for programs (csv)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from amr_model.config import SYSTEMS
from amr_model.data.sets import read_annotations
from amr_model.scoring.metrics import THRESHOLDS, Floats, QueryScores, score_queries
from amr_model.scoring.report import bootstrap, headline_values
from clotho_long.core.predictions import read_predictions
from pipelines import charts
from pipelines.published import CITATION, FIGURES, PUBLISHED, ROWS
from pipelines.report import Picture, Section, Table
from pipelines.runs import PREDICTIONS
from pipelines.tables import write_frame

PerQuery = dict[str, Floats]  # [query] percentages by figure
Scores = dict[str, dict[int, PerQuery]]  # by system and seed


def read_scores(annotations: Path, scored: Mapping[str, Mapping[int, Path]]) -> Scores:
    """The figures of each query, from what `score_step` wrote for each system and seed."""
    queries = read_annotations(annotations)
    return {
        system: {
            seed: per_query(score_queries(queries, read_predictions(folder / PREDICTIONS)))
            for seed, folder in of_seed.items()
        }
        for system, of_seed in scored.items()
    }


def per_query(scores: QueryScores) -> PerQuery:
    """What each query adds to the five figures of the report's table."""
    precision = {
        f"mAP@{iou}": 100.0 * scores.average_precision[:, THRESHOLDS.index(iou)] for iou in (0.5, 0.75)
    }
    return {**headline_values(scores), **precision}


def runs_frame(scores: Scores) -> pd.DataFrame:
    """One row for each system and seed: system, seed, the five figures."""
    return pd.DataFrame(
        [
            {"system": system, "seed": seed, **{figure: run[figure].mean() for figure in FIGURES}}
            for system, of_seed in scores.items()
            for seed, run in of_seed.items()
        ]
    )


def systems_frame(scores: Scores) -> pd.DataFrame:
    """One row for each row of the report's table and each figure.

    Columns: system, figure, published, then of ours the mean over seeds, its 95 % interval over queries, and
    the lowest and highest seed; what was not run or is not published is missing.
    """
    long = runs_frame(scores).melt(["system", "seed"], var_name="figure", value_name="value")
    ours = (
        long.groupby(["system", "figure"])["value"]
        .agg(mean="mean", lowest_seed="min", highest_seed="max", seeds="count")
        .reset_index()
    )
    intervals = pd.DataFrame(
        [
            {"system": system, "figure": figure, "low": low, "high": high}
            for system, of_seed in scores.items()
            for figure, (low, high) in bootstrap(_over_seeds(of_seed), seed=0).items()
        ]
    )
    published = pd.DataFrame(
        [
            {"system": system, "figure": figure, "published": PUBLISHED.get(system, {}).get(figure)}
            for system in (*ROWS, *(name for name in scores if name not in ROWS))
            for figure in FIGURES
        ]
    )
    keys = ["system", "figure"]
    frame = published.merge(ours, how="left", on=keys).merge(intervals, how="left", on=keys)
    return frame.astype({"seeds": "Int64"})


def write_tables(scores: Scores, out: Path) -> list[Path]:
    """Write `runs.csv` and `table.csv`, and both as Markdown; returns what was written."""
    return [
        *write_frame(runs_frame(scores), out / "runs"),
        *write_frame(systems_frame(scores), out / "table"),
    ]


def table_section(scores: Scores) -> Section:
    """The report's table with ours beside it, a chart of each figure, and what of it is more than luck."""
    frame = systems_frame(scores)
    rows_of = {system: rows.set_index("figure") for system, rows in frame.groupby("system", sort=False)}
    beside = Table(
        header=("system", "parts", *(name for figure in FIGURES for name in (figure, "published"))),
        rows=tuple(
            (
                str(system),
                _parts(str(system)),
                *(_number(rows.at[f, column]) for f in FIGURES for column in ("mean", "published")),
            )
            for system, rows in rows_of.items()
        ),
        words=(1,),
        note=(
            "Percent. Ours are means over seeds; published: one run of each system on CASTELLA's "
            f"development-testing split, Table 1 of {CITATION}."
        ),
    )
    spread = Table(
        header=("system", *(name for figure in FIGURES for name in (figure, "seeds"))),
        rows=tuple(
            (
                system,
                *(cell for figure in FIGURES for cell in _spread(rows_of[system].loc[figure])),
            )
            for system in scores
        ),
        note=(
            "Mean over seeds, in brackets its 95 % interval by bootstrap over queries; seeds: lowest and "
            "highest single run."
        ),
    )
    pictures = tuple(_chart(figure, frame[frame["figure"] == figure], list(scores)) for figure in FIGURES)
    return Section(title="Systems", blocks=(beside, spread, *pictures, _differences(scores)))


def _chart(figure: str, rows: pd.DataFrame, systems: list[str]) -> Picture:
    of = rows.set_index("system")
    return Picture(
        name=f"table-{figure.replace('@', '-')}",
        content=charts.intervals(
            {s: (of.at[s, "mean"], (of.at[s, "low"], of.at[s, "high"])) for s in systems},
            title=figure,
            label="%",
            beside={s: PUBLISHED[s][figure] for s in systems if s in PUBLISHED},
            beside_label="published",
        ),
        caption=f"{figure}: mean over seeds with its 95 % interval over queries.",
    )


def _differences(scores: Scores) -> Table:
    """Each system against the first one, on the same queries: what of it is more than luck."""
    first, *others = scores
    reference = _over_seeds(scores[first])
    rows = []
    for system in others:
        mean = _over_seeds(scores[system])
        difference = {figure: mean[figure] - reference[figure] for figure in FIGURES}
        rows.append(
            (
                system,
                *(
                    f"{difference[figure].mean():+.2f} ({low:+.1f} to {high:+.1f})"
                    for figure, (low, high) in bootstrap(difference, seed=0).items()
                ),
            )
        )
    return Table(
        header=(f"against {first}", *FIGURES),
        rows=tuple(rows),
        note=(
            "Differences on the same queries with 95 % intervals over queries: one that spans 0 may be "
            "chance. What other seeds would change is not in them: compare the lowest and highest runs above."
        ),
    )


def _over_seeds(of_seed: Mapping[int, PerQuery]) -> PerQuery:
    """The mean over seeds for each query."""
    return {figure: np.mean([run[figure] for run in of_seed.values()], axis=0) for figure in FIGURES}


def _parts(system: str) -> str:
    if system in SYSTEMS:
        return ", ".join(SYSTEMS[system]).replace("_", " ") or "baseline"
    return ROWS[system]


def _spread(row: pd.Series) -> tuple[str, str]:
    return (
        f"{row['mean']:.2f} ({row['low']:.1f}-{row['high']:.1f})",
        f"{row['lowest_seed']:.1f}-{row['highest_seed']:.1f}",
    )


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"
