"""A picture of a run: losses and validation figures over the epochs, and where the best one is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clotho_long.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Drawing takes a fraction of a second: every epoch that lasts gets its picture, one of milliseconds waits.
DRAW_EVERY_S = 5.0


@dataclass
class Curves:
    """curves.png of a run, kept up to date."""

    path: Path
    select_by: str
    drawn_at: float = field(default=float("-inf"), init=False)

    def after_epoch(self, history: Sequence[dict[str, Any]]) -> None:
        """Draw, unless that was done a moment ago."""
        if time.monotonic() - self.drawn_at >= DRAW_EVERY_S:
            self.draw(history)

    def draw(self, history: Sequence[dict[str, Any]]) -> None:
        """Draw the records of metrics.jsonl."""
        if history:
            draw_curves(history, self.path, select_by=self.select_by)
            self.drawn_at = time.monotonic()


def draw_curves(history: Sequence[dict[str, Any]], path: Path, *, select_by: str) -> None:
    """Two panels from the records of metrics.jsonl, written atomically.

    Args:
        select_by: the figure whose best epoch is marked.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _losses(left, history)
    _lines(right, history, "valid", "{}")
    right.set(ylabel="%", title="validation")
    best = max(history, key=lambda record: record["valid"][select_by])["epoch"]
    for axes in (left, right):
        axes.axvline(best, color="grey", linestyle=":", label=f"best {select_by}: epoch {best}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        # beside the curves, never over them
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120)


def _losses(axes: Axes, history: Sequence[dict[str, Any]]) -> None:
    _lines(axes, history, "loss", "{}", strong="total")
    # runs of earlier versions have it from the epoch on at which they were resumed
    _lines(axes, history, "valid_loss", "{} on validation", only="total", strong="total", linestyle="--")
    axes.set(yscale="log", ylabel="loss", title="total (weighted) and its terms (unweighted)")


def _lines(
    axes: Axes,
    history: Sequence[dict[str, Any]],
    group: str,
    label: str,
    *,
    only: str | None = None,
    strong: str | None = None,
    linestyle: str = "-",
) -> None:
    records = [record for record in history if group in record]
    for name in records[0][group] if records else ():
        if only in (None, name):
            axes.plot(
                [record["epoch"] for record in records],
                [record[group][name] for record in records],
                label=label.format(name),
                linestyle=linestyle,
                linewidth=2.2 if name == strong else 1.2,
                color="black" if name == strong else None,
                marker="." if len(records) == 1 else None,
            )
