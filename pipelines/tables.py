"""Tables of results as files that other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clotho_long.core.files import write_text
from pipelines.published import FIGURES
from pipelines.sections import figure_of, read_metrics

DECIMALS = 4  # of csv; people read two, in Markdown


def write_frame(frame: pd.DataFrame, path: Path) -> list[Path]:
    """Write `PATH.csv` and `PATH.md`; returns both."""
    files = [path.with_name(f"{path.name}.{suffix}") for suffix in ("csv", "md")]
    write_text(files[0], frame.round(DECIMALS).to_csv(index=False, lineterminator="\n"))
    write_text(files[1], to_markdown(frame))
    return files


def to_markdown(frame: pd.DataFrame) -> str:
    """A table of GitHub's Markdown; pandas' own needs a package more for it."""
    cells = frame.map(_cell)
    rows = [list(frame.columns), ["---"] * frame.shape[1], *cells.to_numpy().tolist()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def results_frame(scored: Mapping[str, Path]) -> pd.DataFrame:
    """One row for each model: the five figures, and the 95 % intervals of those that have one.

    Args:
        scored: folder of `score_step` by the name of the row.
    """
    rows = []
    for name, folder in scored.items():
        metrics = read_metrics(folder)
        row: dict[str, str | float] = {"model": name}
        for figure in FIGURES:
            row[figure] = figure_of(metrics, figure)
            if figure in metrics["intervals"]:
                row[f"{figure} low"], row[f"{figure} high"] = metrics["intervals"][figure]
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(value: object) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value).replace("|", "/")
