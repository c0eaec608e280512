"""Several corpora as one: each with its features, its share of an epoch, and ids that no other has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amr_model.data.rows import Indices, Rows
from amr_model.data.sources import Source, fingerprint_queries, fingerprint_rows
from clotho_long.core.records import Query
from clotho_long.core.seeds import generator
from clotho_long.features.files import Features


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFiles:
    """Where a corpus lies."""

    annotations: Path
    features: Path
    weight: float = 1.0  # how often each of its queries is drawn in an epoch


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Queries with the features of their recordings and of their texts."""

    queries: Sequence[Query]
    audio: Rows  # by recording id
    text: Rows  # by qid
    files: CorpusFiles | None = None
    made_by: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def draws(self) -> int:
        """Queries that an epoch takes of it."""
        return max(1, round(len(self.queries) * (1.0 if self.files is None else self.files.weight)))

    def source(self) -> Source:
        """What it was read from, by content."""
        recordings, qids = ({getattr(q, name) for q in self.queries} for name in ("recording_id", "qid"))
        files = self.files
        return Source(
            annotations="" if files is None else str(files.annotations),
            features="" if files is None else str(files.features),
            weight=1.0 if files is None else files.weight,
            queries_fingerprint=fingerprint_queries(self.queries),
            features_fingerprint=fingerprint_rows(self.audio, recordings, self.text, qids),
            made_by=dict(self.made_by),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Renamed:
    """Rows of several corpora by the ids that they have together."""

    places: Mapping[str, tuple[Rows, str]]

    def __getitem__(self, item: str, /) -> Features:
        rows, own = self.places[item]
        return rows[own]


def joined(corpora: Sequence[Corpus]) -> Corpus:
    """One corpus of all. `2:q7` is the query q7 of the second; recordings are one where their features are.

    One corpus alone keeps its ids.
    """
    if len(corpora) == 1:
        return corpora[0]
    queries: list[Query] = []
    audio: dict[str, tuple[Rows, str]] = {}
    text: dict[str, tuple[Rows, str]] = {}
    folders: list[object] = []
    for number, corpus in enumerate(corpora, start=1):
        folder = number if corpus.files is None else corpus.files.features.resolve()
        if folder not in folders:
            folders.append(folder)
        for query in corpus.queries:
            qid, recording = f"{number}:{query.qid}", f"{folders.index(folder) + 1}:{query.recording_id}"
            audio[recording] = (corpus.audio, query.recording_id)
            text[qid] = (corpus.text, query.qid)
            queries.append(dataclasses.replace(query, qid=qid, recording_id=recording))
    return Corpus(queries=queries, audio=_Renamed(audio), text=_Renamed(text))


def drawn_queries(corpora: Sequence[Corpus], seed: int, epoch: int) -> Indices:
    """Which queries of the joined corpus an epoch takes, each as often as its corpus's weight says.

    What is left of a weight that is no whole number falls to other queries in each epoch.
    """
    return np.concatenate(list(_draws(corpora, seed, epoch)))


def _draws(corpora: Sequence[Corpus], seed: int, epoch: int) -> Iterator[Indices]:
    start = 0
    for number, corpus in enumerate(corpora):
        size = len(corpus.queries)
        whole, rest = divmod(corpus.draws, size)
        for _ in range(whole):
            yield np.arange(start, start + size)
        if rest:
            chosen = generator(seed, "corpus", str(number), str(epoch)).permutation(size)[:rest]
            yield start + chosen
        start += size
