"""What the page asks: a recording and some sentences in, everything that it shows out."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

from amr_model.answer.retriever import Answer, Encoded, Retriever, cut_moments
from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.spectrogram import Spectrogram, spectrogram
from clotho_long.core.errors import AudioError

RECORDINGS_KEPT = 4  # whose features are kept: another query of the same recording is answered at once
SILENCE_DB = -90.0  # no band ever louder: the rounding noise of 16-bit audio


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a recording answers to some queries, to look at and to listen to."""

    picture: Spectrogram
    answers: tuple[Answer, ...]  # one for each query
    cuts: tuple[tuple[Path, ...], ...]  # the sound of each answer's windows


class Listener:
    """A retriever that remembers what it has heard."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        # by path and time of change
        self._kept = functools.lru_cache(maxsize=RECORDINGS_KEPT)(self._examine)

    @property
    def description(self) -> str:
        """Which model with which features, and what whoever made them wants to be known."""
        encoder = self._retriever.encoder
        note = encoder.provenance().get("note")
        return f"System {self._retriever.config.system} with {encoder.name} features" + (
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
        encoded, picture = self._kept(recording, recording.stat().st_mtime_ns)
        answers = self._retriever.answer(recording, encoded, queries, num_windows=top)
        return Heard(
            picture=picture, answers=tuple(answers), cuts=_cuts_of(answers, cuts_dir, self._retriever.sound)
        )

    def _examine(self, recording: Path, _changed_ns: int) -> tuple[Encoded, Spectrogram]:
        picture = spectrogram(recording, sound=self._retriever.sound)
        if picture.loudest_db < SILENCE_DB:
            raise AudioError("holds nothing but silence", recording, "choose a recording with sound")
        return self._retriever.hear(recording), picture


def _cuts_of(answers: Sequence[Answer], folder: Path, sound: SoundChoice) -> tuple[tuple[Path, ...], ...]:
    """The sound of each answer's windows; the recording is read once for all of them."""
    every = dataclasses.replace(answers[0], windows=tuple(window for a in answers for window in a.windows))
    files = iter(cut_moments(every, folder, sound=sound))
    return tuple(tuple(itertools.islice(files, len(answer.windows))) for answer in answers)
