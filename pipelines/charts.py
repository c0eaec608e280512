"""The charts of the reports, as SVG with one look. Small ones, so that a phone shows them at their size."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#3d4fb3", "#e07b1f", "#1a8f6a", "#8e44ad", "#5d647d", "#c0392b", "#0e7c9b", "#b08900")
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#b9bfd0",
    "axes.labelcolor": "#5d647d",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceef5",
    "xtick.color": "#5d647d",
    "ytick.color": "#5d647d",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "audio-moment-retrieval",  # the same picture gives the same bytes
}
SIZE_INCHES = (4.6, 3.2)

History = Sequence[Mapping[str, Any]]  # lines of metrics.jsonl
Interval = tuple[float, float]


def curves(
    runs: Mapping[str, History],
    *,
    figure: str,
    title: str,
    label: str,
    kept: Mapping[str, int] | None = None,
) -> bytes:
    """One line for each run over its epochs.

    Args:
        figure: such as `loss.total` or `valid.R1@0.7`.
        kept: the epoch (from 0) of each run whose network was kept: it gets a dot.
    """
    group, _, name = figure.partition(".")

    def draw(axes: Axes) -> None:
        for colour, (run, history) in zip(COLOURS, runs.items(), strict=False):
            epochs = [record["epoch"] + 1 for record in history]
            values = [record[group][name] for record in history]
            axes.plot(epochs, values, label=run, color=colour)
            if kept is not None:
                best = kept[run]
                axes.plot(epochs[best], values[best], "o", color=colour, mec="white", ms=8, zorder=3)
        axes.set(xlabel="epoch", ylabel=label, title=title)
        axes.set_ylim(bottom=0)
        _whole_epochs(axes)
        _legend_below(axes)

    return _drawn(draw)


def loss_terms(history: History, *, title: str) -> bytes:
    """Every term of the loss of one run, unweighted, on a logarithmic axis."""

    def draw(axes: Axes) -> None:
        epochs = [record["epoch"] + 1 for record in history]
        names = [name for name in history[0]["loss"] if name != "total"]
        for place, name in enumerate(names):
            style = "-" if place < len(COLOURS) else "--"
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(epochs, [record["loss"][name] for record in history], style, label=name, color=colour)
        axes.set(xlabel="epoch", ylabel="loss term", title=title, yscale="log")
        _whole_epochs(axes)
        _legend_below(axes)

    return _drawn(draw)


def bars(groups: Mapping[str, Mapping[str, float]], *, title: str, label: str) -> bytes:
    """Bars side by side: for each group (a system) one for each place (a band of lengths)."""

    def draw(axes: Axes) -> None:
        places = list(dict.fromkeys(place for values in groups.values() for place in values))
        width = 0.8 / max(len(groups), 1)
        for number, (group, values) in enumerate(groups.items()):
            at = np.arange(len(places)) + (number - (len(groups) - 1) / 2) * width
            heights = [values.get(place, 0.0) for place in places]
            axes.bar(at, heights, width=0.92 * width, label=group, color=COLOURS[number % len(COLOURS)])
        axes.set_xticks(np.arange(len(places)), places)
        axes.grid(axis="x", visible=False)
        axes.set(ylabel=label, title=title)
        _legend_below(axes)

    return _drawn(draw)


def intervals(
    rows: Mapping[str, tuple[float, Interval]],
    *,
    title: str,
    label: str,
    limit: float | None = None,
    beside: Mapping[str, float] | None = None,
    beside_label: str = "",
) -> bytes:
    """One point with its interval for each row, the first row on top.

    Args:
        limit: where the axis ends, for charts to be compared.
        beside: other values of some rows, drawn as rings.
    """

    def draw(axes: Axes) -> None:
        names = list(rows)
        at = np.arange(len(names))[::-1]
        values = np.array([value for value, _ in rows.values()])
        low, high = np.array([interval for _, interval in rows.values()]).T
        errors = np.maximum([values - low, high - values], 0)
        axes.errorbar(values, at, xerr=errors, fmt="o", color=COLOURS[0], capsize=3, label="ours")
        if beside:
            there = [(beside[name], y) for name, y in zip(names, at, strict=True) if name in beside]
            axes.plot(*zip(*there, strict=True), "D", mfc="none", color=COLOURS[1], label=beside_label)
            _legend_below(axes)
        axes.set_yticks(at, names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=label, title=title)
        axes.set_xlim(0, limit)

    return _drawn(draw, height=1.1 + 0.32 * len(rows) + (0.3 if beside else 0))


def _whole_epochs(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _legend_below(axes: Axes) -> None:
    """A legend that hides no line."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 4 if max(map(len, labels)) < 12 else 2
    axes.figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))


def _drawn(draw: Any, *, height: float = SIZE_INCHES[1]) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure: Figure = Figure(figsize=(SIZE_INCHES[0], height), layout="constrained")
        draw(figure.subplots())
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
