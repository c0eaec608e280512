"""Small made-up queries, predictions and features for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clotho_long.core.predictions import Prediction
from clotho_long.core.records import Moment, Query
from clotho_long.features.files import AUDIO_KEY, TEXT_KEY, audio_file, text_file

GOLDEN = Path(__file__).parent / "golden" / "lighthouse"
CASTELLA = Path(__file__).parent / "golden" / "castella"


def make_query(
    qid: str = "q1",
    moments: Iterable[Sequence[float]] = ((2.0, 5.0),),
    *,
    query: str = "a dog barks",
    recording_id: str = "r1",
    duration_s: float = 20.0,
) -> Query:
    return Query(
        qid=qid,
        query=query,
        recording_id=recording_id,
        duration_s=duration_s,
        moments=tuple(Moment(onset_s=onset, offset_s=offset) for onset, offset in moments),
    )


def make_prediction(qid: str = "q1", windows: Iterable[Sequence[float]] = ((2.0, 5.0, 0.9),)) -> Prediction:
    return Prediction(
        qid=qid, query="a dog barks", recording_id="r1", moments=tuple((a, b, s) for a, b, s in windows)
    )


def make_features(num_rows: int, dim: int = 6, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num_rows, dim)).astype(np.float32)


def write_jsonl(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def annotation(qid: str = "q1", **changes: Any) -> dict[str, Any]:
    """One line of an annotation file."""
    line = {"qid": qid, "query": "a dog barks", "vid": "r1", "duration": 20, "relevant_windows": [[2, 5]]}
    return {**line, **changes}


def write_corpus(
    folder: Path,
    lines: Sequence[dict[str, Any]],
    *,
    dim: int = 6,
    num_rows: dict[str, int] | None = None,
    num_tokens: int = 4,
) -> tuple[Path, Path]:
    """An annotation file and a feature folder in the Lighthouse layout, as others publish them."""
    features = folder / "features"
    rows = {line["vid"]: int(line["duration"]) for line in lines} | (num_rows or {})
    for place, (recording_id, count) in enumerate(rows.items()):
        path = audio_file(features, recording_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{AUDIO_KEY: make_features(count, dim, seed=place)})
    for place, line in enumerate(lines):
        path = text_file(features, line["qid"])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{TEXT_KEY: make_features(num_tokens, dim, seed=100 + place)})
    return write_jsonl(folder / "text" / "train.jsonl", lines), features
