"""Prediction files: the Lighthouse lines that `amr` writes and that the DCASE 2026 Task 6 organisers read.

A line is `{"qid", "query", "vid", "pred_relevant_windows": [[onset, offset, score], ...]}`,
best moment first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ManifestError
from clotho_long.core.jsonl import read_by_qid, write_lines
from clotho_long.core.records import ScoredMoment
from clotho_long.core.settings import shown

MAX_RANKED = 10  # windows that the metrics look at and that a submission may hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model answers to one query: scored moments, best first."""

    qid: str
    query: str
    recording_id: str
    moments: tuple[ScoredMoment, ...]


def read_predictions(path: Path | str) -> list[Prediction]:
    """Every prediction of a file in the Lighthouse format, made by us or by others.

    Raises:
        ManifestError: a line is malformed, a window is reversed or not finite, a qid occurs twice, or none.
    """
    return read_by_qid(path, _from_json, of="prediction")


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> int:
    """Write predictions in the Lighthouse format, atomically. Returns the count."""
    return write_lines(
        path,
        (
            {
                "qid": p.qid,
                "query": p.query,
                "vid": p.recording_id,
                "pred_relevant_windows": [list(window) for window in p.moments],
            }
            for p in predictions
        ),
    )


def _from_json(value: Any) -> Prediction:
    if not isinstance(value, dict):
        raise ManifestError(f"{shown(value)} is not a JSON object", fix="write {...} with a prediction")
    try:
        windows = tuple(
            ScoredMoment(float(onset_s), float(offset_s), float(score))
            for onset_s, offset_s, score in value["pred_relevant_windows"]
        )
        prediction = Prediction(
            qid=str(value["qid"]),
            query=str(value.get("query", "")),
            recording_id=str(value.get("vid", "")),
            moments=windows,
        )
    except KeyError as error:
        raise ManifestError(f"field {error.args[0]} is missing", fix="add it") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ManifestError(f"not a prediction ({error})", fix="windows are [onset, offset, score]") from None
    for onset_s, offset_s, score in windows:
        if not (math.isfinite(onset_s) and math.isfinite(offset_s) and math.isfinite(score)):
            raise ManifestError("a window holds a number that is not finite", fix="correct the line")
        if offset_s < onset_s:
            raise ManifestError(
                f"window [{onset_s:g}, {offset_s:g}] ends before it starts", fix="correct the line"
            )
    return prediction
