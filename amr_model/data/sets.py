"""Annotations and features as batches: each recording is read once, and shared by the queries that ask of it.

The same preprocessing serves training, evaluation and prediction. After Lighthouse d095eaa,
`training/dataset.py`; changed: nothing is read twice, and what does not fit together is counted and reported.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from amr_model.config import ExperimentConfig, FeatureConfig
from amr_model.data.collate import collate
from amr_model.data.corpora import Corpus, CorpusFiles, drawn_queries, joined
from amr_model.data.rows import Indices, PaddedRows, Rows
from amr_model.data.sources import Source
from amr_model.data.targets import MomentCounts, TargetTable, without_moments
from amr_model.tensors import NO_NEGATIVE, Batch, Targets
from clotho_long.core.annotations import read_annotations as read_annotations  # loads no torch where it is
from clotho_long.core.errors import FeatureError, ManifestError
from clotho_long.core.records import Query
from clotho_long.core.seeds import generator
from clotho_long.core.units import Seconds
from clotho_long.features.files import Features
from clotho_long.features.store import FeatureStore
from clotho_long.features.windows import same_places

DEVICE_SHARE = 0.5  # of the free memory of a device that features may take; the network needs the rest
BATCHES_PER_SORT = 20  # of similar lengths: more save padding, fewer shuffle better

ALL = slice(None)  # the part of a batch where one process does it all


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What was loaded, and how well annotations and features agree."""

    queries: int
    recordings: int
    moments: int
    without_moments: int  # queries
    other_length: int  # recordings whose rows * row_s is not the annotated duration
    largest_difference_s: float  # rows * row_s minus duration, the largest in size, with its sign
    cut_recordings: int  # longer than audio_max rows
    cut_queries: int  # longer than text_max tokens
    moment_counts: MomentCounts

    def lines(self) -> list[str]:
        """The report for people, one fact a line; facts of count 0 are left out."""
        counts = self.moment_counts
        facts = {
            f"{self.without_moments} queries without a moment: all background": self.without_moments,
            f"{self.other_length} recordings whose features are not as long as annotated "
            f"(largest difference {self.largest_difference_s:+.2f} s)": self.other_length,
            f"{self.cut_recordings} recordings longer than audio_max rows (training hears their start, "
            "answers come from all of them)": self.cut_recordings,
            f"{self.cut_queries} queries cut to text_max tokens": self.cut_queries,
            f"{counts.past_recording} moments end after the recording": counts.past_recording,
            f"{counts.past_features} moments end after the features": counts.past_features,
            f"{counts.dropped} moments dropped, nothing of them is left": counts.dropped,
        }
        head = f"{self.queries} queries, {self.moments} moments, {self.recordings} recordings"
        return [head, *(fact for fact, count in facts.items() if count)]


def refuse_without_moments(queries: Sequence[Query], where: object) -> None:
    """Neither can be learnt nor scored from queries of which none has a moment.

    Raises:
        ManifestError: there is none.
    """
    if not any(query.moments for query in queries):
        raise ManifestError(
            "no query has a moment",
            where,
            "give annotations with the truth, not those of an evaluation set",
        )


class RetrievalSet:
    """Queries with their features and targets; batches are gathered where the features lie."""

    def __init__(
        self,
        queries: Sequence[Query],
        audio: Rows,
        text: Rows,
        config: ExperimentConfig,
        *,
        device: torch.device | None = None,
        corpora: Sequence[Corpus] = (),
    ) -> None:
        """Prepare the features of all queries.

        Args:
            audio: by recording id.
            text: by qid.
            device: where batches are needed; the features lie there too if they fit.
            corpora: what the queries were joined of, if of several.
        """
        features = config.features
        self._corpora = tuple(corpora) or (Corpus(queries=queries, audio=audio, text=text),)
        self.queries = tuple(queries)
        self.device = device or torch.device("cpu")
        self._recording_ids = tuple(dict.fromkeys(query.recording_id for query in queries))
        place = {recording_id: at for at, recording_id in enumerate(self._recording_ids)}
        self._recording = np.array([place[query.recording_id] for query in queries], dtype=np.int64)
        self._home = self._recording  # where each text is of; an epoch may ask it of others
        self._absent: npt.NDArray[np.bool_] | None = None  # [query] asked in vain; None: no one is
        self._absent_share = config.targets.absent_share
        captions = [query.query.strip().lower() for query in queries]
        code = {caption: at for at, caption in enumerate(dict.fromkeys(captions))}
        self._caption = np.array([code[caption] for caption in captions], dtype=np.int64)
        self._distinct = config.targets.neg_pair == "distinct"
        self._audio = PaddedRows(
            audio, self._recording_ids, config.model.audio_dim, features.audio_max, features.audio_normalise
        )
        qids = tuple(query.qid for query in queries)
        self._text = PaddedRows(text, qids, config.model.text_dim, features.text_max, features.text_normalise)
        self.num_rows = self._audio.lengths[self._recording]
        self._table = TargetTable(
            self.queries,
            self.num_rows.tolist(),
            config.targets,
            row_s=features.row_s,
            max_moments=config.max_moments,
        )
        self.report = self._describe(features.row_s)
        if self._audio.num_bytes + self._text.num_bytes < DEVICE_SHARE * _free_bytes(self.device):
            self._audio.move(self.device)
            self._text.move(self.device)

    @classmethod
    def load(
        cls,
        annotations: Path | str,
        features_dir: Path | str,
        config: ExperimentConfig,
        *,
        device: torch.device | None = None,
    ) -> RetrievalSet:
        """The queries of an annotation file with the features below `features_dir`.

        Raises:
            ManifestError: as `read_annotations`.
            FeatureError: a feature file is missing, malformed, not finite, or of another width.
        """
        files = CorpusFiles(annotations=Path(annotations), features=Path(features_dir))
        return cls.load_all([files], config, device=device)

    @classmethod
    def load_all(
        cls, files: Sequence[CorpusFiles], config: ExperimentConfig, *, device: torch.device | None = None
    ) -> RetrievalSet:
        """Several corpora as one set; each is checked as `load` checks one.

        Raises:
            ManifestError, FeatureError: as `load`.
        """
        corpora = [_open(corpus, config) for corpus in files]
        one = joined(corpora)
        return cls(one.queries, one.audio, one.text, config, device=device, corpora=corpora)

    def __len__(self) -> int:
        return len(self.queries)

    @functools.cached_property
    def sources(self) -> tuple[Source, ...]:
        """What the set was read from, by content, one for each corpus."""
        return tuple(corpus.source() for corpus in self._corpora)

    @property
    def queries_an_epoch(self) -> int:
        """Queries that an epoch trains on, counted as often as they are drawn."""
        return sum(corpus.draws for corpus in self._corpora)

    @functools.cached_property
    def _holders(self) -> dict[int, list[int]]:
        """Of each caption the recordings that it stands in, in order."""
        pairs = sorted(set(zip(self._caption.tolist(), self._home.tolist(), strict=True)))
        return {
            caption: [place for _, place in group]
            for caption, group in itertools.groupby(pairs, key=operator.itemgetter(0))
        }

    def draw_targets(self, seed: int, epoch: int) -> Targets:
        """The targets of one epoch for all queries, on the device; `batch_targets` takes a batch's out."""
        targets = self._table.draw(seed, epoch)
        if self._absent is not None:
            targets = without_moments(targets, self._absent)
        return targets.to(self.device)

    def in_epoch(self, seed: int, epoch: int) -> RetrievalSet:
        """The set as an epoch learns from it: `targets.absent_share` of the queries are asked of another
        recording, which does not hold them.

        Who is asked where depends on (seed, epoch, qid) alone. A recording is taken to hold what its own
        captions say, and nothing else.
        """
        if self._absent_share == 0:
            return self
        absent, uniforms = self._table.draw_absent(seed, epoch, self._absent_share)
        recording, count = self._home.copy(), len(self._recording_ids)
        for index in np.flatnonzero(absent).tolist():
            holders = self._holders[int(self._caption[index])]
            free = count - len(holders)
            absent[index] = free > 0  # a caption of every recording is absent from none
            if free > 0:
                recording[index] = _free_place(int(uniforms[index] * free), holders)
        other = copy.copy(self)  # features and targets are shared
        other._recording, other._absent = recording, absent
        other.num_rows = self._audio.lengths[recording]
        return other

    def epoch_batches(
        self, *, batch_size: int, seed: int, epoch: int, by_length: bool = False
    ) -> list[Indices]:
        """Which queries form which batch of an epoch; the last short batch is kept.

        Args:
            by_length: batches of recordings of similar lengths, in random order: less padding, other batches.
        """
        rng = generator(seed, "batches", str(epoch))
        order = rng.permutation(drawn_queries(self._corpora, seed, epoch))
        if not by_length:
            return _cut(order, batch_size)
        parts = _cut(order, batch_size * BATCHES_PER_SORT)
        # sorted within parts, stable: equal lengths keep their random order
        batches = [
            batch
            for part in parts
            for batch in _cut(part[np.argsort(self.num_rows[part], kind="stable")], batch_size)
        ]
        return [batches[place] for place in rng.permutation(len(batches))]

    def batches_in_order(self, batch_size: int) -> list[Indices]:
        """The queries as annotated, in batches, for evaluation."""
        return _cut(np.arange(len(self)), batch_size)

    def batch(self, indices: Indices, part: slice = ALL) -> Batch:
        """What the network reads of these queries, on the device.

        Args:
            part: the items that this process works on. Their texts are contrasted with those of all items,
                and they are padded as all are, so that who shares a batch does not change it.
        """
        mine = indices[part]
        longest = int(self.num_rows[indices].max())
        audio = self._audio.gather(self._recording[mine], self.device, length=longest)
        text = self._text.gather(indices, self.device)
        recording, home = self._recording[indices], self._home[indices]
        same_recording = recording[:, None] == recording
        if self._absent is not None:  # nor is a recording another one to a text that is of it
            asked_at_home = recording[:, None] == home
            same_recording |= asked_at_home | asked_at_home.T | (home[:, None] == home)
        absent = None if self._absent is None else torch.from_numpy(self._absent[indices]).to(self.device)
        caption = self._caption[indices]
        other = ~(same_recording | (caption[:, None] == caption))
        negative = negative_index(other) if self._distinct else (np.arange(len(indices)) + 1) % len(indices)
        return collate(
            audio,
            text,
            negative_index=torch.from_numpy(negative[part]).to(self.device),
            same_recording=torch.from_numpy(same_recording).to(self.device),
            absent=absent,
            first=part.indices(len(indices))[0],
            qids=tuple(self.queries[index].qid for index in mine),
            recording_ids=tuple(self._recording_ids[place] for place in self._recording[mine]),
        )

    @property
    def full_num_rows(self) -> Indices:
        """[query] rows of each query's recording, those included that `audio_max` cuts."""
        return self._audio.full_lengths[self._recording]

    def whole(self, index: int) -> tuple[Features, Features]:
        """[row, dim] of a query's recording to its end and [token, dim] of its text, as the network reads."""
        return self._audio.whole(int(self._recording[index])), self.whole_text(index)

    def whole_text(self, index: int) -> Features:
        """[token, dim] of a query's text; `text_max` cuts it here as well."""
        return self._text.whole(index)[: self._text.lengths[index]]

    def asked_elsewhere(self, rng: np.random.Generator) -> RetrievalSet | None:
        """The same queries, each asked of another recording of the set, which does not hold it.

        A recording is taken to hold what its own captions say, and nothing else. Captions that all other
        recordings share are left out; None if no query is left. To be answered, not to be trained on.
        """
        kept, chosen = [], []
        for index, caption in enumerate(self._caption.tolist()):
            free = len(self._recording_ids) - len(self._holders[caption])
            if free > 0:
                kept.append(index)
                chosen.append(_free_place(int(rng.integers(free)), self._holders[caption]))
        if not kept:
            return None
        duration = {query.recording_id: query.duration_s for query in self.queries}
        names = [self._recording_ids[place] for place in chosen]
        other = copy.copy(self)  # the features are shared
        other.queries = tuple(
            dataclasses.replace(self.queries[index], recording_id=name, duration_s=duration[name], moments=())
            for index, name in zip(kept, names, strict=True)
        )
        other._recording, other._caption = np.array(chosen), self._caption[kept]
        other._home = self._home[kept]
        other._text = self._text.taken(np.array(kept))
        other.num_rows = self._audio.lengths[other._recording]
        return other

    def batch_targets(self, targets: Targets, indices: Indices, part: slice = ALL) -> Targets:
        """What `draw_targets` says of a part of these queries, cut to the longest recording and most windows
        of all of them."""
        rows = torch.from_numpy(indices[part]).to(targets.saliency.device)
        length = int(self.num_rows[indices].max())
        windows = max(int(self._table.num_moments[indices].max()), 1)
        return Targets(
            spans_cxw=targets.spans_cxw[rows, :windows],
            spans_mask=targets.spans_mask[rows, :windows],
            saliency=targets.saliency[rows, :length],
            saliency_positives=targets.saliency_positives[rows],
            saliency_negatives=targets.saliency_negatives[rows],
            saliency_pairs_mask=targets.saliency_pairs_mask[rows],
            similarity=targets.similarity[rows, :length],
        )

    def batches(
        self, *, batch_size: int, seed: int, epoch: int, by_length: bool = False
    ) -> Iterator[tuple[Batch, Targets]]:
        """One epoch of training batches; the same for the same seed and epoch."""
        targets = self.draw_targets(seed, epoch)
        for indices in self.epoch_batches(batch_size=batch_size, seed=seed, epoch=epoch, by_length=by_length):
            yield self.batch(indices), self.batch_targets(targets, indices)

    def _describe(self, row_s: Seconds) -> LoadReport:
        annotated = np.array([query.duration_s for query in self.queries])
        difference = self._audio.full_lengths[self._recording] * row_s - annotated
        differs = {
            recording: value
            for recording, value in zip(self._recording.tolist(), difference.tolist(), strict=True)
            if value
        }
        return LoadReport(
            queries=len(self.queries),
            recordings=len(self._recording_ids),
            moments=sum(len(query.moments) for query in self.queries),
            without_moments=sum(not query.moments for query in self.queries),
            other_length=len(differs),
            largest_difference_s=max(differs.values(), key=abs, default=0.0),
            cut_recordings=int((self._audio.full_lengths > self._audio.lengths).sum()),
            cut_queries=int((self._text.full_lengths > self._text.lengths).sum()),
            moment_counts=self._table.counts,
        )


def features_made_by(features_dir: Path, queries: Sequence[Query]) -> dict[str, str]:
    """The `encoder` and `windows` that the features of these queries were made with, if they say so."""
    store = FeatureStore.open(features_dir, kind="audio", ids={query.recording_id for query in queries})
    return _maker(store.made_by)


def negative_index(other: npt.NDArray[np.bool_]) -> Indices:
    """[item] the next item, cyclically, that `other` [item, item] allows; NO_NEGATIVE where there is none."""
    size = len(other)
    following = (np.arange(size)[:, None] + np.arange(1, size + 1)) % size
    allowed = np.take_along_axis(other, following, axis=1)
    first = following[np.arange(size), allowed.argmax(axis=1)]
    return np.where(allowed.any(axis=1), first, NO_NEGATIVE)


def _free_place(place: int, taken: Sequence[int]) -> int:
    """The recording at `place` among those that are not `taken`, which are in order."""
    for holder in taken:
        place += place >= holder
    return place


def _open(files: CorpusFiles, config: ExperimentConfig) -> Corpus:
    """A corpus whose features are what the model reads."""
    queries, folder = read_annotations(files.annotations), files.features
    audio = FeatureStore.open(folder, kind="audio", ids={query.recording_id for query in queries})
    text = FeatureStore.open(folder, kind="text", ids={query.qid for query in queries})
    for kind, store, dim in (("audio", audio, config.model.audio_dim), ("text", text, config.model.text_dim)):
        if store.dim != dim:
            raise FeatureError(
                f"{kind} features are {store.dim} wide, the model reads {dim}",
                folder,
                f"extract them with the model's encoder, or train with model.{kind}_dim={store.dim}",
            )
    _check_maker(audio.made_by, config.features, folder)
    return Corpus(queries=queries, audio=audio, text=text, files=files, made_by=audio.made_by)


def _maker(made_by: Mapping[str, Any]) -> dict[str, str]:
    encoder = made_by.get("encoder")
    name = encoder.get("name") if isinstance(encoder, Mapping) else None
    facts = {"encoder": name, "windows": made_by.get("windows")}
    # of files by others they may be anything
    return {fact: value for fact, value in facts.items() if isinstance(value, str) and value}


def _check_maker(made_by: Mapping[str, Any], reading: FeatureConfig, features_dir: Path) -> None:
    for fact, value in _maker(made_by).items():
        expected = getattr(reading, fact)
        if not (same_places(value, expected) if fact == "windows" else value == expected):
            raise FeatureError(
                f"the features were made with {fact} {value}, the model reads {fact} {expected}",
                features_dir,
                f"extract them anew, or set features.{fact}={value} to train on them",
            )


def _cut(order: Indices, size: int) -> list[Indices]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _free_bytes(device: torch.device) -> float:
    """Memory that a device has left; without limit where the features lie anyway."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float("inf")
