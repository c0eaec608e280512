"""Texts as other programs can take them, and moments in the order in which they are heard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds

if TYPE_CHECKING:
    from amr_model.answer.retriever import Answer

# Tabs, line breaks and other controls, also those of Unicode that separate lines and paragraphs.
BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
NO_TEXT = "?"
FORMULA = ("=", "+", "-", "@")  # what a cell begins with that a spreadsheet would compute


def one_line(text: str) -> str:
    """A text as one line of Unicode: controls and line breaks become a space, what is no text becomes `?`.

    Never empty: a text of nothing else is `?`.
    """
    unicode = text.encode("utf-8", "replace").decode()  # names of files need not be UTF-8
    return BREAKING.sub(" ", unicode).strip() or NO_TEXT


def cell(text: str) -> str:
    """`one_line` for a table that a spreadsheet may open: what it would compute has a `'` before it."""
    line = one_line(text)
    return f"'{line}" if line.startswith(FORMULA) else line


def label(query: str, score: float) -> str:
    """What stands beside a moment for people: `a dog barks (0.83)`."""
    return f"{one_line(query)} ({score:.2f})"


def heard_in_order(answers: Iterable[Answer]) -> list[tuple[str, ScoredMoment]]:
    """(query, moment) of all answers for one recording, by onset."""
    found = [(answer.query, moment) for answer in answers for moment in answer.windows]
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
