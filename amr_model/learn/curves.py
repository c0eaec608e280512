"""A picture of a run: losses and validation figures over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clotho_long.core.files import atomic_path


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Two panels from the records of metrics.jsonl, written atomically."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    for axes, group, label in ((left, "loss", "training loss, unweighted terms"), (right, "valid", "%")):
        for name in history[0][group] if history else ():
            axes.plot(epochs, [record[group][name] for record in history], label=name)
        axes.set(xlabel="epoch", ylabel=label)
        if history:
            axes.legend()
    left.set_yscale("log")
    right.set_title("validation")
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120)
