"""Recordings put end to end, and how well whoever answers finds moments in the whole.

What a query asks for is easy to find in a recording of a minute that is known to hold it; in an hour of
others, only an answer whose scores mean the same everywhere comes first. The truth of the whole follows from
that of its parts: captions that stand twice in it are left out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydantic.dataclasses import dataclass

from clotho_long.core.records import Moment, Query, ScoredMoment
from clotho_long.core.seeds import generator
from clotho_long.core.units import Seconds
from clotho_long.features.files import Features

SAME_EDGES_S = 1.0  # both edges at most so far apart: the same answer

Floats = npt.NDArray[np.float64]


class Answerer(Protocol):
    """Whoever answers queries in a recording of any length."""

    @property
    def min_score(self) -> float | None:
        """The score from which on it calls a moment an answer; None if its scores have no such meaning."""
        ...

    def __call__(self, rows: Features, duration_s: Seconds, text: Features) -> Answer:
        """The moments of one recording, [row, dim], that answer a query, [token, dim]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found: moments best first, and how sure it is that the recording holds the query at all."""

    moments: tuple[ScoredMoment, ...]
    presence: float  # comparable over recordings and queries; the best score where nothing better is known


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedRecording:
    """Some recordings end to end, with what is asked of the whole."""

    parts: tuple[str, ...]  # recordings in order
    duration_s: Seconds
    present: tuple[Query, ...]  # with moments in the whole's time; each caption stands in one part only
    absent: tuple[Query, ...]  # of other recordings, without moments


def join_recordings(
    queries: Sequence[Query],
    num_rows: Mapping[str, int],
    length_s: Seconds,
    *,
    row_s: Seconds = 1.0,
    seed: int = 0,
) -> Iterator[JoinedRecording]:
    """Put recordings end to end, in random order, until each whole has `length_s`; the rest is left out.

    Each whole is asked for as many absent captions as it has present ones, drawn from all others.

    Args:
        num_rows: rows of each recording's features; a part is as long as they are.
    """
    asked: dict[str, list[Query]] = {}
    for query in queries:
        asked.setdefault(query.recording_id, []).append(query)
    order = sorted(asked)
    generator(seed, "joined", f"{length_s:g}").shuffle(order)
    parts: list[str] = []
    for recording_id in order:
        parts.append(recording_id)
        duration_s = sum(num_rows[part] for part in parts) * row_s
        if duration_s >= length_s:
            present = tuple(_present(parts, asked, num_rows, row_s, duration_s))
            yield JoinedRecording(
                parts=tuple(parts),
                duration_s=duration_s,
                present=present,
                absent=_absent(parts, queries, len(present), duration_s, seed),
            )
            parts = []


def _present(
    parts: Sequence[str],
    asked: Mapping[str, Sequence[Query]],
    num_rows: Mapping[str, int],
    row_s: Seconds,
    duration_s: Seconds,
) -> Iterator[Query]:
    """The queries of the parts whose caption no other query of them has, in the whole's time."""
    times = Counter(_caption(query) for part in parts for query in asked[part])
    start_s = 0.0
    for part in parts:
        end_s = start_s + num_rows[part] * row_s
        for query in asked[part]:
            moments = tuple(
                Moment(onset_s=start_s + moment.onset_s, offset_s=min(start_s + moment.offset_s, end_s))
                for moment in query.moments
                if start_s + moment.onset_s < end_s
            )
            if moments and times[_caption(query)] == 1:
                yield dataclasses.replace(query, moments=moments, duration_s=duration_s)
        start_s = end_s


def _absent(
    parts: Sequence[str], queries: Sequence[Query], count: int, duration_s: Seconds, seed: int
) -> tuple[Query, ...]:
    here = {_caption(query) for query in queries if query.recording_id in parts}
    others = {_caption(query): query for query in queries if _caption(query) not in here}
    names = sorted(others)
    generator(seed, "absent", *parts).shuffle(names)
    return tuple(
        dataclasses.replace(others[name], moments=(), duration_s=duration_s) for name in names[:count]
    )


def found_again(whole: Answer, shortened: Answer, cut_s: Seconds) -> bool | None:
    """Whether the first answer is one again after the first `cut_s` were cut off; None if they hold it."""
    if not whole.moments or whole.moments[0][0] < cut_s:
        return None
    if not shortened.moments:
        return False
    onset_s, offset_s, _ = whole.moments[0]
    again_onset_s, again_offset_s, _ = shortened.moments[0]
    return max(abs(again_onset_s + cut_s - onset_s), abs(again_offset_s + cut_s - offset_s)) <= SAME_EDGES_S


def area_under_roc(present: Sequence[float], absent: Sequence[float]) -> float:
    """The probability that a recording which holds its query is ranked above one that does not.

    Both sides must hold something. Equal values count half.
    """
    high, low = np.asarray(present)[:, None], np.asarray(absent)[None, :]
    return float(np.mean((high > low) + 0.5 * (high == low)))


def is_false(moment: ScoredMoment, truth: Sequence[Moment]) -> bool:
    """Whether an answer touches no true moment."""
    return all(moment[1] <= true.onset_s or moment[0] >= true.offset_s for true in truth)


def _caption(query: Query) -> str:
    return query.query.strip().lower()
