"""Which queries to learn from how often, so that moments are as long as where the model will be asked.

A corpus of long moments teaches little about short ones. Each query gets the weight
(share of its length in the target / share in the source) ** power. With power 1 the source would be sampled
as the target is, with few queries repeated very often; 0.5 goes half of the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clotho_long.core.errors import ConfigError
from clotho_long.core.records import Query
from clotho_long.core.units import Seconds

POWER = 0.5
# Bins of about equal width in the logarithm, (low, high]; whole seconds, as people mark moments.
BIN_ENDS_S: tuple[Seconds, ...] = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, float("inf"))

Floats = npt.NDArray[np.float64]


def length_weights(
    queries: Sequence[Query],
    target_lengths_s: Sequence[Seconds],
    *,
    target_counts: Sequence[int] | None = None,
    power: float = POWER,
) -> Floats:
    """[query] how often to draw each query, 1 in the mean.

    A query counts by the median of its moments' lengths; one without a moment has weight 1 before all weights
    are divided by their mean. The share of a bin is over queries in the source, over lengths in the target.

    Args:
        target_lengths_s: lengths of moments where the model will be asked, such as those of CASTELLA.
        target_counts: how often each of them occurs; once each if not given.
        power: 0 weighs all queries alike, 1 gives the target's shares.

    Raises:
        ConfigError: `power` is not in [0, 1], or the target has no length.
    """
    if not 0 <= power <= 1:
        raise ConfigError(f"power {power:g} is not in [0, 1]", "length_weights")
    counts = np.ones(len(target_lengths_s)) if target_counts is None else np.asarray(target_counts)
    if len(target_lengths_s) == 0 or counts.sum() <= 0:
        raise ConfigError("the target has no moments", "length_weights", "give the lengths of its moments")
    num_bins = len(BIN_ENDS_S)
    target = np.bincount(_bins(target_lengths_s), weights=counts, minlength=num_bins) / counts.sum()
    asked = [place for place, query in enumerate(queries) if query.moments]
    weights = np.ones(len(queries))
    if asked:
        bins = _bins([float(np.median([m.duration_s for m in queries[place].moments])) for place in asked])
        source = np.bincount(bins, minlength=num_bins) / len(asked)
        weights[asked] = (target[bins] / source[bins]) ** power
    mean = weights.mean() if len(weights) else 1.0
    # no query is as long as anything in the target: nothing to prefer
    result: Floats = weights / mean if mean > 0 else np.ones(len(queries))
    return result


def _bins(lengths_s: Sequence[Seconds]) -> npt.NDArray[np.int64]:
    """[length] the bin of BIN_ENDS_S that holds each."""
    return np.searchsorted(np.asarray(BIN_ENDS_S), np.asarray(lengths_s, dtype=np.float64), side="left")
