"""Mixes events into a background, exactly as Clotho-Moment was published. Pure: arrays in, arrays out.

After Lighthouse-Wrapper (fdce40e), `6_create_dataset.py`. An event's level is that of its peak over the RMS
of the background *before* the background is itself turned down, so it is not a signal-to-noise ratio.

A mixture is made second by second, so that its samples stay in the processor's cache and a clip of any length
needs no array of its own. Two facts about the whole clip come first, its mean power and its peak; where no
event sounds they follow from what is known of each second of the background (`Levels`), which a tour needs
once for all the clips that are cut from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from clotho_long.audio.io import Waveform
from clotho_long.core.errors import AudioError
from clotho_long.core.units import Decibels, gain_from_db

_ARRAYS = ConfigDict(arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True, kw_only=True, config=_ARRAYS)
class PlacedEvent:
    """One event of a mixture, with every place where it sounds."""

    event_id: str
    waveform: Waveform  # trimmed, mono, at the mixture's rate
    foreground_db: Decibels
    start_samples: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, config=_ARRAYS)
class Levels:
    """Energy and peak of every block of a waveform; the last block may be short."""

    block_samples: int
    energy: npt.NDArray[np.float64]  # [block] sum of squares
    peak: npt.NDArray[np.float32]  # [block] largest magnitude

    def between(self, start: int, stop: int) -> Levels | None:
        """The levels of a cut, or None where the cut does not fall on blocks."""
        if start % self.block_samples or (stop - start) % self.block_samples:
            return None
        blocks = slice(start // self.block_samples, stop // self.block_samples)
        return Levels(block_samples=self.block_samples, energy=self.energy[blocks], peak=self.peak[blocks])


def measure_levels(waveform: Waveform, block_samples: int) -> Levels:
    """The levels of a waveform, in blocks that are commonly one second."""
    starts = range(0, len(waveform), block_samples)
    energy, peak = np.empty(len(starts)), np.empty(len(starts), np.float32)
    for index, start in enumerate(starts):
        block = waveform[start : start + block_samples]
        exact = block.astype(np.float64)
        energy[index] = exact @ exact
        peak[index] = peak_of(block)
    return Levels(block_samples=block_samples, energy=energy, peak=peak)


def mix(
    background: Waveform,
    events: Sequence[PlacedEvent],
    *,
    background_db: Decibels,
    levels: Levels,
    where: str,
) -> Iterator[Waveform]:
    """The mixture, peak 1, block by block; each block is only valid until the next one is asked for.

    b = background; P = mean(b^2); b *= 10^(background_db/20); each event f, divided by its peak and times
    10^(foreground_db/20) sqrt(P), is added from its start on; what would pass the end is cut; b /= max|b|.

    Args:
        levels: of `background`, which is not changed.

    Raises:
        AudioError: the background or an event is silent, so the levels mean nothing.
    """
    # rounded to float32: the order in which a processor's vector unit adds must not reach the mixture
    power = float(np.float32(levels.energy.sum() / len(background)))
    if power == 0:
        raise AudioError(
            "the background is silent there",
            where,
            "scan and plan again: clips without any sound are left out",
        )
    placed = [_scaled(event, power, where) for event in events]
    gain = np.float32(gain_from_db(background_db))
    sounding = _blocks_with_events(placed, levels, len(background))
    scratch = np.empty(levels.block_samples, np.float32)

    def block_at(index: int) -> Waveform:
        start = index * levels.block_samples
        cut = background[start : start + levels.block_samples]
        block = np.multiply(cut, gain, out=scratch[: len(cut)])
        if sounding[index]:
            _add_events(block, start, placed)
        return block

    # where nothing is added, rounding is monotonous: the largest product is the product of the largest
    peak = float(max(np.where(sounding, np.float32(0), levels.peak * gain)))
    peak = max([peak, *(peak_of(block_at(index)) for index in np.flatnonzero(sounding))])
    normalise = np.float32(1 / peak)
    for index in range(len(levels.peak)):
        block = block_at(index)
        block *= normalise
        yield block


def peak_of(waveform: Waveform) -> float:
    """Largest magnitude of a waveform."""
    return float(max(waveform.max(), -waveform.min()))


def _scaled(event: PlacedEvent, power: float, where: str) -> PlacedEvent:
    """The event at its level over a background of that mean power."""
    peak = peak_of(event.waveform)
    if peak == 0:
        raise AudioError(f"event {event.event_id!r} is silent", where, "leave it out of the sources")
    weight = gain_from_db(event.foreground_db) * power**0.5
    return PlacedEvent(
        event_id=event.event_id,
        waveform=(event.waveform / np.float32(peak)) * np.float32(weight),
        foreground_db=event.foreground_db,
        start_samples=event.start_samples,
    )


def _blocks_with_events(
    placed: Sequence[PlacedEvent], levels: Levels, num_samples: int
) -> npt.NDArray[np.bool_]:
    sounding = np.zeros(len(levels.peak), bool)
    for event in placed:
        for start in event.start_samples:
            stop = min(start + len(event.waveform), num_samples)
            sounding[start // levels.block_samples : -(-stop // levels.block_samples)] = True
    return sounding


def _add_events(block: Waveform, block_start: int, placed: Sequence[PlacedEvent]) -> None:
    for event in placed:
        for start in event.start_samples:
            first, last = max(start, block_start), min(start + len(event.waveform), block_start + len(block))
            if first < last:
                block[first - block_start : last - block_start] += event.waveform[
                    first - start : last - start
                ]
