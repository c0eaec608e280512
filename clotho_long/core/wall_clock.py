"""When a recording began, read off its name, as recorders write it: `SITE_20240131_060000.wav`."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime, timedelta
from pathlib import Path

from clotho_long.core.errors import ConfigError
from clotho_long.core.units import Seconds

# What stands in a name for each directive. strptime itself also takes one digit where two are meant, and
# would then find a date in any long number.
DIRECTIVES = {
    "Y": "[0-9]{4}",
    **dict.fromkeys("ymdHIMS", "[0-9]{2}"),
    "j": "[0-9]{3}",
    "f": "[0-9]{1,6}",
    **dict.fromkeys("bB", r"[^\W\d_]+"),
    "p": "[AaPp][Mm]",
    "z": "(?:Z|[+-][0-9]{2}:?[0-9]{2})",
    "%": "%",
}
PER_CENT = re.compile("%(.?)", re.DOTALL)
NOT_IN_A_NUMBER = r"(?<![0-9])(?=({}))(?!\1[0-9])"
LAST_YEAR = 9900  # of a recorder; a moment of it must still have a date


@dataclasses.dataclass(frozen=True, slots=True)
class ClockPattern:
    """A pattern of `strptime`, found anywhere in the stem of a file's name."""

    text: str

    def __post_init__(self) -> None:
        named = PER_CENT.findall(self.text)
        if unknown := next((letter for letter in named if letter not in DIRECTIVES), None):
            raise ConfigError(f"%{unknown} is not read", "--clock", f"use {_listed()}")
        if "" in named:
            raise ConfigError("ends in a single %", "--clock", "write %% for a per cent sign")
        given = set(named)
        if len(given - {"%"}) < sum(letter != "%" for letter in named):
            raise ConfigError(f"{self.text!r} names a part twice", "--clock", "name each part once")
        day = "j" in given or ({"m", "b", "B"} & given and "d" in given)
        hour = "H" in given or {"I", "p"} <= given
        if not ({"Y", "y"} & given and day and hour):
            raise ConfigError(
                f"{self.text!r} does not say when a recording began",
                "--clock",
                "name year, month, day and hour at least, such as %Y%m%d_%H%M%S",
            )

    def began(self, recording: Path) -> datetime | None:
        """When a recording began, by its name; None if the name does not say.

        The first place counts that is a date, which must not lie within a longer number.
        """
        for match in self._regex().finditer(recording.stem):
            try:
                found = datetime.strptime(match[1], self.text)
            except ValueError:  # the thirteenth month: look further on
                continue
            if found.year < LAST_YEAR:
                return found
        return None

    def _regex(self) -> re.Pattern[str]:
        parts = re.split("(%.)", self.text, flags=re.DOTALL)
        shape = "".join(DIRECTIVES[p[1]] if p[:1] == "%" else re.escape(p) for p in parts)
        return re.compile(NOT_IN_A_NUMBER.format(shape))


def clock_time(began: datetime, time_s: Seconds) -> str:
    """The wall-clock time of a place in a recording: ISO 8601, milliseconds, a zone if the name has one."""
    return (began + timedelta(seconds=time_s)).isoformat(timespec="milliseconds")


def _listed() -> str:
    return ", ".join(f"%{letter}" for letter in DIRECTIVES)
