"""What the page of one recording asks: a recording and some sentences in, everything that it shows out."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from amr_model.answer.answers import Answer
from amr_model.answer.exports.cuts import cut_moments
from amr_model.answer.finder import Finder
from amr_model.answer.hearing import Encoded
from amr_model.web.downloads import Takeaway
from amr_model.web.telling import Tell, tell_seconds, untold
from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.spectrogram import Spectrogram, spectrogram
from clotho_long.core.errors import AudioError
from clotho_long.features.encoder import Encoder

RECORDINGS_KEPT = 4  # whose features are kept: another query of the same recording is answered at once
SILENCE_DB = -90.0  # no band ever louder: the rounding noise of 16-bit audio


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

    @property
    def takeaway(self) -> Takeaway:
        """What of it can be downloaded; the lines are those of `amr predict --json`."""
        recording = self.answers[0].recording
        cuts = itertools.chain.from_iterable(self.cuts)
        return Takeaway(
            stem=recording.stem[:80],
            answers=self.answers,
            names={recording: recording.name},
            lines=[{**answer.to_json(), "recording": recording.name} for answer in self.answers],
            cuts={f"{place:02d}-{cut.name}": cut for place, cut in enumerate(cuts, start=1)},
        )


class Listener:
    """A finder that remembers what it has heard. One search at a time; further ones wait."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._kept: OrderedDict[tuple[Path, int], tuple[Encoded, Spectrogram]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """Which model with which features, and what whoever made them wants to be known."""
        return describe(self._finder.made_by["model"], self._finder.encoder)

    def listen(
        self,
        recording: Path,
        queries: Sequence[str],
        cuts_dir: Path,
        *,
        top: int,
        tell: Tell = untold,
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
            tell("Answering", None)
            answers = self._finder.answer(recording, encoded, queries, num_moments=top)
        tell("Cutting the moments", None)
        return Heard(
            picture=picture, answers=tuple(answers), cuts=_cuts_of(answers, cuts_dir, self._finder.sound)
        )

    def _examined(self, recording: Path, tell: Tell) -> tuple[Encoded, Spectrogram]:
        """The recording's features and its picture, made anew if the file is new or has changed."""
        key = (recording, recording.stat().st_mtime_ns)
        if key not in self._kept:
            picture = spectrogram(
                recording,
                sound=self._finder.sound,
                on_read=lambda done_s: tell_seconds(tell, "Reading", done_s),
            )
            whole_s = picture.duration_s
            encoded = self._finder.hear(
                recording, on_heard=lambda done_s: tell_seconds(tell, "Listening", done_s, whole_s)
            )
            self._kept[key] = encoded, picture
        self._kept.move_to_end(key)
        while len(self._kept) > RECORDINGS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


def describe(model: str, encoder: Encoder) -> str:
    """Which model answers with which features, and what whoever made them wants to be known."""
    note = encoder.provenance().get("note")
    return f"System {model} with {encoder.name} features" + (f": {note}" if note else "")


def _cuts_of(answers: Sequence[Answer], folder: Path, sound: SoundChoice) -> tuple[tuple[Path, ...], ...]:
    """The sound of each answer's windows; the recording is read once for all of them."""
    every = dataclasses.replace(answers[0], moments=tuple(window for a in answers for window in a.moments))
    files = iter(cut_moments(every, folder, sound=sound))
    return tuple(tuple(itertools.islice(files, len(answer.moments))) for answer in answers)
