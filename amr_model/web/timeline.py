"""A recording's timeline as HTML: lanes above each other, marks on them, round times below.

One template, one style sheet: the web page and the results page of the pipelines draw with them.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import jinja2

from clotho_long.core.clock import clock, ticks
from clotho_long.core.units import Seconds

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
NARROWEST = 0.35  # per cent of the timeline that a mark is drawn with at least, to be hit by a pointer
MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png", "mp3": "audio/mpeg"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A stretch of a lane that can be clicked."""

    onset_s: Seconds
    offset_s: Seconds
    title: str
    label: str = ""  # written on it
    line: int = 0  # on which line of the lane the label stands, from the top
    strength: float = 1.0  # in [0, 1]: how dark
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)  # attributes data-NAME, for a script

    @property
    def nesting(self) -> tuple[Seconds, int]:
        """Sorts marks so that shorter ones lie on longer ones, and better ones on equal ones."""
        return (self.onset_s - self.offset_s, -self.line)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One row of a timeline."""

    name: str
    kind: Literal["picture", "truth", "answer", "curve"]
    marks: Sequence[Mark] = ()  # in the order in which they are drawn
    picture: str = ""  # address of the lane's spectrogram; without one, the style sheet's --picture is drawn
    outline: str = ""  # points of a polygon in a box of 100 x 100


def timeline(lanes: Sequence[Lane], duration_s: Seconds, *, labelled: bool, start_s: Seconds = 0.0) -> str:
    """The lanes of a recording as HTML, or of a part of it that begins at `start_s`.

    Args:
        labelled: their names stand beside them.
    """
    return (
        environment()
        .get_template("timeline.html.j2")
        .render(
            lanes=lanes,
            start_s=start_s,
            duration_s=duration_s,
            times=ticks(duration_s, start_s=start_s),
            labelled=labelled,
        )
    )


@cache
def environment(*folders: Path) -> jinja2.Environment:
    """Templates of this folder and of others; text is escaped, and a missing value is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATE_FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"clock": clock, "data_uri": data_uri, "percent_of": _percent_of, "at_least": max}
    made.globals["NARROWEST"] = NARROWEST
    return made


def data_uri(content: bytes, suffix: str) -> str:
    """A file as an address that holds it."""
    return f"data:{MEDIA_TYPES[suffix]};base64,{base64.b64encode(content).decode()}"


def outline(values: Sequence[float], edges: Sequence[float] | None = None) -> str:
    """Points of a polygon in a box of 100 x 100: seconds from left to right, high values at the top.

    Args:
        values: in [0, 1].
        edges: where each value begins, and where the last one ends, in [0, 1]; None: all are equally long.
    """
    places = [place / len(values) for place in range(len(values) + 1)] if edges is None else edges
    tops = [
        f"{100 * x:.2f},{100 - 100 * value:.1f}"
        for value, *sides in zip(values, places[:-1], places[1:], strict=True)
        for x in sides
    ]
    return " ".join(["0,100", *tops, "100,100"])


def _percent_of(value: float, whole: float) -> float:
    return 100 * value / whole
