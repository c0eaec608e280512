"""What one recording answers to one query, for people and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from amr_model.answer.run import distinct_moments
from amr_model.answer.stretches import Curve
from clotho_long.core.clock import clock
from clotho_long.core.errors import ConfigError
from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds
from clotho_long.core.wall_clock import clock_time
from clotho_long.features.recordings import readable

SCHEMA = 1  # of `Answer.to_json`: raised when a field changes its meaning or goes
DISTINCT = 0.5  # of two moments that share more of the shorter one, people get the better


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class Answer:
    """Where a recording answers a query, best first; no moment is an answer too: nothing found."""

    recording: Path
    query: str
    duration_s: Seconds
    moments: tuple[ScoredMoment, ...]
    presence: float | None = None  # probability that the recording holds it at all; None: not calibrated
    curve: Curve | None = dataclasses.field(default=None, repr=False, compare=False)  # [row] logits
    began: datetime | None = None  # when the recording began, by the wall clock; None: not known

    def to_json(self, made_by: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer as JSON-like values, with what made it; docs/evaluation.md says what each field is."""
        return {
            "schema": SCHEMA,
            "recording": str(self.recording),
            "query": self.query,
            "duration": round(self.duration_s, 3),
            "presence": self.presence,
            "moments": [
                {
                    "rank": rank,
                    "start": moment.onset_s,
                    "end": moment.offset_s,
                    "score": moment.score,
                    **({} if self.began is None else self._clock_times(self.began, moment)),
                }
                for rank, moment in enumerate(self.moments, start=1)
            ],
            **({} if made_by is None else {"made_by": dict(made_by)}),
        }

    @staticmethod
    def _clock_times(began: datetime, moment: ScoredMoment) -> dict[str, str]:
        return {
            "clock_start": clock_time(began, moment.onset_s),
            "clock_end": clock_time(began, moment.offset_s),
        }

    def to_text(self) -> str:
        """The answer for people: a heading and a line for each moment."""
        held = "" if self.presence is None else f"  (in this recording: {100 * self.presence:.0f} %)"
        lines = [f"{readable(self.recording)}: {self.query}{held}"]
        for moment in self.moments:
            when = "" if self.began is None else f"   {clock_time(self.began, moment.onset_s)}"
            lines.append(f"  {clock(moment.onset_s)} - {clock(moment.offset_s)}   {moment.score:.4f}{when}")
        if not self.moments:
            lines.append("  nothing found")
        return "\n".join(lines) + "\n"


class FoundMoment(NamedTuple):
    """A moment that answers a sentence, and the recording that holds it."""

    onset_s: Seconds
    offset_s: Seconds
    score: float
    recording: Path


def answering(
    moments: Sequence[ScoredMoment], least: float, *, limit: int | None
) -> tuple[ScoredMoment, ...]:
    """Those of the moments, best first, that people get: good enough, and no two of them the same one."""
    return distinct_moments([m for m in moments if m.score >= least], limit=limit, most=DISTINCT)


def each_query(queries: Sequence[str] | str) -> Sequence[str]:
    """The queries, checked before anything is encoded; one text is one query, not its letters.

    Raises:
        ConfigError: a query is empty, or there is none.
    """
    if isinstance(queries, str):
        queries = (queries,)
    if not queries or not all(query.strip() for query in queries):
        raise ConfigError("a query is empty", "--query", "write what you want to hear")
    return queries
