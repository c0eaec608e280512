"""Feature rows as the network reads them, in padded batches.

The only preprocessing there is: training, evaluation and prediction share it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clotho_long.core.errors import FeatureError
from clotho_long.features.files import Features

NORM_FLOOR = 1e-5  # added to the norm of a row, as the reference does; a zero row stays zero
HOST_SHARE = 0.4  # of the machine's memory; a training and a validation set share it with everything else

Indices = npt.NDArray[np.int64]


class Rows(Protocol):
    """What features are read from: a `FeatureStore`, or a dictionary of matrices."""

    def __getitem__(self, item: str, /) -> Features: ...


def prepare_rows(rows: Features, *, max_rows: int | None, normalise: bool) -> Features:
    """Features as the network reads them: the first `max_rows`, float32, each of (nearly) unit length."""
    kept = np.asarray(rows[:max_rows], dtype=np.float32)
    if not normalise:
        return kept
    scaled: Features = kept / (np.linalg.norm(kept, axis=1, keepdims=True) + np.float32(NORM_FLOOR))
    return scaled


class PreparedRows:
    """All rows of a recording as the network reads them, prepared where they are looked at."""

    def __init__(self, rows: npt.NDArray[Any], *, normalise: bool) -> None:
        """`rows` as stored, [row, dim]; they may be mapped from disk."""
        self._rows, self._normalise = rows, normalise

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, some: slice) -> Features:
        return prepare_rows(self._rows[some], max_rows=None, normalise=self._normalise)


class PaddedRows:
    """The prepared rows of many items, gathered into padded batches.

    In memory they lie one after the other, with one zero row at the end that is the padding. A set that would
    fill the machine stays where it is mapped from disk, and is prepared batch by batch.
    """

    def __init__(
        self, source: Rows, items: Sequence[str], dim: int, max_rows: int | None, normalise: bool
    ) -> None:
        self.full_lengths = np.array([len(source[item]) for item in items], dtype=np.int64)
        self.lengths = np.minimum(self.full_lengths, max_rows) if max_rows else self.full_lengths
        for item, length in zip(items, self.lengths, strict=True):
            if length == 0:
                raise FeatureError(f"the features of {item!r} have no rows", "features", "extract them again")
        self._source, self._items, self._dim = source, list(items), dim
        self._max_rows, self._normalise = max_rows, normalise
        ends = np.cumsum(self.lengths)
        self._begins, self._padding = ends - self.lengths, int(ends[-1])  # rows in memory
        self.num_bytes = 4 * dim * (self._padding + 1)
        self._flat = self._in_memory() if self.num_bytes < HOST_SHARE * _physical_bytes() else None

    def move(self, device: torch.device) -> None:
        """Keep the rows on `device`, if they are in memory."""
        if self._flat is not None:
            self._flat = self._flat.to(device)

    def gather(
        self, items: Indices, device: torch.device, *, length: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """[item, row, dim] padded with zeros to `length` (else to the longest), and its mask, on `device`."""
        length = int(self.lengths[items].max()) if length is None else length
        if self._flat is None:
            rows = torch.zeros(len(items), length, self._dim)
            for place, item in enumerate(items):
                rows[place, : self.lengths[item]] = torch.from_numpy(self._prepared(item))
            return rows.to(device), self._mask(items, length, device)
        # only two numbers an item travel to the device, which finds the rows itself
        mask = self._mask(items, length, self._flat.device)
        starts = torch.from_numpy(self._begins[items]).to(self._flat.device)
        steps = torch.arange(mask.shape[1], device=self._flat.device)
        places = torch.where(mask, starts[:, None] + steps, self._padding)
        rows = self._flat.index_select(0, places.flatten()).view(*mask.shape, self._dim)
        return rows.to(device), mask.to(device)

    def taken(self, items: Indices) -> PaddedRows:
        """Some of the items, in this order; what lies in memory is shared."""
        other = copy.copy(self)
        other.lengths, other.full_lengths = self.lengths[items], self.full_lengths[items]
        other._items = [self._items[item] for item in items]
        other._begins = self._begins[items]
        return other

    def whole(self, item: int) -> Features:
        """[row, dim] of one item, prepared, to its end: `max_rows` does not cut it."""
        return prepare_rows(self._source[self._items[item]], max_rows=None, normalise=self._normalise)

    def _mask(self, items: Indices, length: int, device: torch.device) -> Tensor:
        lengths = torch.from_numpy(self.lengths[items])
        return torch.arange(length, device=device) < lengths.to(device)[:, None]

    def _prepared(self, item: int) -> Features:
        rows = self._source[self._items[item]]
        if rows.shape[1] != self._dim:
            raise FeatureError(
                f"the features are {rows.shape[1]} wide, the model reads {self._dim}",
                fix="take the encoder that the model was trained with",
            )
        return prepare_rows(rows, max_rows=self._max_rows, normalise=self._normalise)

    def _in_memory(self) -> Tensor:
        flat = np.zeros((self._padding + 1, self._dim), dtype=np.float32)
        for item in range(len(self._items)):
            begin = self._begins[item]
            flat[begin : begin + self.lengths[item]] = self._prepared(item)
        return torch.from_numpy(flat)


def _physical_bytes() -> float:
    """Memory of this machine; without limit where it cannot be asked for."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
