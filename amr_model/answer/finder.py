"""Whoever finds moments in recordings: what all of them do, and what each says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from amr_model.answer.answers import Answer, FoundMoment, answering, each_query
from amr_model.answer.hearing import Encoded, encode_recording
from amr_model.answer.readout import ReadoutConfig
from amr_model.answer.run import Found, Integers
from amr_model.answer.stretches import Curve
from clotho_long.audio.choice import SoundChoice
from clotho_long.core.predictions import MAX_RANKED
from clotho_long.core.units import Seconds
from clotho_long.features.encoder import Encoder
from clotho_long.features.files import Features
from clotho_long.features.windows import Convention


class Asking(Protocol):
    """What is asked about the rows of a recording: `run.Asker`, `similarity.SimilarityAsker`."""

    @property
    def row_s(self) -> Seconds:
        """Seconds from one row to the next."""
        ...

    def ask(
        self,
        rows: Features,
        duration_s: Seconds,
        texts: Sequence[Features],
        *,
        where: Sequence[Integers] | None = None,
    ) -> list[Found]:
        """What each query finds in a recording; `where`: the rows that matter to each."""
        ...

    def glance(self, rows: Features, texts: Sequence[Features]) -> list[Curve]:
        """A rough curve of each query, [row], to find out where to ask."""
        ...


class Finder(ABC):
    """Answers queries about recordings: `retriever.Retriever`, `similarity.SimilarityRetriever`."""

    __slots__ = ()

    encoder: Encoder  # whose features it reads
    sound: SoundChoice  # what is heard of a file

    @property
    @abstractmethod
    def asker(self) -> Asking:
        """What is asked about recordings."""

    @property
    @abstractmethod
    def readout(self) -> ReadoutConfig:
        """How curves are read."""

    @property
    @abstractmethod
    def min_score(self) -> float:
        """The score from which a moment is an answer, unless told otherwise."""

    @property
    @abstractmethod
    def made_by(self) -> dict[str, str]:
        """Who answers, for whoever reads the answers: `model`, `readout`, `encoder`."""

    @property
    @abstractmethod
    def windows(self) -> Convention:
        """Where the windows of its features lie."""

    @abstractmethod
    def prepare(self, queries: Sequence[str]) -> list[Features]:
        """Each query as its asker takes it."""

    def find(
        self,
        recording: Path | str,
        query: str,
        *,
        top: int | None = MAX_RANKED,
        min_score: float | None = None,
    ) -> list[FoundMoment]:
        """The moments of a recording that a sentence describes, best first; arguments as `answers`."""
        (answer,) = self.answers(recording, query, num_moments=top, min_score=min_score)
        return [FoundMoment(*moment, answer.recording) for moment in answer.moments]

    def answers(
        self,
        recording: Path | str,
        queries: Sequence[str] | str,
        *,
        num_moments: int | None = MAX_RANKED,
        min_score: float | None = None,
    ) -> list[Answer]:
        """Answer each query, or the one, for a recording of any length and format.

        Args:
            num_moments: moments of an answer; None for all.
            min_score: moments below are left out; None for the calibrated one, if there is one.

        Raises:
            ConfigError: a query is empty.
            AudioError: the recording cannot be read.
            FeatureError: the encoder does not give what the network reads.
        """
        recording, queries = Path(recording), each_query(queries)
        heard = self.hear(recording)
        return self.answer(recording, heard, queries, num_moments=num_moments, min_score=min_score)

    def hear(self, recording: Path, *, on_heard: Callable[[Seconds], None] = lambda heard_s: None) -> Encoded:
        """Encode a recording; errors as `answers`. `on_heard` is told how many seconds are encoded."""
        return encode_recording(recording, self.encoder, self.windows, self.sound, on_heard=on_heard)

    def answer(
        self,
        recording: Path,
        encoded: Encoded,
        queries: Sequence[str] | str,
        *,
        num_moments: int | None = MAX_RANKED,
        min_score: float | None = None,
    ) -> list[Answer]:
        """Answer each query for a recording that was heard before; arguments and errors as `answers`.

        No two moments of an answer are the same one: of two that share more than half of the shorter, the
        better stays. (S1 to S4 of the report rank without such a step, and `amr evaluate` leaves it so.)
        """
        queries = each_query(queries)
        least = self.min_score if min_score is None else min_score
        found = self.asker.ask(encoded.rows, encoded.duration_s, self.prepare(queries))
        return [
            Answer(
                recording=recording,
                query=query,
                duration_s=encoded.duration_s,
                moments=answering(answer.moments, least, limit=num_moments),
                presence=answer.presence,
                curve=answer.curve,
            )
            for query, answer in zip(queries, found, strict=True)
        ]
