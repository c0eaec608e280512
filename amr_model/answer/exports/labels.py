"""What several formats share: the label of a moment, and the order of moments and recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clotho_long.core.records import ScoredMoment
from clotho_long.core.texts import one_line
from clotho_long.core.units import Seconds

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer


def label(query: str, score: float) -> str:
    """What stands beside a moment for people: `a dog barks (0.83)`."""
    return f"{one_line(query)} ({score:.2f})"


def heard_in_order(answers: Iterable[Answer]) -> list[tuple[str, ScoredMoment]]:
    """(query, moment) of all answers for one recording, by onset."""
    found = [(answer.query, moment) for answer in answers for moment in answer.moments]
    return sorted(found, key=lambda pair: (pair[1].onset_s, pair[1].offset_s, pair[0]))


def by_recording(answers: Iterable[Answer]) -> dict[Path, list[Answer]]:
    """The answers for each recording, in the order in which recordings were answered."""
    grouped: dict[Path, list[Answer]] = {}
    for answer in answers:
        grouped.setdefault(answer.recording, []).append(answer)
    return grouped


def end_to_end(answers: Sequence[Answer]) -> Iterator[tuple[Seconds, Path, list[Answer]]]:
    """(start, recording, its answers) on one time axis: each recording begins where the last one ended."""
    start_s: Seconds = 0.0
    for recording, own in by_recording(answers).items():
        yield start_s, recording, own
        start_s += own[0].duration_s
