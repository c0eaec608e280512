"""What a set was read from, by content: two sets of equal fingerprints train and score alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clotho_long.core.files import fingerprint
from clotho_long.core.records import Query

if TYPE_CHECKING:
    from amr_model.data.rows import Rows  # loads torch, which whoever compares two runs need not have

SAMPLED_ROWS = 16  # every so many rows of an item are read: whoever makes features anew changes all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One annotation file with the features of its recordings and queries."""

    annotations: str = ""  # where they lay; where does not matter to what a set is
    features: str = ""
    queries_fingerprint: str
    features_fingerprint: str
    made_by: dict[str, Any] = field(default_factory=dict)  # encoder and windows, where the files say so
    weight: float = 1.0  # how often each query is drawn in an epoch


def fingerprint_queries(queries: Sequence[Query]) -> str:
    """Of what is asked of which recording, and where it is answered; not of how a file spells it."""
    return fingerprint(
        [
            [
                q.qid,
                q.query,
                q.recording_id,
                float(q.duration_s),
                *((m.onset_s, m.offset_s) for m in q.moments),
            ]
            for q in queries
        ]
    )


def fingerprint_rows(audio: Rows, recordings: Iterable[str], text: Rows, qids: Iterable[str]) -> str:
    """Of the features' shapes and values, of which every sixteenth row and the last of each item are read."""
    digest = hashlib.sha256()
    for kind, rows, items in (("audio", audio, recordings), ("text", text, qids)):
        for item in sorted(set(items)):
            values = rows[item]
            digest.update(f"{kind}\x1f{item}\x1f{values.shape}\x1f".encode())
            for part in (values[::SAMPLED_ROWS], values[-1:]):
                digest.update(np.ascontiguousarray(part, dtype="<f4").tobytes())
    return digest.hexdigest()[:16]
