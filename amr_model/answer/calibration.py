"""What calibration adds to a network: how its curve is read, and what its numbers are worth.

Fitted on the validation split after training (`answer.calibrate`), kept in the checkpoint, never on test.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from amr_model.answer.readout import (
    Curve,
    Floats,
    ReadoutConfig,
    logit,
    sigmoid,
    smoothed_probability,
)

BEST_ROWS = (
    5  # the strongest seconds, of which presence looks at the mean; half of CASTELLA's moments are shorter
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceWeights:
    """Probability that a recording holds the query: sigmoid(intercept + sum of weight times statistic).

    As if every second recording held it. Fitted on recordings of the length of those of the validation split:
    over hours more seconds have a chance to be high, and it comes out too large.
    """

    intercept: float
    highest: float  # of the smoothed r, as a logit
    best: float  # mean of the `BEST_ROWS` highest, as a logit


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything that was fitted, and on how much."""

    readout: ReadoutConfig
    presence: PresenceWeights
    min_score: float  # what `amr predict` takes for an answer unless told otherwise: best F1 on validation
    queries: int  # fitted on
    absent: int  # pairs of a query and a recording that does not hold it
    figures: dict[str, float]  # on validation, in percent or as named; `uncalibrated` is the plain read-out

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        figures = ", ".join(f"{name} {value:.2f}" for name, value in self.figures.items())
        readout = self.readout
        return [
            f"calibrated on {self.queries} queries and {self.absent} absent ones: {figures}",
            f"r = sigmoid((z - {readout.shift:.2f}) / {readout.temperature:.2f}), {readout.smooth} of "
            f"{readout.smooth_rows} s, thresholds {_listed(readout.relative)} of the maximum, "
            f"{_listed(readout.absolute)} absolute; --min-score {self.min_score:.2f}",
        ]


def presence_of(curves: Sequence[Curve], calibration: Calibration) -> list[float]:
    """The probability of each recording to hold its query."""
    statistics = presence_statistics(curves, calibration.readout)
    weights = calibration.presence
    logits = weights.intercept + statistics @ np.array([weights.highest, weights.best])
    return [round(value, 4) for value in sigmoid(logits).tolist()]


def presence_statistics(curves: Sequence[Curve], readout: ReadoutConfig) -> Floats:
    """[curve, statistic] in the order of `PresenceWeights`; an empty curve is as low as can be."""
    rows = []
    for curve in curves:
        r = smoothed_probability([curve], readout) if len(curve) else np.zeros(1)
        best = np.partition(r, max(len(r) - BEST_ROWS, 0))[-BEST_ROWS:]
        rows.append((r.max(), best.mean()))
    return logit(np.array(rows).reshape(-1, 2))


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "none"
