"""How well a number tells two kinds apart. Shared by calibration and reports."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def area_under_roc(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Probability that a positive one scores above a negative one, ties counting half.

    Chance is 0.5; NaN if there are no positive or no negative ones.
    """
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if num_positive == 0 or num_negative == 0:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # equal scores share their mean rank
    total = rank[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(total / (num_positive * num_negative))
