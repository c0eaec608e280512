"""What is to be made of answers, checked before anything is answered. Imports nothing that reads sound."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from amr_model.answer.exports.labels import by_recording
from clotho_long.core.errors import ConfigError
from clotho_long.core.units import Seconds
from clotho_long.core.wall_clock import ClockPattern

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer

logger = logging.getLogger(__name__)

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """What is made of answers beside what is printed; what is None is not made."""

    csv: Path | None = None  # these are files for all recordings
    raven: Path | None = None
    reaper: Path | None = None
    plot: Path | None = None
    audacity: Path | None = None  # and these are folders with files of each
    textgrid: Path | None = None
    srt: Path | None = None
    cut: Path | None = None
    pad_s: Seconds = 0.0  # around each cut
    clock: ClockPattern | None = None  # of the recordings' names

    def on_the_clock(self, answers: Sequence[Answer]) -> list[Answer]:
        """Answers that know when their recording began, if `clock` says so; else there is a note on it."""
        if self.clock is None:
            return list(answers)
        timed: list[Answer] = []
        for recording, own in by_recording(answers).items():
            began = self.clock.began(recording)
            if began is None:
                logger.warning(
                    "note: %s: its name holds no %s; its moments get no clock times",
                    recording,
                    self.clock.text,
                )
            timed += [dataclasses.replace(answer, began=began) for answer in own]
        return timed


def check_table(path: Path, option: str) -> None:
    """`check_place` for a file of text. Its suffix keeps `--csv *.wav` from replacing a recording.

    Raises:
        ConfigError: as `check_place`, or no table is called so.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise ConfigError(f"{path.name} names no table", option, f"end it in {', '.join(TABLE_SUFFIXES)}")
    check_place(path, option)


def check_place(path: Path, option: str) -> None:
    """Whether a file or folder can be written, to be asked before the work whose result goes there.

    Raises:
        ConfigError: it cannot: what lies above is a file or closed, or there is something that is no file.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ConfigError(f"{path} is a device, not a file", option, "name a file")
        above = next(place for place in (path, *path.absolute().parents) if place.exists() and place != path)
        closed = path if path.is_dir() else above
        if not closed.is_dir():
            raise ConfigError(f"{above} is a file, not a folder", option, "name another place")
        if not os.access(closed, os.W_OK | os.X_OK):
            raise ConfigError(f"{closed} cannot be written to", option, "check the permissions")
    except OSError as error:  # a name that is too long, a loop of links
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot be written ({reason})", option, "name another place") from None
