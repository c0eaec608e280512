"""What the page asks: a recording and some sentences in, everything that it shows out."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from amr_model.answer.exports.cuts import cut_moments
from amr_model.answer.retriever import Answer, Encoded, Retriever
from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.spectrogram import Spectrogram, spectrogram
from clotho_long.core.errors import AudioError
from clotho_long.core.units import Seconds

RECORDINGS_KEPT = 4  # whose features are kept: another query of the same recording is answered at once
SILENCE_DB = -90.0  # no band ever louder: the rounding noise of 16-bit audio

# told what is being done, and how many seconds of the recording of how many are behind (None: not known);
# what it raises ends the search
Tell = Callable[[str, Seconds, Seconds | None], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a recording answers to some queries, to look at and to listen to."""

    picture: Spectrogram
    answers: tuple[Answer, ...]  # one for each query
    cuts: tuple[tuple[Path, ...], ...]  # the sound of each answer's windows

    @property
    def silent(self) -> bool:
        """Whether there is nothing to hear anywhere in the recording."""
        return self.picture.loudest_db < SILENCE_DB


class Listener:
    """A retriever that remembers what it has heard. One search at a time; further ones wait."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._kept: OrderedDict[tuple[Path, int], tuple[Encoded, Spectrogram]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """Which model with which features, and what whoever made them wants to be known."""
        encoder = self._retriever.encoder
        note = encoder.provenance().get("note")
        return f"System {self._retriever.config.system} with {encoder.name} features" + (
            f": {note}" if note else ""
        )

    def listen(
        self,
        recording: Path,
        queries: Sequence[str],
        cuts_dir: Path,
        *,
        top: int,
        tell: Tell = lambda doing, done_s, of_s: None,
    ) -> Heard:
        """Answer each query, and write the moments into `cuts_dir`.

        Raises:
            AudioError: the recording cannot be read.
            FeatureError: the encoder does not give what the network reads.
        """
        if not recording.is_file():
            raise AudioError("no such file", recording, "choose it again")
        with self._lock:
            encoded, picture = self._examined(recording, tell)
            tell("Answering", 0, None)
            answers = self._retriever.answer(recording, encoded, queries, num_moments=top)
        tell("Cutting the moments", 0, None)
        return Heard(
            picture=picture, answers=tuple(answers), cuts=_cuts_of(answers, cuts_dir, self._retriever.sound)
        )

    def _examined(self, recording: Path, tell: Tell) -> tuple[Encoded, Spectrogram]:
        """The recording's features and its picture, made anew if the file is new or has changed."""
        key = (recording, recording.stat().st_mtime_ns)
        if key not in self._kept:
            sound = self._retriever.sound
            picture = spectrogram(
                recording, sound=sound, on_read=lambda done_s: tell("Reading", done_s, None)
            )
            whole_s = picture.duration_s
            encoded = self._retriever.hear(recording, on_heard=lambda s: tell("Listening", s, whole_s))
            self._kept[key] = encoded, picture
        self._kept.move_to_end(key)
        while len(self._kept) > RECORDINGS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


def _cuts_of(answers: Sequence[Answer], folder: Path, sound: SoundChoice) -> tuple[tuple[Path, ...], ...]:
    """The sound of each answer's windows; the recording is read once for all of them."""
    every = dataclasses.replace(answers[0], moments=tuple(window for a in answers for window in a.moments))
    files = iter(cut_moments(every, folder, sound=sound))
    return tuple(tuple(itertools.islice(files, len(answer.moments))) for answer in answers)
