"""What both simulations take from the labels: words, cuts, and when an event sounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from clotho_long.core.records import Moment, Query
from clotho_long.core.units import Seconds
from clotho_long.features.files import Features

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

LONGEST_S = 300  # longer recordings are cut by every system of the report
QUIET_WORD_WEIGHT = 0.1  # of a word that says nothing about the sound, against 1
QUIET_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "by", "from", "in", "is", "it", "of", "on", "or", "some", "that"}
    | {"the", "then", "to", "while", "with"}
)


class Simulator(Protocol):
    """Features for queries and recordings; they depend on the settings, not on the order of asking."""

    def tokens(self, query: Query) -> Features:
        """[token, dim] states of a query's words."""
        ...

    def recording(self, queries: Sequence[Query], pool: Sequence[Query]) -> Features:
        """[second, dim] of the recording that `queries` ask of; events of `pool` are heard in it as well."""
        ...


def words_of(caption: str) -> list[str]:
    """The words of a caption, without marks and capitals; a caption without any has the word `-`."""
    return [word.strip(".,!?'\"").lower() or "-" for word in caption.split()] or ["-"]


def weights_of(words: Sequence[str]) -> list[float]:
    """How much each word says about the sound."""
    return [QUIET_WORD_WEIGHT if word in QUIET_WORDS else 1.0 for word in words]


def unit(vector: Vector) -> Vector:
    """The vector at length 1."""
    return vector / np.linalg.norm(vector)


def sounding(num_rows: int, onset_s: Seconds, offset_s: Seconds, blur_s: Seconds) -> Vector:
    """[second] how much of each second an event fills, with ramps of `blur_s` around both edges."""
    middle = np.arange(num_rows) + 0.5
    ramp: Vector = np.clip(np.minimum(middle - onset_s, offset_s - middle) / blur_s + 0.5, 0, 1)
    return ramp


def cropped(queries: Sequence[Query], crop_s: Seconds | None) -> list[Query]:
    """What lies before `crop_s` of queries' recordings and moments; left out where no moment does."""
    if crop_s is None:
        return list(queries)
    kept = []
    for query in queries:
        moments = tuple(
            Moment(onset_s=moment.onset_s, offset_s=min(moment.offset_s, crop_s))
            for moment in query.moments
            if moment.onset_s < crop_s
        )
        if moments:
            duration_s = min(query.duration_s, crop_s)
            kept.append(dataclasses.replace(query, duration_s=duration_s, moments=moments))
    return kept
