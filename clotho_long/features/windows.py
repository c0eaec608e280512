"""The window grid: which pieces of a recording are encoded, one for each second. Pure.

`aligned` (CASTELLA's extractor, Lighthouse's predictor): window i starts at i s. `padded` (the features that
DCASE 2026 Task 6 published for its evaluation set): the same, and an incomplete last second counts, filled up
with zeros. `centred` (the extractor that Clotho-Moment was published with): half a window of zeros at both
ends, so window i is centred on i s.

| recording | aligned                              | padded                     | centred                   |
| --------- | ------------------------------------ | -------------------------- | ------------------------- |
| 300 s     | 300 windows, window 0 hears [0, 1)   | the same 300               | 301, 0 hears [-0.5, 0.5)  |
| 59.993 s  | 59                                   | 60, the last is 7 ms short | 60                        |
| 4.7 s     | 4 windows, the last 0.7 s is dropped | 5, the last hears 0.7 s    | 5, 4 hears [3.5, 4.5)     |
| 0.3 s     | 1 window, filled up with zeros       | the same                   | 1, 0.3 s between zeros    |

A recording under one second gives no window at all in the published `aligned` extractor; here it gives one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic.dataclasses import dataclass

from clotho_long.core.units import Hertz, Seconds, samples_from_seconds

Waveform = npt.NDArray[np.float32]  # [sample]
Windows = npt.NDArray[np.float32]  # [window, sample]
Convention = Literal["aligned", "padded", "centred"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

HOP_S = 1  # the trainer's clip: one row of features a second


def same_places(one: str, other: str) -> bool:
    """Whether row i stands for the same second in both conventions, so that one network reads either."""
    return one == other or {one, other} == {"aligned", "padded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowGrid:
    """Windows of `window_samples`, one every second, placed by `convention`."""

    convention: Convention
    sample_rate_hz: Hertz
    window_samples: int

    @property
    def hop_samples(self) -> int:
        return HOP_S * self.sample_rate_hz

    @property
    def lead_samples(self) -> int:
        """Zeros before the recording."""
        return self.window_samples // 2 if self.convention == "centred" else 0

    def count(self, num_samples: int) -> int:
        """How many windows a recording of `num_samples` (> 0) has."""
        if self.convention == "padded":
            return -(-num_samples // self.hop_samples)
        whole_seconds = num_samples // self.hop_samples
        return whole_seconds + 1 if self.convention == "centred" else max(whole_seconds, 1)

    def cut(self, blocks: Iterable[Waveform], max_windows: int) -> Iterator[Windows]:
        """The windows of a recording that arrives in blocks, at most `max_windows` at a time.

        All but the last piece hold exactly `max_windows`, however the blocks are cut: what an encoder is
        given depends on the recording alone. Memory is bounded by one such piece and one block.
        """
        piece_samples = (max_windows - 1) * self.hop_samples + self.window_samples
        held = [np.zeros(self.lead_samples, np.float32)]
        num_samples = num_cut = 0
        for block in blocks:
            held.append(block)
            num_samples += len(block)
            # only while something stays for later: whether a piece is the last one is known at the end alone
            while self.count(num_samples) > num_cut + max_windows and sum(map(len, held)) > piece_samples:
                waveform = _joined(held)
                yield self._windows(waveform, max_windows)
                num_cut += max_windows
                held = [waveform[max_windows * self.hop_samples :]]
        waveform = _joined(held)
        while num_samples and num_cut < self.count(num_samples):
            num_left = min(max_windows, self.count(num_samples) - num_cut)
            yield self._windows(waveform, num_left)
            num_cut += num_left
            waveform = waveform[num_left * self.hop_samples :]

    def _windows(self, waveform: Waveform, num_windows: int) -> Windows:
        """The first windows of `waveform`, which is filled up with zeros where it ends too soon."""
        num_missing = (num_windows - 1) * self.hop_samples + self.window_samples - len(waveform)
        filled = np.pad(waveform, (0, num_missing)) if num_missing > 0 else waveform
        # writable, because torch warns of what is not
        sliding = np.lib.stride_tricks.sliding_window_view(filled, self.window_samples, writeable=True)
        return np.ascontiguousarray(sliding[:: self.hop_samples][:num_windows])


def first_seconds(
    blocks: Iterable[Waveform], sample_rate_hz: Hertz, max_s: Seconds | None
) -> Iterator[Waveform]:
    """The blocks of the first `max_s` seconds (all without a limit); no more is read than that."""
    left = None if max_s is None else samples_from_seconds(max_s, sample_rate_hz)
    for block in blocks:
        if left is None:
            yield block
            continue
        yield block[:left]
        left -= len(block[:left])
        if left == 0:
            return


def _joined(blocks: list[Waveform]) -> Waveform:
    filled = [block for block in blocks if len(block)]
    # a mixture arrives as one block: no need to copy it
    return filled[0] if len(filled) == 1 else np.concatenate([*filled, np.empty(0, np.float32)])
