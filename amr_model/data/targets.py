"""From moments in seconds to what the losses compare with: spans, saliency labels and pairs, labels
of similarity.

Everything of a set of queries is built once; what is drawn anew each epoch (pairs of rows, and moments of
queries that have more than `max_moments`) hangs on (seed, epoch, qid), so neither order nor batch moves it.

The reference is Lighthouse d095eaa, `training/dataset.py` (spans, saliency) and `uvcom.py` (similarity).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amr_model.config import TargetConfig
from amr_model.public.labels import truncated_span_labels
from amr_model.tensors import Targets
from clotho_long.core.records import Query
from clotho_long.core.units import Seconds

PAIRS = 2  # positive and negative rows drawn for the margin term of the saliency loss

Edges = npt.NDArray[np.float64]  # [moment, 2] onset and offset in seconds
Labels = npt.NDArray[np.bool_]  # [row]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MomentCounts:
    """What the moment policy did to the annotated moments of one query, or of a set."""

    past_recording: int = 0  # moments that end after the annotated duration
    past_features: int = 0  # moments that end after the last feature row
    dropped: int = 0  # moments of which nothing is left, and empty ones

    def __add__(self, other: MomentCounts) -> MomentCounts:
        return MomentCounts(
            past_recording=self.past_recording + other.past_recording,
            past_features=self.past_features + other.past_features,
            dropped=self.dropped + other.dropped,
        )


def usable_moments(
    query: Query, num_rows: int, config: TargetConfig, *, row_s: Seconds
) -> tuple[Edges, MomentCounts]:
    """The moments of a query that can be targets, in the order listed, and what became of the rest.

    `clip` cuts them to the features and drops what is not longer than `min_length_s`; `keep` keeps them all,
    so that centres and edges may lie above 1.
    """
    listed = np.array([(m.onset_s, m.offset_s) for m in query.moments], dtype=np.float64).reshape(-1, 2)
    end_s = num_rows * row_s
    clipped = np.clip(listed, 0.0, end_s)
    lasting = clipped[:, 1] - clipped[:, 0] > config.min_length_s
    keep = config.moment_policy == "keep"
    counts = MomentCounts(
        past_recording=int((listed[:, 1] > query.duration_s).sum()),
        past_features=int((listed[:, 1] > end_s).sum()),
        dropped=0 if keep else int((~lasting).sum()),
    )
    return (listed if keep else clipped[lasting]), counts


def spans_cxw(moments: Edges, num_rows: int, row_s: Seconds) -> npt.NDArray[np.float32]:
    """[moment, 2] centre and width as fractions of the rows, in the reference's float32 steps."""
    spans = moments.astype(np.float32) / np.float32(num_rows * row_s)
    centre = (spans[:, 0] + spans[:, 1]) * np.float32(0.5)
    return np.stack([centre, spans[:, 1] - spans[:, 0]], axis=1)


def dense_labels(moments: Edges, num_rows: int, row_s: Seconds) -> Labels:
    """True on rows of which a moment covers at least half; a moment without such a row marks its middle.

    For whole seconds this is onset <= row < offset. The middle keeps an event of 0.7 s from vanishing.
    """
    end_s = num_rows * row_s
    onsets, offsets = np.clip(moments, 0.0, end_s).T
    edges = np.arange(num_rows + 1) * row_s
    covered = np.minimum(offsets[:, None], edges[1:]) - np.maximum(onsets[:, None], edges[:-1])
    marked = (covered >= row_s / 2) & (offsets > onsets)[:, None]
    unseen = ~marked.any(axis=1) & (offsets > onsets)
    middle = ((onsets + offsets) / 2 / row_s).astype(np.int64)
    marked[unseen, np.minimum(middle, num_rows - 1)[unseen]] = True
    labels: Labels = marked.any(axis=0)
    return labels


def first_moment_labels(moment: Edges, num_rows: int, row_s: Seconds) -> Labels:
    """The reference's saliency labels: rows of one moment [2], its edges truncated, at least one row."""
    first = int(moment[0] / row_s)
    last = max(0, min(int(moment[1] / row_s), num_rows) - 1)
    labels = np.zeros(num_rows, dtype=bool)
    labels[min(first, last) : last + 1] = True
    return labels


class TargetTable:
    """The targets of all queries of a set, ready to be drawn for an epoch.

    Args:
        queries: with their moments.
        num_rows: audio rows of each query's recording, at least 1.
        max_moments: moments of one query that become targets; of more, a selection in random order.
    """

    def __init__(
        self,
        queries: Sequence[Query],
        num_rows: Sequence[int],
        config: TargetConfig,
        *,
        row_s: Seconds,
        max_moments: int,
    ) -> None:
        self._config, self._row_s, self._max_moments = config, row_s, max_moments
        self._num_rows = np.asarray(num_rows)
        self._keys = np.array([_key(query.qid) for query in queries], dtype=np.uint64)
        usable = [usable_moments(q, n, config, row_s=row_s) for q, n in zip(queries, num_rows, strict=True)]
        self._moments = [moments for moments, _ in usable]
        self.counts = sum((counts for _, counts in usable), MomentCounts())
        self.num_moments = np.array([min(len(w), max_moments) for w in self._moments], dtype=np.int64)
        self._crowded = [row for row, w in enumerate(self._moments) if len(w) > max_moments]
        length = int(self._num_rows.max())
        width = max(int(self.num_moments.max()), 1)
        self._spans = np.zeros((len(queries), width, 2), dtype=np.float32)
        self._saliency = np.zeros((len(queries), length), dtype=np.float32)
        self._similarity = np.zeros_like(self._saliency)
        for row in range(len(queries)):
            self._fill(row, self._moments[row][:max_moments])
        # positive rows first, then negative ones, then padding: a pair is drawn by its place in this order
        self._order, self._positives = self._row_order(np.arange(len(queries)))

    def draw(self, seed: int, epoch: int) -> Targets:
        """The targets of one epoch, all queries in one batch (B is the number of queries)."""
        for row in self._crowded:
            chosen = _permutation(self._keys[row], seed, epoch, len(self._moments[row]))[: self._max_moments]
            self._fill(row, self._moments[row][chosen])
        if self._crowded and self._config.saliency_moments == "first":
            rows = np.array(self._crowded)
            self._order[rows], self._positives[rows] = self._row_order(rows)
        positives, negatives, has_pairs = self._pairs(seed, epoch)
        return Targets(
            spans_cxw=torch.from_numpy(self._spans.copy()),
            spans_mask=torch.from_numpy(np.arange(self._spans.shape[1]) < self.num_moments[:, None]),
            saliency=torch.from_numpy(self._saliency.copy()),
            saliency_positives=torch.from_numpy(positives),
            saliency_negatives=torch.from_numpy(negatives),
            saliency_pairs_mask=torch.from_numpy(np.repeat(has_pairs[:, None], PAIRS, axis=1)),
            similarity=torch.from_numpy(self._similarity.copy()),
        )

    def draw_absent(self, seed: int, epoch: int, share: float) -> tuple[Labels, npt.NDArray[np.float64]]:
        """Which queries of an epoch are asked in vain, each with probability `share`, and for each a number
        in [0, 1) that says of which recording; by (seed, epoch, qid) as all draws."""
        chosen, place = _uniforms(self._keys, seed, epoch, 2, stream="absent").T
        return chosen < share, place

    def _fill(self, row: int, moments: Edges) -> None:
        """Write spans and labels of one query, `moments` being those in use."""
        num_rows, row_s = int(self._num_rows[row]), self._row_s
        spans = spans_cxw(moments, num_rows, row_s)
        self._spans[row, : len(spans)] = spans
        everything = dense_labels(self._moments[row], num_rows, row_s)
        saliency, similarity = everything, everything
        if self._config.saliency_moments == "first":
            saliency = (
                first_moment_labels(moments[0], num_rows, row_s)
                if len(moments)
                else np.zeros_like(everything)
            )
        if self._config.sim_moments == "first":
            similarity = (
                truncated_span_labels(spans[0], num_rows) if len(spans) else np.zeros_like(everything)
            )
        self._saliency[row, :num_rows], self._similarity[row, :num_rows] = saliency, similarity

    def _row_order(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        columns = np.arange(self._saliency.shape[1])
        rank = np.where(columns < self._num_rows[rows, None], 1 - self._saliency[rows], 2)
        order = np.argsort(rank, axis=1, kind="stable").astype(np.int32)  # nine hours are past int16
        return order, self._saliency[rows].sum(axis=1).astype(np.int64)

    def _pairs(
        self, seed: int, epoch: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Two positive and two negative rows of every query [query, 2], and which queries have both."""
        uniforms = _uniforms(self._keys, seed, epoch, 2 * PAIRS)
        num_positive, num_negative = self._positives, self._num_rows - self._positives
        positives = self._pick(_two_of(uniforms[:, :2], num_positive))
        negatives = self._pick(num_positive[:, None] + _two_of(uniforms[:, 2:], num_negative))
        if self._config.saliency_moments == "first":
            # the reference takes the positives again where it cannot draw two different negatives
            negatives = np.where(num_negative[:, None] < PAIRS, positives, negatives)
            return positives, negatives, num_positive > 0
        return positives, negatives, (num_positive > 0) & (num_negative > 0)

    def _pick(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows at these places. A side without rows has none: it gets the recording's last row, which
        the mask leaves out, and never one of padding, since a batch may be no wider than the recording."""
        inside = np.minimum(places, self._num_rows[:, None] - 1)
        return np.take_along_axis(self._order, inside, axis=1).astype(np.int64)


def _two_of(uniforms: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Two different places below each count [query, 2]; the only one twice if there is but one."""
    first = (uniforms[:, 0] * counts).astype(np.int64)
    second = (uniforms[:, 1] * np.maximum(counts - 1, 0)).astype(np.int64)
    second += (second >= first) & (counts > 1)
    return np.stack([first, second], axis=1)


def _key(qid: str) -> int:
    return int.from_bytes(hashlib.sha256(qid.encode()).digest()[:8], "little")


def _permutation(key: np.uint64, seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    # places after those of the pairs, so that a query's pairs do not depend on how many moments it has
    uniforms = _uniforms(np.array([key]), seed, epoch, 2 * PAIRS + count)[0, 2 * PAIRS :]
    return np.argsort(uniforms, kind="stable")


def without_moments(targets: Targets, absent: Labels) -> Targets:
    """The same targets where `absent` [query] queries are asked of recordings that do not hold them."""
    rows = torch.from_numpy(absent)
    cleared = {
        field.name: getattr(targets, field.name).masked_fill(_over(rows, getattr(targets, field.name)), 0)
        for field in dataclasses.fields(targets)
    }
    return Targets(**cleared)


def _over(rows: Tensor, values: Tensor) -> Tensor:
    """[query] as a mask of [query, ...]"""
    return rows.reshape(-1, *[1] * (values.dim() - 1))


def _uniforms(
    keys: npt.NDArray[np.uint64], seed: int, epoch: int, count: int, *, stream: str = "targets"
) -> npt.NDArray[np.float64]:
    """[query, count] numbers in [0, 1) from (seed, epoch, key) alone: SplitMix64 (Steele et al., 2014).

    A generator object for each query and epoch would cost more than the rest of the loading.
    """
    scope = np.uint64(_key(f"{stream}\x1f{seed}\x1f{epoch}"))
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        state = _mixed(keys ^ scope)[:, None] + np.uint64(0x9E3779B97F4A7C15) * np.arange(
            1, count + 1, dtype=np.uint64
        )
        bits = _mixed(state)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
