"""The contract with the trainer: what is said about a recording."""

from __future__ import annotations

import math
from typing import NamedTuple

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ManifestError
from clotho_long.core.units import Decibels, Seconds

SPLITS = ("train", "valid", "test")
LONGEST_S: Seconds = 1e9  # thirty years: whatever says more is no duration
FINITE = ConfigDict(allow_inf_nan=False)


def check_id(text: str, what: str) -> None:
    """Ids become the names of files, so they must not lead elsewhere or hide the file.

    Args:
        what: what the id is of, for the message.

    Raises:
        ManifestError: the id is empty, begins with a dot, or holds a path separator, a line break or a NUL.
    """
    if not text or text[0] == "." or any(character in "/\\\0\n\r" for character in text):
        raise ManifestError(
            f"{what} {text!r} cannot name a file", fix="take out slashes, line breaks and leading dots"
        )


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


@dataclass(frozen=True, slots=True, kw_only=True, config=FINITE)
class Query:
    """A sentence, the recording it is asked of, and every moment that answers it, as listed."""

    qid: str
    query: str
    recording_id: str
    duration_s: Seconds
    moments: tuple[Moment, ...]
    # peak of the event over the background's RMS; None for real recordings
    foreground_db: Decibels | None = None

    def __post_init__(self) -> None:
        check_id(self.qid, "qid")
        check_id(self.recording_id, "recording")
        if not 0 < self.duration_s <= LONGEST_S:
            problem = "positive" if self.duration_s <= 0 else f"a number of seconds up to {LONGEST_S:g}"
            raise ManifestError(f"duration {self.duration_s:g} s is not {problem}")
        if self.foreground_db is not None and not math.isfinite(self.foreground_db):
            raise ManifestError(f"foreground_db {self.foreground_db:g} is not finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A text to encode, and the id of what it is encoded for."""

    qid: str
    query: str
