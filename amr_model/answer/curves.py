"""The curve that answers were read off, as a file: for plots and for detectors of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from amr_model.answer.readout import ReadoutConfig, sigmoid
from amr_model.answer.stretches import Curve
from clotho_long.core.files import atomic_path
from clotho_long.core.units import Seconds


def write_curves(
    path: Path, queries: Sequence[str], curves: Sequence[Curve], *, readout: ReadoutConfig, row_s: Seconds
) -> None:
    """Write the curves of one recording as npz, atomically.

    `query` [query] text; `logit` [query, row] float32 as the network says it; `probability` the same as the
    read-out takes it, before smoothing; `row_s`, the seconds from one row to the next.
    """
    logits = np.stack(curves).astype(np.float32)
    probability = sigmoid((logits.astype(np.float64) - readout.shift) / readout.temperature)
    with atomic_path(path) as part:
        np.savez(
            part,
            query=np.array(queries, dtype=np.str_),
            logit=logits,
            probability=probability.astype(np.float32),
            row_s=np.float64(row_s),
        )
