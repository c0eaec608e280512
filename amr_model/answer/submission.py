"""What the organisers of DCASE 2026 Task 6 accept as a submission."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from clotho_long.core.errors import ManifestError
from clotho_long.core.predictions import MAX_RANKED, Prediction
from clotho_long.core.records import Query


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
    windows = prediction.moments
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


def _some(qids: Sequence[str]) -> str:
    """A few of the qids and how many there are."""
    shown = ", ".join(qids[:3]) + (", ..." if len(qids) > 3 else "")
    return f"{len(qids)} {'query is' if len(qids) == 1 else 'queries are'} ({shown})"
