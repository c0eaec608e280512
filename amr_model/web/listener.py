"""What the page asks: a recording and some sentences in, everything that it shows out."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from amr_model.config import ExperimentConfig
from amr_model.predict import Answer, answer_rows, cut_moments, encode_recording
from amr_model.tensors import Batch, Outputs
from clotho_long.audio.spectrogram import Spectrogram, spectrogram
from clotho_long.core.errors import AudioError
from clotho_long.core.feature_files import Features
from clotho_long.features.encoder import Encoder
from clotho_long.features.extract import encode_texts

RECORDINGS_KEPT = 4  # whose features are kept: another query of the same recording is answered at once
SILENCE_DB = -90.0  # no band ever louder: the rounding noise of 16-bit audio


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a recording answers to some queries, to look at and to listen to."""

    picture: Spectrogram
    answers: tuple[Answer, ...]  # one for each query
    cuts: tuple[tuple[Path, ...], ...]  # the sound of each answer's windows


class Listener:
    """A network with the encoder it was trained with, ready to be asked."""

    def __init__(
        self,
        network: Callable[[Batch], Outputs],
        config: ExperimentConfig,
        encoder: Encoder,
        device: torch.device,
    ) -> None:
        self._network = network
        self._config = config
        self._encoder = encoder
        self._device = device
        # by path and time of change
        self._kept = functools.lru_cache(maxsize=RECORDINGS_KEPT)(self._examine)

    @property
    def description(self) -> str:
        """Which model with which features, and what whoever made them wants to be known."""
        note = self._encoder.provenance().get("note")
        return f"System {self._config.system} with {self._encoder.name} features" + (
            f": {note}" if note else ""
        )

    def listen(self, recording: Path, queries: Sequence[str], cuts_dir: Path, *, top: int) -> Heard:
        """Answer each query, and write the moments into `cuts_dir`.

        Raises:
            AudioError: the recording cannot be read, or is silent throughout.
            FeatureError: the encoder does not give what the network reads.
        """
        if not recording.is_file():
            raise AudioError("no such file", recording, "choose it again")
        rows, picture, duration_s = self._kept(recording, recording.stat().st_mtime_ns)
        texts = encode_texts(queries, self._encoder)
        answers = tuple(
            Answer(
                recording=recording,
                query=query,
                duration_s=duration_s,
                windows=answer_rows(
                    rows,
                    duration_s,
                    query,
                    text,
                    self._network,
                    self._config,
                    num_windows=top,
                    device=self._device,
                ),
            )
            for query, text in zip(queries, texts, strict=True)
        )
        return Heard(picture=picture, answers=answers, cuts=_cuts_of(answers, cuts_dir))

    def _examine(self, recording: Path, _changed_ns: int) -> tuple[Features, Spectrogram, float]:
        """Features, picture and duration of a recording."""
        picture = spectrogram(recording)
        if picture.loudest_db < SILENCE_DB:
            raise AudioError("holds nothing but silence", recording, "choose a recording with sound")
        rows, duration_s = encode_recording(recording, self._encoder, self._config.targets.windows)
        return rows, picture, duration_s


def _cuts_of(answers: Sequence[Answer], folder: Path) -> tuple[tuple[Path, ...], ...]:
    """The sound of each answer's windows; the recording is read once for all of them."""
    every = dataclasses.replace(answers[0], windows=tuple(window for a in answers for window in a.windows))
    files = iter(cut_moments(every, folder))
    return tuple(tuple(itertools.islice(files, len(answer.windows))) for answer in answers)
