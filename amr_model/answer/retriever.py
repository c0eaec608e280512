"""Moments in new recordings of any length: from audio files and sentences to scored moments.

The one module of this package that reads audio.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from amr_model.answer.calibration import Calibration
from amr_model.answer.pictures import plot_answers as plot_answers
from amr_model.answer.readout import ReadoutConfig
from amr_model.answer.run import Asker, Found, Integers, distinct_moments
from amr_model.answer.stretches import Curve
from amr_model.checkpoint import load_calibrated
from amr_model.config import ExperimentConfig, override_answering
from amr_model.tensors import Batch, Outputs
from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.io import probe, stream_mono
from clotho_long.core.clock import clock
from clotho_long.core.errors import ConfigError
from clotho_long.core.predictions import MAX_RANKED
from clotho_long.core.records import ScoredMoment
from clotho_long.core.units import Seconds
from clotho_long.core.wall_clock import clock_time
from clotho_long.core.work import Workers
from clotho_long.features.encode import Problem, Recording, encode_recordings
from clotho_long.features.encoder import Encoder, encoder_device
from clotho_long.features.extract import EncoderChoice, WindowChoice, encode_piece, encode_texts, pieces_of
from clotho_long.features.files import AUDIO_KEY, Features, audio_file, read_features
from clotho_long.features.recordings import readable
from clotho_long.features.windows import Convention

logger = logging.getLogger(__name__)

SCHEMA = 1  # of `Answer.to_json`: raised when a field changes its meaning or goes
DISTINCT = 0.5  # of two moments that share more of the shorter one, people get the better
ROWS_AT_A_TIME = 16  # between two words about how far the encoder is


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class Answer:
    """Where a recording answers a query, best first; no moment is an answer too: nothing found."""

    recording: Path
    query: str
    duration_s: Seconds
    moments: tuple[ScoredMoment, ...]
    presence: float | None = None  # probability that the recording holds it at all; None: not calibrated
    curve: Curve | None = dataclasses.field(default=None, repr=False, compare=False)  # [row] logits
    began: datetime | None = None  # when the recording began, by the wall clock; None: not known

    def to_json(self, made_by: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer as JSON-like values, with what made it; docs/evaluation.md says what each field is."""
        return {
            "schema": SCHEMA,
            "recording": str(self.recording),
            "query": self.query,
            "duration": round(self.duration_s, 3),
            "presence": self.presence,
            "moments": [
                {
                    "rank": rank,
                    "start": moment.onset_s,
                    "end": moment.offset_s,
                    "score": moment.score,
                    **({} if self.began is None else self._clock_times(self.began, moment)),
                }
                for rank, moment in enumerate(self.moments, start=1)
            ],
            **({} if made_by is None else {"made_by": dict(made_by)}),
        }

    @staticmethod
    def _clock_times(began: datetime, moment: ScoredMoment) -> dict[str, str]:
        return {
            "clock_start": clock_time(began, moment.onset_s),
            "clock_end": clock_time(began, moment.offset_s),
        }

    def to_text(self) -> str:
        """The answer for people: a heading and a line for each moment."""
        held = "" if self.presence is None else f"  (in this recording: {100 * self.presence:.0f} %)"
        lines = [f"{readable(self.recording)}: {self.query}{held}"]
        for moment in self.moments:
            when = "" if self.began is None else f"   {clock_time(self.began, moment.onset_s)}"
            lines.append(f"  {clock(moment.onset_s)} - {clock(moment.offset_s)}   {moment.score:.4f}{when}")
        if not self.moments:
            lines.append("  nothing found")
        return "\n".join(lines) + "\n"


class FoundMoment(NamedTuple):
    """A moment that answers a sentence, and the recording that holds it."""

    onset_s: Seconds
    offset_s: Seconds
    score: float
    recording: Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A recording as a network reads it."""

    rows: Features  # [second, dim]
    duration_s: Seconds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retriever:
    """A network with the encoder whose features it reads, ready to be asked about recordings."""

    network: Callable[[Batch], Outputs]  # in evaluation mode, on `device`
    config: ExperimentConfig
    encoder: Encoder
    device: torch.device
    sound: SoundChoice = dataclasses.field(default_factory=SoundChoice)
    calibration: Calibration | None = None

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
        """Encode a recording; errors as `find`. `on_heard` is told how many seconds are encoded."""
        windows = self.config.features.windows
        return encode_recording(recording, self.encoder, windows, self.sound, on_heard=on_heard)

    def answer(
        self,
        recording: Path,
        encoded: Encoded,
        queries: Sequence[str] | str,
        *,
        num_moments: int | None = MAX_RANKED,
        min_score: float | None = None,
    ) -> list[Answer]:
        """Answer each query for a recording that was heard before; arguments and errors as `find`.

        No two moments of an answer are the same one: of two that share more than half of the shorter, the
        better stays. (S1 to S4 of the report rank without such a step, and `amr evaluate` leaves it so.)
        """
        return answer_all(self, recording, encoded, queries, num_moments=num_moments, min_score=min_score)

    def prepare(self, queries: Sequence[str]) -> list[Features]:
        """Each query as the network reads it: [token, dim]."""
        return encode_texts(queries, self.encoder)

    @property
    def asker(self) -> Asker:
        """What is asked about recordings."""
        return Asker(
            network=self.network,
            config=self.config,
            device=self.device,
            calibration=self.calibration,
            num_moments=None,
        )

    @property
    def made_by(self) -> dict[str, str]:
        """Who answers, for whoever reads the answers."""
        return {
            "model": self.config.system,
            "readout": self.config.inference.readout,
            "encoder": self.encoder.name,
        }

    @property
    def windows(self) -> Convention:
        """Where the windows of its features lie."""
        return self.config.features.windows

    @property
    def readout(self) -> ReadoutConfig:
        """How curves are read: as calibrated, else by their shape."""
        return ReadoutConfig() if self.calibration is None else self.calibration.readout

    @property
    def min_score(self) -> float:
        """The score from which a moment is an answer: as calibrated for the read-out, else everything is."""
        by_curve = self.config.inference.readout != "decoder"
        return self.calibration.min_score if self.calibration is not None and by_curve else 0.0


def load_retriever(
    checkpoint: Path | str,
    device: torch.device,
    *,
    encoder: str | None = None,
    weights: Path | None = None,
    settings: Sequence[str] = (),
    sound: SoundChoice | None = None,
) -> Retriever:
    """A checkpoint, ours or a public one, with its encoder; arguments as `amr_model.load`.

    Raises:
        ConfigError, TrainingError, FeatureError: as `load_calibrated`, `override_answering` and the encoder.
    """
    network, config, calibration = load_calibrated(checkpoint, device)
    config = override_answering(config, settings)
    return Retriever(
        network=network,
        config=config,
        encoder=listener_for(config, name=encoder, weights=weights, device=device).load(),
        device=device,
        sound=sound or SoundChoice(),
        calibration=calibration,
    )


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


class Finder(Protocol):
    """Somebody who answers queries: `Retriever`, `similarity.SimilarityRetriever`."""

    @property
    def encoder(self) -> Encoder:
        """Whose features it reads."""
        ...

    @property
    def asker(self) -> Asking:
        """What is asked about recordings."""
        ...

    @property
    def readout(self) -> ReadoutConfig:
        """How curves are read."""
        ...

    @property
    def min_score(self) -> float:
        """The score from which a moment is an answer, unless told otherwise."""
        ...

    @property
    def made_by(self) -> dict[str, str]:
        """Who answers: `model`, `readout`, `encoder`."""
        ...

    @property
    def windows(self) -> Convention:
        """Where the windows of its features lie."""
        ...

    @property
    def sound(self) -> SoundChoice:
        """What is heard of a file."""
        ...

    def hear(self, recording: Path, *, on_heard: Callable[[Seconds], None] = lambda heard_s: None) -> Encoded:
        """Encode a recording; `on_heard` is told how many seconds are encoded."""
        ...

    def prepare(self, queries: Sequence[str]) -> list[Features]:
        """Each query as its asker takes it."""
        ...

    def answer(
        self,
        recording: Path,
        encoded: Encoded,
        queries: Sequence[str] | str,
        *,
        num_moments: int | None = MAX_RANKED,
        min_score: float | None = None,
    ) -> list[Answer]:
        """Answer each query for a recording that was heard before."""
        ...


def answer_all(
    finder: Finder,
    recording: Path,
    encoded: Encoded,
    queries: Sequence[str] | str,
    *,
    num_moments: int | None,
    min_score: float | None,
) -> list[Answer]:
    """What `Retriever.answer` says, of any finder."""
    queries = each_query(queries)
    least = finder.min_score if min_score is None else min_score
    found = finder.asker.ask(encoded.rows, encoded.duration_s, finder.prepare(queries))
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


def answering(
    moments: Sequence[ScoredMoment], least: float, *, limit: int | None
) -> tuple[ScoredMoment, ...]:
    """Those of the moments, best first, that people get: good enough, and no two of them the same one."""
    return distinct_moments([m for m in moments if m.score >= least], limit=limit, most=DISTINCT)


def each_query(queries: Sequence[str] | str) -> Sequence[str]:
    """The queries, checked before anything is encoded; one text is one query, not its letters.

    Raises:
        ConfigError: a query is empty, or there is none.
    """
    if isinstance(queries, str):
        queries = (queries,)
    if not queries or not all(query.strip() for query in queries):
        raise ConfigError("a query is empty", "--query", "write what you want to hear")
    return queries


def listener_for(
    config: ExperimentConfig, *, name: str | None, weights: Path | None, device: torch.device
) -> EncoderChoice:
    """The encoder whose features a model reads, or the one called `name`."""
    chosen = name or config.features.encoder
    return EncoderChoice(name=chosen, weights=weights, device=encoder_device(chosen, str(device)))


def encode_recording(
    path: Path,
    encoder: Encoder,
    windows: Convention,
    sound: SoundChoice | None = None,
    *,
    on_heard: Callable[[Seconds], None] = lambda heard_s: None,
) -> Encoded:
    """The features of a recording, read piece by piece; what was mended in it is logged.

    Args:
        on_heard: is told how many seconds are encoded.
    """
    choice = sound or SoundChoice()
    stream = stream_mono(path, encoder.sample_rate_hz, channels=choice.channels, track=choice.track)
    rows: list[Features] = []
    for piece in pieces_of(stream, encoder, WindowChoice(convention=windows)):
        # the numbers of a window do not depend on those that it comes with: small steps for who waits
        for start in range(0, len(piece), ROWS_AT_A_TIME):
            rows.append(encode_piece(piece[start : start + ROWS_AT_A_TIME], encoder))
            on_heard(float(sum(map(len, rows))))
    assert stream.notes is not None, "windows are cut until the sound ends"
    if notes := str(stream.notes):
        logger.warning("note: %s: %s", readable(path), notes)
    return Encoded(rows=np.concatenate(rows), duration_s=stream.notes.duration_s)


def encode_into(
    features_dir: Path,
    recordings: Sequence[Recording],
    encoder: EncoderChoice,
    windows: Convention,
    workers: Workers,
) -> tuple[Problem, ...]:
    """Write features for `read_encoded`, as `clotho-long features` does; what could not be encoded.

    What is there already stays if just this encoder made it from just this sound.

    Raises:
        ConfigError, FeatureError, ManifestError: as `encode_recordings`.
    """
    choice = WindowChoice(convention=windows)
    return encode_recordings(
        recordings, features_dir, encoder=encoder, windows=choice, workers=workers
    ).problems


def read_encoded(features_dir: Path, recording: Path, recording_id: str = "") -> Encoded:
    """What `encode_into` or `clotho-long features` wrote of a recording, by default under its stem.

    Raises:
        AudioError: the recording cannot be read.
        FeatureError: there are no features of it.
    """
    rows, made_by = read_features(audio_file(features_dir, recording_id or recording.stem), AUDIO_KEY)
    duration_s = (made_by or {}).get("duration_s")
    if not isinstance(duration_s, int | float):
        # of earlier versions and of others: decoded for its length, as what a file says of it may be wrong
        num_samples = sum(map(len, stream_mono(recording)))
        duration_s = num_samples / probe(recording).sample_rate_hz
    return Encoded(rows=rows, duration_s=float(duration_s))


def answer_rows(
    rows: Features,
    duration_s: Seconds,
    text: Features,
    network: Callable[[Batch], Outputs],
    config: ExperimentConfig,
    *,
    num_moments: int | None = MAX_RANKED,
    device: torch.device | None = None,
    calibration: Calibration | None = None,
) -> tuple[ScoredMoment, ...]:
    """The moments of one recording, given as features [row, dim], that answer a query [token, dim]."""
    asker = Asker(
        network=network,
        config=config,
        device=device or torch.device("cpu"),
        calibration=calibration,
        num_moments=num_moments,
    )
    return asker.ask(rows, duration_s, [text])[0].moments
