"""What a clip holds: everything that is needed to render it again, bit for bit."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ManifestError
from clotho_long.core.records import FINITE, SPLITS, check_id
from clotho_long.core.units import Decibels, Hertz, Seconds

# Ends may pass the clip by the rounding of a start time, never by a sample.
END_TOLERANCE_S = 1e-6
# Far beyond what 16 bits hold, and well inside what float32 arithmetic survives.
MAX_LEVEL_DB = 200.0


@dataclass(frozen=True, slots=True, kw_only=True, config=FINITE)
class Event:
    """One event of a clip, one query: a trimmed Clotho file at every place where it sounds.

    Of an event that is cut, the loudest `duration_s` sound, with fades (`clotho_long.audio.trim`).
    """

    qid: str
    event_id: str
    trim_onset_s: int | None  # None where a published recipe does not say; the user's own scan does
    duration_s: Seconds
    caption_index: int | None  # of the event's captions; None where only the published text is known
    foreground_db: Decibels
    starts_s: tuple[Seconds, ...]  # in the clip, in time order
    cut_from_s: Seconds | None = (
        None  # length of the trimmed event that is cut to `duration_s`; None: it is whole
    )

    def __post_init__(self) -> None:
        check_id(self.qid, "qid")
        _check_source_id(self.event_id, "event")
        _check_level(self.foreground_db, f"event {self.event_id!r}")
        if not self.starts_s or self.duration_s <= 0:
            raise ManifestError(f"event {self.event_id!r} never sounds")
        if list(self.starts_s) != sorted(self.starts_s) or self.starts_s[0] < 0:
            raise ManifestError(f"event {self.event_id!r} starts before 0 or out of order")
        if self.cut_from_s is not None and self.cut_from_s <= self.duration_s:
            raise ManifestError(
                f"event {self.event_id!r} of {self.cut_from_s:g} s cannot be cut to {self.duration_s:g} s"
            )

    def __repr__(self) -> str:
        """As it was before events could be cut, for one that is not: fingerprints are made of it."""
        shown = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name != "cut_from_s" or self.cut_from_s is not None
        )
        return f"Event({', '.join(shown)})"

    @model_serializer(mode="wrap")
    def _without_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As recipes of whole events were written, before events could be cut."""
        plain: dict[str, Any] = serialise(self)
        if self.cut_from_s is None:
            del plain["cut_from_s"]
        return plain

    @property
    def trimmed_s(self) -> Seconds:
        """How long the trimmed event is, before any cut."""
        return self.duration_s if self.cut_from_s is None else self.cut_from_s

    @property
    def end_s(self) -> Seconds:
        """Where the last occurrence ends."""
        return self.starts_s[-1] + self.duration_s


@dataclass(frozen=True, slots=True, kw_only=True, config=FINITE)
class ClipRecipe:
    """One mixed recording: a cut of a tour, [start_s, start_s + duration_s), and the events in it."""

    recording_id: str
    split: str
    background_id: str
    start_s: Seconds
    duration_s: Seconds
    background_db: Decibels
    sample_rate_hz: Hertz
    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        check_id(self.recording_id, "recording")
        _check_source_id(self.background_id, "background")
        _check_level(self.background_db, "the background")
        if self.split not in SPLITS:
            raise ManifestError(f"{self.split!r} is none of the splits {', '.join(SPLITS)}")
        if self.start_s < 0 or self.duration_s <= 0 or self.sample_rate_hz <= 0:
            raise ManifestError("start_s is negative, or duration_s or sample_rate_hz is not positive")
        for event in self.events:
            if event.end_s > self.duration_s + END_TOLERANCE_S:
                raise ManifestError(
                    f"event {event.event_id!r} ends at {event.end_s:.2f} s of {self.duration_s:g} s"
                )


def recording_id_of(background_id: str, start_s: Seconds, duration_s: Seconds) -> str:
    """`Venice_5.0_305.0`, as published."""
    return f"{background_id}_{start_s:.1f}_{start_s + duration_s:.1f}"


def _check_source_id(text: str, what: str) -> None:
    """The name of a source may begin with a dot, since no file is named by it; it leads nowhere else."""
    check_id(f"_{text}" if text else text, what)


def _check_level(level_db: Decibels, what: str) -> None:
    if abs(level_db) > MAX_LEVEL_DB:
        raise ManifestError(f"level {level_db:g} dB of {what} is beyond {MAX_LEVEL_DB:g} dB")
