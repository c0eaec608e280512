"""Prediction files: the Lighthouse lines that `amr` writes and that the DCASE 2026 Task 6 organisers read.

A line is `{"qid", "query", "vid", "pred_relevant_windows": [[onset, offset, score], ...]}`,
best window first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ManifestError
from clotho_long.core.manifest import read_lines, write_lines
from clotho_long.core.records import Query

RankedWindow: TypeAlias = tuple[float, float, float]  # onset_s, offset_s, score

MAX_RANKED = 10  # windows that the metrics look at and that a submission may hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model answers to one query: windows in seconds with their scores, best first."""

    qid: str
    query: str
    recording_id: str
    windows: tuple[RankedWindow, ...]


def read_predictions(path: Path) -> list[Prediction]:
    """Every prediction of a file in the Lighthouse format, made by us or by others.

    Raises:
        ManifestError: a line is malformed, a window is reversed or not finite, or a qid occurs twice.
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
                "pred_relevant_windows": [list(window) for window in p.windows],
            }
            for p in predictions
        ),
    )


def check_submission(predictions: Sequence[Prediction], queries: Sequence[Query]) -> None:
    """Refuse a submission that the organisers could not score as meant.

    Every query is answered once, for its own recording, by one to ten windows inside the recording,
    none empty, in order of score.

    Raises:
        ManifestError: the first rule that is broken, with the qid.
    """
    expected = {query.qid: query for query in queries}
    answered = Counter(prediction.qid for prediction in predictions)
    if repeated := sorted(qid for qid, count in answered.items() if count > 1):
        raise ManifestError(f"{_some(repeated)} answered more than once", "submission", "keep one line each")
    if unknown := sorted(set(answered) - set(expected)):
        raise ManifestError(
            f"{_some(unknown)} not among the annotations", "submission", "check --annotations"
        )
    if missing := sorted(set(expected) - set(answered)):
        raise ManifestError(f"{_some(missing)} without an answer", "submission", "predict every query")
    for prediction in predictions:
        _check_windows(prediction, expected[prediction.qid])


def _check_windows(prediction: Prediction, query: Query) -> None:
    where = f"submission, qid {prediction.qid}"
    windows = prediction.windows
    if prediction.recording_id != query.recording_id:
        raise ManifestError(f"answers for {prediction.recording_id}, not {query.recording_id}", where)
    if not 1 <= len(windows) <= MAX_RANKED:
        raise ManifestError(f"holds {len(windows)} windows", where, f"give 1 to {MAX_RANKED}")
    for onset_s, offset_s, _ in windows:
        if not 0 <= onset_s < offset_s <= query.duration_s:
            raise ManifestError(
                f"window [{onset_s:g}, {offset_s:g}] is empty or not inside [0, {query.duration_s:g}]",
                where,
                "clip predictions to the recording (the default post-processing does)",
            )
    scores = [score for _, _, score in windows]
    if scores != sorted(scores, reverse=True):
        raise ManifestError("windows are not in order of score", where, "sort them, best first")


def _from_json(value: Any, where: str) -> Prediction:
    try:
        windows = tuple(
            (float(onset_s), float(offset_s), float(score))
            for onset_s, offset_s, score in value["pred_relevant_windows"]
        )
        prediction = Prediction(
            qid=str(value["qid"]),
            query=str(value.get("query", "")),
            recording_id=str(value.get("vid", "")),
            windows=windows,
        )
    except KeyError as error:
        raise ManifestError(f"field {error.args[0]} is missing", where, "add it") from None
    except (TypeError, ValueError, AttributeError) as error:
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


def _some(qids: Sequence[str]) -> str:
    """A few of the qids and how many there are."""
    shown = ", ".join(qids[:3]) + (", ..." if len(qids) > 3 else "")
    return f"{len(qids)} {'query is' if len(qids) == 1 else 'queries are'} ({shown})"
