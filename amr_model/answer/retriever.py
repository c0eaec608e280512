"""Moments in new recordings: from audio files and sentences to ranked windows.

A recording that is longer than the model was trained on (`audio_max` rows, 300 s) is answered in overlapping
chunks, see `amr_model.answer.stretches`. What can depend on their borders: see docs/evaluation.md.

The one module of this package that reads audio.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic.dataclasses import dataclass

from amr_model.answer.run import predict_set
from amr_model.answer.stretches import ChunkAnswer, chunk_starts, merge
from amr_model.config import ExperimentConfig
from amr_model.data.sets import RetrievalSet
from amr_model.tensors import Batch, Outputs
from clotho_long.audio.io import Waveform, probe, stream_mono, write_audio
from clotho_long.audio.spectrogram import spectrogram, to_png
from clotho_long.core.errors import ConfigError
from clotho_long.core.files import atomic_path
from clotho_long.core.predictions import MAX_RANKED, RankedWindow
from clotho_long.core.records import Query
from clotho_long.core.units import Hertz, Seconds
from clotho_long.core.work import Workers
from clotho_long.features.encode import Problem, Recording, encode_recordings
from clotho_long.features.encoder import Encoder, encoder_device
from clotho_long.features.extract import EncoderChoice, WindowChoice, encode_piece, encode_texts, pieces_of
from clotho_long.features.files import AUDIO_KEY, Features, audio_file, read_features
from clotho_long.features.windows import Convention

CHUNK_ROWS = 300  # where the settings of the model name no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where a recording answers a query, best first."""

    recording: Path
    query: str
    duration_s: Seconds
    windows: tuple[RankedWindow, ...]

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON-like values."""
        return {
            "recording": str(self.recording),
            "query": self.query,
            "duration": round(self.duration_s, 3),
            "moments": [
                {"start": onset_s, "end": offset_s, "score": score}
                for onset_s, offset_s, score in self.windows
            ],
        }

    def to_text(self) -> str:
        """The answer for people: a heading and a line for each moment."""
        lines = [f"{self.recording}: {self.query}"]
        for onset_s, offset_s, score in self.windows:
            lines.append(f"  {_clock(onset_s)} - {_clock(offset_s)}   {score:.4f}")
        return "\n".join(lines) + "\n"


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

    def find(
        self, recording: Path | str, queries: Sequence[str] | str, *, num_windows: int = MAX_RANKED
    ) -> list[Answer]:
        """Answer each query, or the one, for a recording of any length and format.

        Raises:
            ConfigError: a query is empty.
            AudioError: the recording cannot be read.
            FeatureError: the encoder does not give what the network reads.
        """
        recording = Path(recording)
        return self.answer(recording, self.hear(recording), queries, num_windows=num_windows)

    def hear(self, recording: Path) -> Encoded:
        """Encode a recording; errors as `find`."""
        return encode_recording(recording, self.encoder, self.config.targets.windows)

    def answer(
        self,
        recording: Path,
        encoded: Encoded,
        queries: Sequence[str] | str,
        *,
        num_windows: int = MAX_RANKED,
    ) -> list[Answer]:
        """Answer each query for a recording that was heard before; errors as `find`."""
        if isinstance(queries, str):  # a sequence too, of letters
            queries = (queries,)
        if not all(query.strip() for query in queries):
            raise ConfigError("a query is empty", "--query", "write what you want to hear")
        return [
            Answer(
                recording=recording,
                query=query,
                duration_s=encoded.duration_s,
                windows=answer_rows(
                    encoded.rows,
                    encoded.duration_s,
                    query,
                    text,
                    self.network,
                    self.config,
                    num_windows=num_windows,
                    device=self.device,
                ),
            )
            for query, text in zip(queries, encode_texts(queries, self.encoder), strict=True)
        ]


def listener_for(
    config: ExperimentConfig, *, name: str | None, weights: Path | None, device: torch.device
) -> EncoderChoice:
    """The encoder whose features a model reads, or the one called `name`."""
    chosen = name or config.targets.encoder
    return EncoderChoice(name=chosen, weights=weights, device=encoder_device(chosen, str(device)))


def encode_recording(path: Path, encoder: Encoder, windows: Convention) -> Encoded:
    """The features of a recording, read piece by piece."""
    num_samples = 0

    def counted() -> Iterator[Waveform]:
        nonlocal num_samples
        for block in stream_mono(path, encoder.sample_rate_hz):
            num_samples += len(block)
            yield block

    choice = WindowChoice(convention=windows)
    rows = [encode_piece(piece, encoder) for piece in pieces_of(counted(), encoder, choice)]
    return Encoded(rows=np.concatenate(rows), duration_s=num_samples / encoder.sample_rate_hz)


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


def read_encoded(features_dir: Path, recording: Path) -> Encoded:
    """What `encode_into` or `clotho-long features` wrote of a recording.

    Raises:
        AudioError: the recording cannot be read.
        FeatureError: there are no features of it.
    """
    rows, _ = read_features(audio_file(features_dir, recording.stem), AUDIO_KEY)
    # decoded for its length: what a file says of it is not always so
    num_samples = sum(map(len, stream_mono(recording)))
    return Encoded(rows=rows, duration_s=num_samples / probe(recording).sample_rate_hz)


def answer_rows(
    rows: Features,
    duration_s: Seconds,
    query: str,
    text: Features,
    network: Callable[[Batch], Outputs],
    config: ExperimentConfig,
    *,
    num_windows: int = MAX_RANKED,
    device: torch.device | None = None,
) -> tuple[RankedWindow, ...]:
    """The windows of one recording, given as features [row, dim], that answer a query [token, dim]."""
    size = config.targets.audio_max or CHUNK_ROWS
    starts = chunk_starts(len(rows), size)
    clip_s = config.targets.clip_s
    chunks = {str(start): rows[start : start + size] for start in starts}
    asked = [
        Query(
            qid=name,
            query=query,
            recording_id=name,
            # the last chunk ends where the recording ends, the others where their rows end
            duration_s=duration_s - int(name) * clip_s if int(name) == starts[-1] else len(chunk) * clip_s,
            moments=(),
        )
        for name, chunk in chunks.items()
    ]
    data = RetrievalSet(asked, chunks, dict.fromkeys(chunks, text), config, device=device)
    predictions = predict_set(network, data, config)
    if len(starts) == 1:
        return predictions[0].windows[:num_windows]
    answers = []
    for start, prediction in zip(starts, predictions, strict=True):
        shift_s = start * clip_s
        answers.append(
            ChunkAnswer(
                onset_s=shift_s if start > 0 else -math.inf,
                offset_s=shift_s + size * clip_s if start != starts[-1] else math.inf,
                windows=tuple((a + shift_s, b + shift_s, score) for a, b, score in prediction.windows),
            )
        )
    return merge(answers, grid_s=clip_s, num_windows=num_windows)


def cut_moments(answer: Answer, folder: Path, *, prefix: str = "") -> list[Path]:
    """Write each moment of an answer as a mono wav at the recording's own rate; returns the files.

    The recording is read once, and no more of it is held than what is cut.
    """
    rate_hz = probe(answer.recording).sample_rate_hz
    pieces: list[list[Waveform]] = [[] for _ in answer.windows]
    start = 0
    for block in stream_mono(answer.recording):
        for place, (onset_s, offset_s, _) in enumerate(answer.windows):
            low, high = (round(edge * rate_hz) - start for edge in (onset_s, offset_s))
            if low < len(block) and high > 0:
                pieces[place].append(block[max(low, 0) : high].copy())
        start += len(block)
    return [
        _write_cut(folder, f"{prefix}{answer.recording.stem}", rank, window, piece, rate_hz)
        for rank, (window, piece) in enumerate(zip(answer.windows, pieces, strict=True), start=1)
        if piece
    ]


def plot_answers(answers: Sequence[Answer], path: Path) -> None:
    """A panel for each answer: its windows on the recording's spectrogram, best on top, with their scores."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    recordings = dict.fromkeys(answer.recording for answer in answers)
    pictures = {recording: imread(io.BytesIO(to_png(spectrogram(recording)))) for recording in recordings}

    heights = [1.2 + 0.25 * len(answer.windows) for answer in answers]
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    panels = figure.subplots(len(answers), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, answer in zip(panels, answers, strict=True):
        whole = (0, answer.duration_s, max(1, len(answer.windows)) + 0.5, 0.5)
        axes.imshow(pictures[answer.recording], extent=whole, aspect="auto", cmap="gray")
        for rank, (onset_s, offset_s, score) in enumerate(answer.windows, start=1):
            axes.barh(rank, offset_s - onset_s, left=onset_s, height=0.6, alpha=0.75)
            axes.annotate(f"{score:.3f}", ((onset_s + offset_s) / 2, rank), ha="center", va="center")
        axes.set(xlim=(0, answer.duration_s), yticks=range(1, len(answer.windows) + 1), xlabel="seconds")
        axes.set_title(f"{answer.query}  ({answer.recording.name})", loc="left", fontsize=9)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120)


def _clock(time_s: Seconds) -> str:
    return f"{int(time_s) // 60:3d}:{time_s % 60:04.1f}"


def _write_cut(
    folder: Path, stem: str, rank: int, window: RankedWindow, pieces: list[Waveform], rate_hz: Hertz
) -> Path:
    path = folder / f"{stem}-{rank:02d}-{window[0]:g}-{window[1]:g}s.wav"
    write_audio(path, np.concatenate(pieces), rate_hz)
    return path
