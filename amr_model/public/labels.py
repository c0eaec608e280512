"""Labels that the public networks learn from, where they are not what was annotated (Lighthouse d095eaa)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def truncated_span_labels(span_cxw: npt.NDArray[np.float32], num_rows: int) -> npt.NDArray[np.bool_]:
    """Similarity labels [row]: a span [2] back from float32 to rows, truncated, its end excluded.

    Whole seconds come back just below themselves (second 2 of 300 as 1.9999999) and shift by a row.
    """
    centre, half = span_cxw[0], np.float32(0.5) * span_cxw[1]
    start, end = (int(edge * np.float32(num_rows)) for edge in (centre - half, centre + half))
    labels = np.zeros(num_rows, dtype=bool)
    labels[start:end] = True
    return labels
