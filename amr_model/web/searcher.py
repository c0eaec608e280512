"""What the page of a collection asks: sentences or a sound in, moments of all recordings out."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amr_model.answer.similarity import MIN_SCORE, READOUT
from amr_model.index.catalog import RECORDINGS, Catalog, read_catalog
from amr_model.index.search import Index, Ranking, as_answers
from amr_model.web.downloads import Takeaway
from amr_model.web.excerpts import Answered, Excerpts, Shown
from amr_model.web.listener import describe
from amr_model.web.telling import Refused, Tell, tell_seconds, untold, watching
from clotho_long.core.units import Seconds
from clotho_long.features.recordings import readable
from clotho_long.features.windows import HOP_S


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a visitor wants to find, and how it is to be shown."""

    sentences: Sequence[str] = ()
    example: Path | None = None  # a sound: what sounds like it?
    only: Sequence[str] = ()  # parts of the names of recordings; none: all recordings
    top: int = 10  # moments of a ranking, at most
    min_score: float = 0.0
    pad_s: Seconds = 3.0  # heard and shown before and after a moment


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a question finds in a collection."""

    rankings: tuple[Ranking, ...]
    shown: tuple[tuple[Shown, ...], ...]  # the moments of each ranking
    names: Mapping[Path, str]  # of the recordings
    made_by: tuple[Mapping[str, Any], ...]  # of each ranking
    searched: tuple[int, Seconds]  # how many recordings, how long together

    @property
    def takeaway(self) -> Takeaway:
        """What of it can be downloaded; the lines are those of `amr search --json`."""
        heard = [s for ranking in self.shown for s in ranking if s.excerpt is not None]
        named = [_renamed(ranking, self.names) for ranking in self.rankings]
        return Takeaway(
            stem="found",
            answers=as_answers(self.rankings),
            names={hit.recording: self.names[hit.recording] for r in self.rankings for hit in r.hits},
            lines=[r.to_json(made_by) for r, made_by in zip(named, self.made_by, strict=True)],
            cuts={s.excerpt.sound.name: s.excerpt.sound for s in heard if s.excerpt is not None},
            one_ranking=True,
        )


class Searcher:
    """An index that is asked over and over. One search at a time; further ones wait.

    Args:
        made_by: what answers to sentences are to be traced back to.
        made_by_sound: what answers to a sound are.
    """

    def __init__(
        self,
        index: Index,
        *,
        made_by: Mapping[str, Any] | None = None,
        made_by_sound: Mapping[str, Any] | None = None,
    ) -> None:
        self._index, self._made_by, self._made_by_sound = index, made_by or {}, made_by_sound or {}
        self._state = _state(index.catalog)
        self._lock = threading.Lock()

    @property
    def understands(self) -> bool:
        """Whether sentences can be asked, not sounds alone."""
        return self._index.finder is not None

    @property
    def description(self) -> str:
        """Which model with which features, and what whoever made them wants to be known."""
        finder = self._index.finder
        if finder is None:
            return describe("S0, for sounds alone,", self._index.encoder)
        return describe(finder.made_by["model"], self._index.encoder)

    @property
    def min_score(self) -> float:
        """The score from which a moment is an answer, unless the visitor says otherwise."""
        return MIN_SCORE if self._index.finder is None else self._index.finder.min_score

    def size(self) -> tuple[int, Seconds]:
        """How many recordings the collection holds now, and how long they are together."""
        return _size(self._latest().catalog)

    def names(self) -> list[str]:
        """What the recordings are called now, in order."""
        return sorted(_names(self._latest().catalog).values())

    def search(self, question: Question, folder: Path, *, tell: Tell = untold) -> Results:
        """Answer a question; sounds and pictures of the moments are written into `folder`.

        Raises:
            Refused: no recording is called so.
            AudioError: the example cannot be read.
            FeatureError, ManifestError: the index is damaged, or was made anew by another encoder.
        """
        with self._lock:
            latest = self._latest()
            names = _names(latest.catalog)
            index = dataclasses.replace(_narrowed(latest, question.only, names), watch=watching(tell))
            answered = [*_by_sentences(index, question), *_by_example(index, question, tell)]
        shown = Excerpts(
            catalog=index.catalog, names=names, folder=folder, pad_s=question.pad_s, tell=tell
        ).of(answered)
        return Results(
            rankings=tuple(one.ranking for one in answered),
            shown=tuple(shown),
            names=names,
            searched=_size(index.catalog),
            made_by=tuple(self._made_by_sound if one.by_sound else self._made_by for one in answered),
        )

    def _latest(self) -> Index:
        """The index with what `amr index` has done to it meanwhile."""
        state = _state(self._index.catalog)
        if state != self._state:
            catalog = read_catalog(self._index.catalog.folder)
            self._index = dataclasses.replace(self._index, catalog=catalog)
            self._state = state
        return self._index


def _size(catalog: Catalog) -> tuple[int, Seconds]:
    return len(catalog.entries), sum(entry.duration_s for entry in catalog.entries.values())


def _by_sentences(index: Index, question: Question) -> list[Answered]:
    finder = index.finder
    if finder is None or not question.sentences:
        return []
    rankings = index.rank(question.sentences, top=question.top, min_score=question.min_score)
    readout = None if finder.made_by["readout"] == "decoder" else finder.readout
    return [Answered(ranking=ranking, readout=readout, row_s=finder.asker.row_s) for ranking in rankings]


def _by_example(index: Index, question: Question, tell: Tell) -> list[Answered]:
    if question.example is None:
        return []
    ranking = index.like(
        question.example,
        top=question.top,
        min_score=max(question.min_score, MIN_SCORE),
        on_heard=lambda done_s: tell_seconds(tell, "Listening to your sound", done_s),
    )
    named = dataclasses.replace(ranking, query=f"sounds like {readable(Path(question.example.name))}")
    return [Answered(ranking=named, readout=READOUT, row_s=float(HOP_S), by_sound=True)]


def _names(catalog: Catalog) -> dict[Path, str]:
    """What recordings are called: their paths below what all that the index looks after has in common."""
    roots = [root.parent if root in catalog.entries else root for root in catalog.roots]
    common = Path(os.path.commonpath(roots)) if roots else Path("/")
    return {
        path: readable(path.relative_to(common) if path.is_relative_to(common) else Path(path.name))
        for path in catalog.entries
    }


def _narrowed(index: Index, only: Sequence[str], names: Mapping[Path, str]) -> Index:
    """The index of the recordings whose names are one of the texts, or hold one that is no whole name."""
    texts = [text.strip().casefold() for text in only if text.strip()]
    if not texts:
        return index
    whole = {name.casefold() for name in names.values()} & set(texts)
    parts = [text for text in texts if text not in whole]
    kept = {
        path
        for path, name in names.items()
        if name.casefold() in whole or any(part in name.casefold() for part in parts)
    }
    if not kept:
        called = " or ".join(f"“{text}”" for text in only)
        raise Refused(f"No recording’s name holds {called}.", "Choose some of the list, or leave it empty.")
    return index.among(kept)


def _renamed(ranking: Ranking, names: Mapping[Path, str]) -> Ranking:
    hits = [dataclasses.replace(hit, recording=Path(names[hit.recording])) for hit in ranking.hits]
    return dataclasses.replace(ranking, hits=tuple(hits))


def _state(catalog: Catalog) -> tuple[int, int, int] | None:
    """What changes whenever `amr index` writes its list of recordings."""
    try:
        state = (catalog.folder / RECORDINGS).stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino
