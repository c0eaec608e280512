"""Which of the sounds in a file is taken, and what had to be done to it on the user's behalf."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ConfigError
from clotho_long.core.units import Decibels, Seconds

ChannelChoice = Literal["mean", "first"] | int  # a number counts from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundChoice:
    """Which sound track of a file is taken, and how its channels become one."""

    channels: ChannelChoice = "mean"
    track: int | None = None  # counts from 1; None: the first, and a notice if that is far below another

    def __post_init__(self) -> None:
        if isinstance(self.channels, int) and self.channels < 1:
            raise ConfigError(f"no channel has the number {self.channels}", "--channels", "count from 1")
        if self.track is not None and self.track < 1:
            raise ConfigError(f"no track has the number {self.track}", "--track", "count from 1")

    @property
    def channel(self) -> int | None:
        """Place of the channel that is taken, from 0; None: the mean of all."""
        if self.channels == "mean":
            return None
        return 0 if self.channels == "first" else self.channels - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quieter:
    """What was taken is far below another sound of the same file."""

    below_db: Decibels
    louder: str  # as it is called on the command line, such as "--track 2"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SoundNotes:
    """What came out of reading a recording to its end, beside its samples."""

    duration_s: Seconds
    track: int = 1
    num_tracks: int = 1
    silence_s: Seconds = 0.0  # filled in where the time stamps have a hole, or the sound starts late
    num_mended: int = 0  # samples that were NaN or infinite and are silence now
    num_damaged: int = 0  # packets that could not be decoded
    quieter: Quieter | None = None

    def to_json(self) -> dict[str, Any]:
        """What was done, as JSON-like values; empty for a recording that was taken as it is."""
        done: dict[str, Any] = {}
        if self.num_tracks > 1:
            done["track"] = f"{self.track} of {self.num_tracks}"
        for name in ("silence_s", "num_mended", "num_damaged"):
            if value := getattr(self, name):
                done[name] = value
        if self.quieter is not None:
            done["quieter"] = dataclasses.asdict(self.quieter)
        return done

    def __str__(self) -> str:
        """The same in words, one line; empty for a recording that was taken as it is."""
        said = []
        if self.num_tracks > 1:
            said.append(f"sound track {self.track} of {self.num_tracks} was taken")
        if self.num_damaged:
            said.append(f"{self.num_damaged:,} damaged packets could not be decoded")
        if self.silence_s:
            said.append(f"{self.silence_s:.1f} s without sound became silence, so that times stay right")
        if self.num_mended:
            said.append(f"{self.num_mended:,} NaN or infinite samples became silence")
        if self.quieter is not None:
            level = f"{self.quieter.below_db:.0f} dB" if self.quieter.below_db < 200 else "far"
            said.append(f"what was taken lies {level} below what {self.quieter.louder} gives")
        return "; ".join(said)
