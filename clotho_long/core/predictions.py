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
from clotho_long.core.jsonl import read_lines, write_lines
from clotho_long.core.records import ScoredMoment
from clotho_long.core.settings import shown

RankedWindow = ScoredMoment  # its name until now

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
    predictions: list[Prediction] = []
    seen: dict[str, str] = {}
    for where, value in read_lines(path):
        prediction = _from_json(value, where)
        if prediction.qid in seen:
            raise ManifestError(
                f"qid {prediction.qid} is predicted a second time (first in {seen[prediction.qid]})",
                where,
                "keep one line for each query",
            )
        seen[prediction.qid] = where
        predictions.append(prediction)
    if not predictions:
        raise ManifestError("holds no prediction", path, "check that it is the file that you mean")
    return predictions


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


def _from_json(value: Any, where: str) -> Prediction:
    if not isinstance(value, dict):
        raise ManifestError(f"{shown(value)} is not a JSON object", where, "write {...} with a prediction")
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
        raise ManifestError(f"field {error.args[0]} is missing", where, "add it") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ManifestError(
            f"not a prediction ({error})", where, "windows are [onset, offset, score]"
        ) from None
    for onset_s, offset_s, score in windows:
        if not (math.isfinite(onset_s) and math.isfinite(offset_s) and math.isfinite(score)):
            raise ManifestError("a window holds a number that is not finite", where, "correct the line")
        if offset_s < onset_s:
            raise ManifestError(
                f"window [{onset_s:g}, {offset_s:g}] ends before it starts", where, "correct the line"
            )
    return prediction
