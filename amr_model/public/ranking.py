"""Ranked moments as Lighthouse d095eaa writes them, digit for digit.

After its `training/evaluate.py` and `postprocessing.py` (Apache-2.0).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds


def rank_as_lighthouse(
    moments: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float64],
    end_s: Seconds,
    row_s: Seconds,
    num_moments: int | None,
) -> tuple[ScoredMoment, ...]:
    """The scored moments of one item, best first: decimals by formatting, then clipping, then rounding.

    Args:
        moments: [query, 2] onset and offset in seconds.
        scores: [query].
        end_s: where the timeline ends.
        num_moments: how many are listed; None: all.
    """
    order = np.argsort(-scores, kind="stable")
    rows = [[float(f"{value:.4f}") for value in (*moments[i].tolist(), scores[i])] for i in order]
    bounds = np.clip(np.array(rows, dtype=np.float32)[:, :2], 0, end_s)
    rounded = np.rint(bounds / np.float32(row_s)) * np.float32(row_s)
    return tuple(
        ScoredMoment(float(onset), float(offset), float(f"{np.float32(row[2]):.4f}"))
        for (onset, offset), row in zip(rounded, rows, strict=True)
    )[:num_moments]
