"""`--textgrid`: a TextGrid for each recording, in Praat's long text format.

A tier holds the moments of one query, with their scores as labels. The intervals of a tier may not overlap:
a moment that overlaps an earlier one goes into the query's next tier, `a dog barks (2)`, and none is merged.
The format is written here rather than by a library: it is a page of code, and Praat's manual defines it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from amr_model.answer.exports.labels import heard_in_order
from clotho_long.core.records import ScoredMoment
from clotho_long.core.texts import one_line
from clotho_long.core.units import Seconds

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer

SUFFIX = ".TextGrid"
DECIMALS = 6  # of a second; a moment that is shorter than that has no interval

Interval = tuple[Seconds, Seconds, str]  # onset, offset, label


def text_grid(answers: Sequence[Answer]) -> str:
    """The moments of one recording's answers. A moment that passes the recording's end ends there."""
    end_s = round(answers[0].duration_s, DECIMALS)
    tiers: dict[str, list[Interval]] = {}
    for query in dict.fromkeys(one_line(answer.query) for answer in answers):
        own = [answer for answer in answers if one_line(answer.query) == query]
        for tier in _without_overlaps([moment for _, moment in heard_in_order(own)], end_s):
            tiers[_new_name(query, tiers)] = tier
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0 ",
        f"xmax = {_number(end_s)} ",
        "tiers? <exists> ",
        f"size = {len(tiers)} ",
        "item []: ",
    ]
    for place, (name, tier) in enumerate(tiers.items(), start=1):
        lines += _tier(place, name, list(_filled(tier, end_s)), end_s)
    return "\n".join(lines) + "\n"


def _without_overlaps(moments: Sequence[ScoredMoment], end_s: Seconds) -> list[list[Interval]]:
    """Moments in order of onset as tiers, as few as there can be; one at least, which may be empty."""
    tiers: list[list[Interval]] = [[]]
    for moment in moments:
        onset_s, offset_s = (min(round(edge, DECIMALS), end_s) for edge in moment[:2])
        if onset_s == offset_s:
            continue
        free = next((tier for tier in tiers if not tier or tier[-1][1] <= onset_s), None)
        if free is None:
            tiers.append(free := [])
        free.append((onset_s, offset_s, f"{moment.score:.2f}"))
    return tiers


def _filled(tier: Sequence[Interval], end_s: Seconds) -> Iterator[Interval]:
    """The intervals of a tier and the empty ones between them: together they are the whole recording."""
    reached_s = 0.0
    for onset_s, offset_s, text in tier:
        if onset_s > reached_s:
            yield reached_s, onset_s, ""
        yield onset_s, offset_s, text
        reached_s = offset_s
    if reached_s < end_s:
        yield reached_s, end_s, ""


def _tier(place: int, name: str, intervals: Sequence[Interval], end_s: Seconds) -> list[str]:
    lines = [
        f"    item [{place}]:",
        '        class = "IntervalTier" ',
        f"        name = {_quoted(name)} ",
        "        xmin = 0 ",
        f"        xmax = {_number(end_s)} ",
        f"        intervals: size = {len(intervals)} ",
    ]
    for number, (onset_s, offset_s, text) in enumerate(intervals, start=1):
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {_number(onset_s)} ",
            f"            xmax = {_number(offset_s)} ",
            f"            text = {_quoted(text)} ",
        ]
    return lines


def _new_name(query: str, taken: dict[str, list[Interval]]) -> str:
    name, number = query, 1
    while name in taken:
        number += 1
        name = f"{query} ({number})"
    return name


def _number(time_s: Seconds) -> str:
    """Always with the same digits: equal times must be equal texts, and never an exponent."""
    return f"{time_s:.{DECIMALS}f}"


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
