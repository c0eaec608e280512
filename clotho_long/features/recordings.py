"""Recordings of any format, found among files and folders, and the ids that they get."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from clotho_long.audio.choice import ChannelChoice, SoundChoice
from clotho_long.audio.io import AUDIO_SUFFIXES, SoundStream, stream_mono
from clotho_long.core.errors import AudioError
from clotho_long.core.files import fingerprint_file, shortened
from clotho_long.core.units import Hertz
from clotho_long.features.encode import Problem, Recording
from clotho_long.features.extract import MadeBy

Naming = Literal["stem", "path"]
JOINT = "__"  # between the folders of an id that is a path
LONGEST_ID_BYTES = 251  # with `.npz` as long as a name may be
NUM_NAMES = 4  # that a file may have, see `_File.names`


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSound:
    """A recording of any format, decoded in bounded memory."""

    path: Path
    channels: ChannelChoice = "mean"
    track: int | None = None

    def blocks(self, sample_rate_hz: Hertz) -> SoundStream:
        """The recording, some seconds at a time."""
        return stream_mono(self.path, sample_rate_hz, channels=self.channels, track=self.track)

    def identity(self, earlier: MadeBy | None = None) -> MadeBy:
        """The file's content, whatever its name, and how it becomes mono.

        Args:
            earlier: the note of features of this recording. If an earlier version of this package wrote it,
                the content is identified by the rule of that version.

        Raises:
            AudioError: the file cannot be read.
        """
        source = (earlier or {}).get("source")
        known = str(source.get("file", "")) if isinstance(source, dict) else ""
        try:
            content = fingerprint_file(self.path, like=known)
        except OSError as error:
            raise AudioError(f"cannot be read ({error.strerror})", self.path, "check the path") from None
        track = {} if self.track is None else {"track": self.track}
        return {"file": content, "channels": self.channels, **track}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is among files and folders that were given."""

    files: tuple[Path, ...]
    recordings: tuple[Recording, ...]
    ids: Mapping[Path, str]  # of those files that are recordings
    problems: tuple[Problem, ...]  # folders without audio, files whose ids meet
    notices: tuple[Problem, ...]  # what was left out of each folder


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file and the folder in which it was found; its own folder if it was given by name."""

    path: Path
    root: Path

    def names(self) -> tuple[str, ...]:
        """Its possible ids, the shortest first."""
        inside = self.path.relative_to(self.root)
        below = (*inside.parts[:-1], inside.stem)
        above = self.root.absolute().name
        return (
            inside.stem,
            JOINT.join(below),
            JOINT.join((above, *below)),
            JOINT.join((above, *inside.parts)),
        )


def search(paths: Sequence[Path], *, sound: SoundChoice | None = None, naming: Naming = "stem") -> Found:
    """The recordings among files and folders, which are searched to any depth.

    A folder's files count if their suffix is one of `AUDIO_SUFFIXES`; what has a leading dot is passed over,
    and a folder that is reached by several ways (symbolic links) is searched once. Files given by name always
    count.

    An id is the file's stem. Files whose stems meet, and all with `naming="path"`, get their path below the
    folder that was given, `day1__REC001`; where these meet too, that folder's name is set before it, and then
    the suffix is kept.
    """
    choice = sound or SoundChoice()
    files: dict[Path, _File] = {}
    problems, notices = [], []
    for path in paths:
        if not path.is_dir():
            files.setdefault(path.absolute(), _File(path=path, root=path.parent))
            continue
        found, left_out = _below(path)
        for file in found:
            files.setdefault(file.absolute(), _File(path=file, root=path))
        if not found:
            reason = f"holds no audio files{_in_words(left_out)}; check the path"
            problems.append(Problem(item=readable(path), reason=reason))
        elif left_out:
            notices.append(Problem(item=readable(path), reason=_in_words(left_out).removeprefix(", ")))
    named, meeting = _ids(list(files.values()), first=0 if naming == "stem" else 1)
    recordings = [
        Recording(
            recording_id=name,
            sound=FileSound(path=file.path, channels=choice.channels, track=choice.track),
        )
        for name, file in sorted(named.items(), key=lambda item: item[0])
    ]
    return Found(
        files=tuple(file.path for file in files.values()),
        recordings=tuple(recordings),
        ids={file.path: name for name, file in named.items()},
        problems=(*problems, *meeting),
        notices=tuple(notices),
    )


def audio_files(paths: Sequence[Path]) -> tuple[list[Path], list[Problem]]:
    """The files of `search`, in its order; a folder that holds none is a problem."""
    found = search(paths)
    return list(found.files), [problem for problem in found.problems if "audio files" in problem.reason]


def find_recordings(
    paths: Sequence[Path], *, channels: ChannelChoice = "mean", track: int | None = None
) -> tuple[list[Recording], list[Problem]]:
    """The recordings of `search`, and what is wrong with the others."""
    found = search(paths, sound=SoundChoice(channels=channels, track=track))
    return list(found.recordings), list(found.problems)


def recording_id(name: str) -> str:
    """A name as an id, which becomes a file's name: what cannot stand there is written as %XX.

    That is a leading dot, slashes, control characters and bytes that are no UTF-8. Of a name that is too long
    the start is kept, and eight digits tell it from others.
    """
    safe = "".join(
        _percent(character)
        if character in "/\\" or ord(character) < 32 or 0xDC80 <= ord(character) <= 0xDCFF
        else character
        for character in name
    )
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    if len(safe.encode()) > LONGEST_ID_BYTES:
        digest = hashlib.sha256(safe.encode()).hexdigest()[:8]
        safe = f"{shortened(safe, LONGEST_ID_BYTES - 9)}~{digest}"
    return safe


def readable(path: Path) -> str:
    """A path as it can be printed: bytes that are no UTF-8 become \\xNN."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def _ids(files: Sequence[_File], *, first: int) -> tuple[dict[str, _File], list[Problem]]:
    """An id for each file, and a problem for those whose last resort meets another's."""
    names = {file: [recording_id(name) for name in file.names()] for file in files}
    level = dict.fromkeys(files, first)
    for _ in range(NUM_NAMES - 1):
        meeting = [group for group in _groups(names, level).values() if len(group) > 1]
        for file in (file for group in meeting for file in group):
            level[file] = min(level[file] + 1, len(names[file]) - 1)
    named, problems = {}, []
    for name, group in _groups(names, level).items():
        if len(group) == 1:
            named[name] = group[0]
            continue
        one, *others = sorted(readable(file.path) for file in group)
        reason = f"has the name of {', '.join(others)}; rename all but one, or use two folders"
        problems.append(Problem(item=one, reason=reason))
    return named, problems


def _groups(names: dict[_File, list[str]], level: dict[_File, int]) -> dict[str, list[_File]]:
    groups: dict[str, list[_File]] = defaultdict(list)
    for file, possible in names.items():
        groups[possible[level[file]]].append(file)
    return groups


def _below(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The audio files below a folder, sorted, and how many others there are by suffix."""
    found: list[Path] = []
    left_out: Counter[str] = Counter()
    for path in _walk(folder):
        if path.name.startswith("."):
            left_out["hidden"] += 1
        elif path.suffix.lower() in AUDIO_SUFFIXES:
            found.append(path)
        else:
            left_out[readable(Path(path.suffix.lower())) if path.suffix else "without suffix"] += 1
    return sorted(found), left_out


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, but not below hidden ones; links are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        state = os.stat(parent)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (path for name in files if (path := Path(parent, name)).is_file())


def _in_words(left_out: Counter[str]) -> str:
    """`, left out 5 files that are no audio by their suffix: .txt 3, .jpg 2`; empty if there are none."""
    if not left_out:
        return ""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(left_out.items()))
    return f", left out {left_out.total():,} files that are hidden or no audio by their suffix: {kinds}"
