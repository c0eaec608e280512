"""What a source file holds, as measured by `scan`."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A source that cannot be used, and why; the rest of the corpus goes on without it."""

    file: str
    reason: str
