"""`--srt`: subtitles for each recording, as players show them over a video of the same name.

The format has no published standard: numbered cues with `HH:MM:SS,mmm --> HH:MM:SS,mmm`, a text, an empty
line. Cues may overlap; players then show both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from amr_model.answer.exports.labels import heard_in_order, label
from clotho_long.core.clock import clock_fields
from clotho_long.core.units import Seconds

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer

SUFFIX = ".srt"
ARROW, HARMLESS_ARROW = "-->", "->"  # readers may take a text with an arrow for the times of a cue


def subtitles(answers: Sequence[Answer]) -> str:
    """The moments of one recording's answers as cues, in the order in which they are heard."""
    cues = []
    for number, (query, moment) in enumerate(heard_in_order(answers), start=1):
        times = f"{_time(moment.onset_s)} {ARROW} {_time(moment.offset_s)}"
        cues.append(f"{number}\n{times}\n{_text(query, moment.score)}\n\n")
    return "".join(cues)


def _text(query: str, score: float) -> str:
    text = label(query, score)
    while ARROW in text:  # taking one out can leave another: --->
        text = text.replace(ARROW, HARMLESS_ARROW)
    return text


def _time(time_s: Seconds) -> str:
    hours, minutes, seconds, milliseconds = clock_fields(round(1000 * time_s))
    return f"{hours:02d}:{minutes:02d}:{seconds:02d},{milliseconds:03d}"
