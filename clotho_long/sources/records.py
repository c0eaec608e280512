"""What a source file holds, as measured by `scan`."""

from __future__ import annotations

import os
import unicodedata

from pydantic.dataclasses import dataclass

from clotho_long.core.units import Hertz, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreground:
    """An event: a captioned Clotho file and the part of it that sounds, [onset_s, onset_s + duration_s)."""

    event_id: str  # the file's name without its suffix
    split: str
    file: str  # relative to the Clotho folder
    fingerprint: str
    sample_rate_hz: Hertz
    num_channels: int
    length_s: Seconds  # of the whole file
    onset_s: int
    duration_s: int  # whole seconds, by the trimming rule
    captions: tuple[str, ...]  # as the csv lists them; one may be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """A tour: one long recording that clips are cut from."""

    background_id: str  # the file's name without its suffix
    split: str
    file: str  # relative to the Walking Tours folder
    fingerprint: str
    sample_rate_hz: Hertz
    num_channels: int
    length_s: Seconds
    # where it is digital silence for long, in time order: no clip can be mixed there
    silences_s: tuple[tuple[Seconds, Seconds], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A source that cannot be used, and why; the rest of the corpus goes on without it."""

    file: str
    reason: str


def composed(name: str) -> str:
    """A name whatever way its accents were encoded: macOS writes them as letters of their own."""
    return unicodedata.normalize("NFC", name)


def is_utf8(name: str) -> bool:
    """Whether a file's name can be written into our files: the system may hold names of any bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def not_utf8(name: str) -> Skipped:
    """Why a file of such a name is left out."""
    return Skipped(
        file=os.fsencode(name).decode("utf-8", "backslashreplace"), reason="has a name that is not UTF-8"
    )
