"""The contract with the trainer: what is said about a recording."""

from __future__ import annotations

from typing import NamedTuple

from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ManifestError
from clotho_long.core.units import Decibels, Seconds

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a query is answered: [onset_s, offset_s), seconds from the recording's start.

    A moment of no length is representable, since published labels may hold one; users of it drop it.
    """

    onset_s: Seconds
    offset_s: Seconds

    def __post_init__(self) -> None:
        if not 0 <= self.onset_s <= self.offset_s < float("inf"):
            window = f"[{self.onset_s:g}, {self.offset_s:g}]"
            raise ManifestError(f"window {window} ends before it starts, or starts before 0")

    @property
    def duration_s(self) -> Seconds:
        return self.offset_s - self.onset_s


class ScoredMoment(NamedTuple):
    """A predicted moment. Scores rank; what they are worth beyond that, whoever gave them says."""

    onset_s: Seconds
    offset_s: Seconds
    score: float

    @property
    def duration_s(self) -> Seconds:
        return self.offset_s - self.onset_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A sentence, the recording it is asked of, and every moment that answers it, as listed."""

    qid: str
    query: str
    recording_id: str
    duration_s: Seconds
    moments: tuple[Moment, ...]
    foreground_db: Decibels | None = (
        None  # peak of the event over the background's RMS; None for real recordings
    )
