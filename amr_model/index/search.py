"""One ranking over all recordings of an index, in two stages.

First, where to listen: the seconds whose vectors are nearest to the query; or, where the encoder has no
shared space, what the network says when it hears every place once. Then the whole answer, on the stretches
around these seconds alone: curves are joined and read as for a single recording (`answer.run`). With `exact`
there is no first stage. No sound is decoded: everything is read off the features of the index.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amr_model.answer.answers import Answer, answering, each_query
from amr_model.answer.finder import Asking, Finder
from amr_model.answer.hearing import encode_recording
from amr_model.answer.run import Integers
from amr_model.answer.similarity import MIN_SCORE, SimilarityAsker
from amr_model.answer.stretches import Curve
from amr_model.index.catalog import VECTORS, Catalog, Entry
from amr_model.index.vectors import VectorStore
from clotho_long.core.clock import clock
from clotho_long.core.errors import ConfigError, FeatureError, ManifestError
from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds
from clotho_long.core.work import Watch, unwatched
from clotho_long.features.encoder import Encoder, shared_space
from clotho_long.features.extract import encode_texts
from clotho_long.features.files import Features
from clotho_long.features.recordings import readable
from clotho_long.features.windows import same_places

if TYPE_CHECKING:
    import pandas

SCHEMA = 1  # of `Ranking.to_json`: raised when a field changes its meaning or goes
TOP = 10
CANDIDATES = 50  # places that the second stage listens to, for each query
# Seconds of a recording that are one place. Where the report's stretches of 300 rows begin, every 100, a
# place begins too: just the three stretches hold it that hold each of its seconds.
PLACE_ROWS = 100
NEAR_OF_A_PLACE = 40  # seconds that are looked up for each place: many lie in the same one

Where = dict[str, Integers]  # features id -> rows that matter, of one query


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A moment of some recording."""

    recording: Path
    duration_s: Seconds  # of the recording
    moment: ScoredMoment
    presence: float | None = None  # probability that the recording holds the query; None: not calibrated
    # [row] of the whole recording, as an answer's
    curve: Curve | None = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What a query finds in a collection, best first; no hit is an answer too: nothing found."""

    query: str
    hits: tuple[Hit, ...]

    def to_json(self, made_by: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As JSON-like values, with what made it; docs/search.md says what each field is."""
        return {
            "schema": SCHEMA,
            "query": self.query,
            "moments": [
                {
                    "rank": rank,
                    "recording": readable(hit.recording),
                    "start": hit.moment.onset_s,
                    "end": hit.moment.offset_s,
                    "score": hit.moment.score,
                    "presence": hit.presence,
                }
                for rank, hit in enumerate(self.hits, start=1)
            ],
            **({} if made_by is None else {"made_by": dict(made_by)}),
        }

    def to_text(self) -> str:
        """For people: a heading and a line for each moment."""
        lines = [self.query]
        for rank, hit in enumerate(self.hits, start=1):
            onset_s, offset_s, score = hit.moment
            times = f"{clock(onset_s)} - {clock(offset_s)}"
            lines.append(f"  {rank:3d}  {times:19}  {score:.4f}  {readable(hit.recording)}")
        if not self.hits:
            lines.append("  nothing found")
        return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Index:
    """A collection that was heard, and who answers about it; opened anew, it sees later changes."""

    catalog: Catalog
    encoder: Encoder  # the one that made the features
    finder: Finder | None  # None: nobody can answer a sentence, see `rank`
    watch: Watch = unwatched
    narrowed: bool = False  # recordings were left out, see `among`

    def __post_init__(self) -> None:
        if not self.catalog.entries:
            raise ManifestError(
                "holds no recordings yet",
                self.catalog.folder,
                "run `amr index PATH... --out INDEX` to its end",
            )
        refuse_other_features(self.catalog, self.encoder)
        if self.finder is not None:
            refuse_other_convention(self.catalog, self.finder)

    def among(self, recordings: Container[Path]) -> Index:
        """The index of just some of its recordings.

        Raises:
            ManifestError: it holds none of them.
        """
        kept = {path: entry for path, entry in self.catalog.entries.items() if path in recordings}
        return dataclasses.replace(
            self, catalog=dataclasses.replace(self.catalog, entries=kept), narrowed=True
        )

    def search(
        self,
        queries: Sequence[str] | str,
        *,
        top: int = TOP,
        min_score: float | None = None,
        exact: bool = False,
        candidates: int = CANDIDATES,
    ) -> pandas.DataFrame:
        """A table of the best moments of each query: query, recording, onset_s, offset_s, score.

        Arguments and errors as `rank`.
        """
        return as_table(self.rank(queries, top=top, min_score=min_score, exact=exact, candidates=candidates))

    def rank(
        self,
        queries: Sequence[str] | str,
        *,
        top: int = TOP,
        min_score: float | None = None,
        exact: bool = False,
        candidates: int = CANDIDATES,
    ) -> list[Ranking]:
        """The best moments of each query over all recordings. Each recording is read once for all of them.

        Args:
            top: moments of a ranking, at most.
            min_score: moments below are left out; None for the calibrated one, if there is one.
            exact: listen to everything.
            candidates: places that are listened to otherwise, for each query.

        Raises:
            ConfigError: a query is empty; LanceDB is missing; there is no checkpoint, and the encoder cannot
                compare sounds with sentences.
            FeatureError: features or vectors are missing or damaged.
        """
        if self.finder is None:
            raise ConfigError(
                f"{self.catalog.folder} was made by {self.encoder.name}, which has no space that sounds and "
                "sentences share",
                "--checkpoint",
                "name a network that learnt on its features",
            )
        queries = each_query(queries)
        texts, asker = self.finder.prepare(queries), self.finder.asker
        where = None if exact else self._places(queries, texts, asker, candidates)
        least = self.finder.min_score if min_score is None else min_score
        return self._ranked(queries, texts, asker, where, top=top, least=least)

    def like(
        self,
        sound: Path | str,
        *,
        top: int = TOP,
        min_score: float = MIN_SCORE,
        exact: bool = False,
        candidates: int = CANDIDATES,
        on_heard: Callable[[Seconds], None] = lambda heard_s: None,
    ) -> Ranking:
        """The moments that sound like a recording does on average; no network is asked. Arguments as `rank`.

        Args:
            on_heard: is told how many seconds of the sound are encoded.

        Raises:
            AudioError: the sound cannot be read.
            ConfigError, FeatureError: as `rank`.
        """
        sound, hearing = Path(sound), self.catalog.hearing
        encoded = encode_recording(sound, self.encoder, hearing.windows, hearing.sound, on_heard=on_heard)
        asker = SimilarityAsker(space=shared_space(self.encoder))
        vector = asker.vector_of(encoded.rows)
        where = None
        if not exact and self.catalog.space_dim is not None:
            where = [_of_near(near, candidates) for near in self._near(vector, candidates)]
        (ranking,) = self._ranked([readable(sound)], [vector], asker, where, top=top, least=min_score)
        return ranking

    def _places(
        self, queries: Sequence[str], texts: Sequence[Features], asker: Asking, candidates: int
    ) -> list[Where]:
        """Where to listen, for each query."""
        space = shared_space(self.encoder)
        if space is None or self.catalog.space_dim is None:
            return self._glanced(texts, asker, candidates)
        vectors = space.project_texts(encode_texts(queries, self.encoder))
        return [_of_near(near, candidates) for near in self._near(vectors, candidates)]

    def _near(self, vectors: Features, candidates: int) -> list[list[tuple[float, str, int]]]:
        """[query][second] similarity, features id and row, best first."""
        known = self.catalog.contents
        among = known if self.narrowed else None
        found = self._store.nearest(vectors, NEAR_OF_A_PLACE * candidates, among=among)
        return [
            [(n.similarity, n.recording, n.second) for n in near if n.recording in known] for near in found
        ]

    @functools.cached_property
    def _store(self) -> VectorStore:
        """The vectors, opened once: a store remembers what it read."""
        assert self.catalog.space_dim is not None
        store = VectorStore(self.catalog.folder / VECTORS, self.catalog.space_dim)
        if len(store) == 0:
            raise FeatureError(
                "holds no vectors", self.catalog.folder / VECTORS, "run `amr index` again, it makes them anew"
            )
        return store

    def _glanced(self, texts: Sequence[Features], asker: Asking, candidates: int) -> list[Where]:
        """Where rough curves are highest: what is left where vectors say nothing."""
        best: list[list[tuple[float, str, int]]] = [[] for _ in texts]
        contents = self.catalog.contents
        names = list(contents)
        for name in self.watch(names, total=len(names), label="looking", unit="recording"):
            curves = asker.glance(self.catalog.features(contents[name]), texts)
            for found, curve in zip(best, curves, strict=True):
                found += [(value, name, row) for value, row in _peaks(curve)]
        return [_of_near(heapq.nsmallest(candidates, found, key=_best_first), candidates) for found in best]

    def _ranked(
        self,
        queries: Sequence[str],
        texts: Sequence[Features],
        asker: Asking,
        where: Sequence[Where] | None,
        *,
        top: int,
        least: float,
    ) -> list[Ranking]:
        hits: list[list[Hit]] = [[] for _ in queries]
        for entry, members in self._to_read(len(queries), where):
            if where is None:
                features, rows = self.catalog.features(entry), None
            else:
                features = self.catalog.mapped_features(entry)
                rows = [where[query][entry.features_id] for query in members]
            found = asker.ask(features, entry.duration_s, [texts[q] for q in members], where=rows)
            for query, answer in zip(members, found, strict=True):
                moments = answering(answer.moments, least, limit=top)
                hits[query] += [
                    Hit(
                        recording=entry.path,
                        duration_s=entry.duration_s,
                        moment=moment,
                        presence=answer.presence,
                        curve=answer.curve,
                    )
                    for moment in moments
                ]
                hits[query] = heapq.nsmallest(top, hits[query], key=_order)
        return [Ranking(query=query, hits=tuple(own)) for query, own in zip(queries, hits, strict=True)]

    def _to_read(self, num_queries: int, where: Sequence[Where] | None) -> Iterator[tuple[Entry, list[int]]]:
        """Each recording that has to be read, with the queries that are asked of it."""
        contents = self.catalog.contents
        asked = {
            name: [q for q in range(num_queries) if where is None or name in where[q]] for name in contents
        }
        names = [name for name, members in asked.items() if members]
        for name in self.watch(names, total=len(names), label="listening", unit="recording"):
            yield contents[name], asked[name]


def as_answers(rankings: Iterable[Ranking]) -> list[Answer]:
    """The rankings as answers of single recordings, in the order of their best moments: to be exported."""
    answers: list[Answer] = []
    for ranking in rankings:
        of_recording: dict[Path, list[Hit]] = defaultdict(list)
        for hit in ranking.hits:
            of_recording[hit.recording].append(hit)
        answers += [
            Answer(
                recording=recording,
                query=ranking.query,
                duration_s=hits[0].duration_s,
                moments=tuple(hit.moment for hit in hits),
                presence=hits[0].presence,
                curve=hits[0].curve,
            )
            for recording, hits in of_recording.items()
        ]
    return answers


def as_table(rankings: Iterable[Ranking]) -> pandas.DataFrame:
    """A row a moment: query, recording, onset_s, offset_s, score."""
    import pandas

    columns = ["query", "recording", "onset_s", "offset_s", "score"]
    rows = [(ranking.query, str(hit.recording), *hit.moment) for ranking in rankings for hit in ranking.hits]
    return pandas.DataFrame(rows, columns=columns)


def refuse_other_features(catalog: Catalog, encoder: Encoder) -> None:
    """Queries must be encoded as the features of the index were.

    Raises:
        FeatureError: they are not: another encoder, or other weights.
    """
    theirs, ours = encoder.provenance(), catalog.made_by
    if any(theirs.get(fact) != ours.get(fact) for fact in {*theirs, *ours} - {"precision"}):
        raise FeatureError(
            f"was made by another {catalog.hearing.encoder} than the one that answers",
            catalog.folder,
            "give the weights that it was made with, with --weights",
        )


def refuse_other_convention(catalog: Catalog, finder: Finder) -> None:
    """A row must stand for the second for which it stood when a network learnt.

    Raises:
        FeatureError: it does not.
    """
    if not same_places(finder.windows, catalog.hearing.windows):
        raise FeatureError(
            f"has {catalog.hearing.windows} windows, and the checkpoint learnt on {finder.windows} ones",
            catalog.folder,
            "index the recordings anew with --windows",
        )


def refuse_other_encoder(catalog: Catalog, name: str) -> None:
    """What a network learnt on must be what the index holds: features of the encoder called `name`.

    Raises:
        FeatureError: they are not.
    """
    if name != catalog.hearing.encoder:
        raise FeatureError(
            f"holds features of {catalog.hearing.encoder}, and the checkpoint learnt on those of {name}",
            catalog.folder,
            "index the recordings with that encoder, or take another checkpoint",
        )


def _of_near(near: Sequence[tuple[float, str, int]], candidates: int) -> Where:
    """The first `candidates` places among seconds, best first: all rows of each."""
    places: dict[tuple[str, int], None] = {}  # in order
    for _, name, row in near:
        if len(places) == candidates:
            break
        places.setdefault((name, row // PLACE_ROWS))
    rows: dict[str, list[Integers]] = defaultdict(list)
    for name, place in places:
        rows[name].append(np.arange(place * PLACE_ROWS, (place + 1) * PLACE_ROWS))
    return {name: np.concatenate(own) for name, own in rows.items()}


def _peaks(curve: np.ndarray[Any, Any]) -> list[tuple[float, int]]:
    """The highest row of each place along a curve, with its value."""
    starts = range(0, len(curve), PLACE_ROWS)
    rows = [start + int(np.argmax(curve[start : start + PLACE_ROWS])) for start in starts]
    return [(float(curve[row]), row) for row in rows]


def _best_first(near: tuple[float, str, int]) -> tuple[float, str, int]:
    value, name, row = near
    return -value, name, row


def _order(hit: Hit) -> tuple[float, str, float]:
    """Best first; of equals always in the same order."""
    return -hit.moment.score, str(hit.recording), hit.moment.onset_s
