"""Recordings of any format, found among files and folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass

from clotho_long.audio.io import AUDIO_SUFFIXES, ChannelChoice, Waveform, stream_mono
from clotho_long.core.errors import AudioError
from clotho_long.core.files import fingerprint_file
from clotho_long.core.units import Hertz
from clotho_long.features.encode import Problem, Recording
from clotho_long.features.extract import MadeBy


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSound:
    """A recording of any format, decoded in bounded memory."""

    path: Path
    channels: ChannelChoice = "mean"

    def blocks(self, sample_rate_hz: Hertz) -> Iterator[Waveform]:
        """The recording, some seconds at a time."""
        return stream_mono(self.path, sample_rate_hz, channels=self.channels)

    def identity(self) -> MadeBy:
        """The file's content, whatever its name, and how it becomes mono.

        Raises:
            AudioError: the file cannot be read.
        """
        try:
            return {"file": fingerprint_file(self.path), "channels": self.channels}
        except OSError as error:
            raise AudioError(f"cannot be read ({error.strerror})", self.path, "check the path") from None


def audio_files(paths: Sequence[Path]) -> tuple[list[Path], list[Problem]]:
    """The files among files and folders (searched to any depth); a folder that holds none is a problem."""
    files, problems = [], []
    for path in paths:
        found = sorted(_audio_below(path)) if path.is_dir() else [path]
        files += found
        if not found:
            problems.append(Problem(item=str(path), reason="holds no audio files; check the path"))
    return files, problems


def find_recordings(
    paths: Sequence[Path], *, channels: ChannelChoice = "mean"
) -> tuple[list[Recording], list[Problem]]:
    """The recordings among files and folders, named by their stem, and what is wrong with the others.

    Two files of one stem are both left out: whichever were taken, its features would pass for the other's.
    """
    found, problems = audio_files(paths)
    by_stem: dict[str, set[Path]] = defaultdict(set)
    for file in found:
        by_stem[file.stem].add(file)
    recordings = []
    for stem, files in sorted(by_stem.items()):
        first, *others = sorted(files)
        if others:
            names = ", ".join(map(str, others))
            reason = f"has the name of {names}; rename all but one, or use two folders"
            problems.append(Problem(item=str(first), reason=reason))
        else:
            recordings.append(Recording(recording_id=stem, sound=FileSound(path=first, channels=channels)))
    return recordings, problems


def _audio_below(folder: Path) -> Iterable[Path]:
    return (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.name[0] != "." and path.is_file()
    )
