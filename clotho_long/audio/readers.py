"""The two libraries that decode: libsndfile where it counts samples right, FFmpeg's (by PyAV) for the rest.

FFmpeg is handed an open file and never a name: no name is taken for a protocol (`12:30:00.m4a`), and a
playlist or a list of files, which would make it open others, is refused after probing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import av
import av.error
import numpy as np
import numpy.typing as npt
import soundfile
from pydantic.dataclasses import dataclass

from clotho_long.audio.containers import door_for, refuse_truncated
from clotho_long.audio.timeline import Timeline
from clotho_long.core.errors import AudioError
from clotho_long.core.units import Hertz

Block: TypeAlias = npt.NDArray[np.float32]  # [sample, channel]

BLOCK_S = 10.0  # of decoded sound held at a time
READ_BYTES = 1 << 18  # that FFmpeg asks for at a time
LOUDNESS_STRIDE = 13  # of every so many samples one is enough to tell loud from silent
# More damage than this and nobody can say what the recording was.
MOST_DAMAGED = 0.1

# Demuxers that read one file and open no other.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gxf,ircam,loas,matroska,mov,mp3,mpc,"
    "mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,shn,tak,truehd,tta,voc,w64,wav,wtv,wv"
)
# Container options: no protocol but the file at hand, none of the formats that open others.
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
# Of libsndfile these only estimate how much sound they hold.
_INEXACT = ("MP3", "OGG", "MPEG")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What a file says about its sound before it is decoded."""

    sample_rate_hz: Hertz
    num_channels: int


class Reader(Protocol):
    """An open sound track."""

    info: AudioInfo
    num_tracks: int
    num_damaged: int  # packets that could not be decoded so far
    other_energies: dict[int, float]  # track -> sum of squares over its rate; empty if one was asked for

    @property
    def silence_samples(self) -> int:
        """Filled in so far, at the rate of `info`."""
        ...

    def blocks(self) -> Iterator[Block]:
        """The sound, [sample, channel], in order; each block is the caller's own."""
        ...

    def part(self, start: int, stop: int) -> Block | None:
        """Some samples, [sample, channel], without decoding what lies before; fewer where the sound ends.

        None where a file cannot be entered at an exact sample. Not to be mixed with `blocks`.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def open_sound(path: Path, track: int | None = None) -> Reader:
    """The sound track of a file with a number from 1 on (None: the first).

    Raises:
        AudioError: the file is missing, empty, or holds no such track that can be decoded.
    """
    if not path.is_file():
        raise AudioError("is a folder" if path.is_dir() else "no such file", path, "check the path")
    try:
        if path.stat().st_size == 0:
            raise AudioError("is an empty file", path, "remove or replace it")
        return _open(path, track)
    except OSError as error:
        raise AudioError(f"cannot be read ({error.strerror})", path, "check its permissions") from None


def open_exactly(path: Path) -> soundfile.SoundFile:
    """A file as libsndfile opens it, whatever its name is; `LibsndfileError` for what it cannot open."""
    # in bytes: soundfile encodes a str strictly, and a name need not be UTF-8
    return soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else str(path))


def _open(path: Path, track: int | None) -> Reader:
    door = door_for(path)
    if door == "libsndfile":
        try:
            return _SndfileReader(path, track)
        except soundfile.LibsndfileError:
            door = "ffmpeg"  # a codec that only FFmpeg has
    try:
        return _FFmpegReader(path, track, ignore_length=door == "ffmpeg-ignoring-length")
    except (av.error.FFmpegError, ValueError) as error:
        refuse_truncated(path)
        reason = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
        if isinstance(error, av.error.ArgumentError):
            reason = "text, a playlist, or a format that is not read"
        raise AudioError(f"is not audio that can be decoded ({reason})", path, "replace it") from None


class _SndfileReader:
    """A file of one track whose length libsndfile knows."""

    num_tracks = 1
    silence_samples = 0
    num_damaged = 0

    def __init__(self, path: Path, track: int | None) -> None:
        self._path = path
        self._file = open_exactly(path)
        if self._file.format in _INEXACT or self._file.subtype.startswith(_INEXACT):
            self._file.close()
            raise soundfile.LibsndfileError(1)  # "unrecognised format": left to FFmpeg
        self.info = AudioInfo(sample_rate_hz=self._file.samplerate, num_channels=self._file.channels)
        self.other_energies: dict[int, float] = {}
        if track is not None:
            _refuse_other_tracks(path, track, self.num_tracks)

    def close(self) -> None:
        self._file.close()

    def part(self, start: int, stop: int) -> Block | None:
        refuse_truncated(self._path)
        frames = self._file.frames
        try:
            self._file.seek(min(start, frames))
            block: Block = self._file.read(max(min(stop, frames) - start, 0), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"cannot be decoded ({error.error_string})", self._path, "replace it") from None
        return block

    def blocks(self) -> Iterator[Block]:
        refuse_truncated(self._path)
        num_samples = 0
        try:
            while len(
                block := self._file.read(
                    int(BLOCK_S * self.info.sample_rate_hz), dtype="float32", always_2d=True
                )
            ):
                num_samples += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"cannot be decoded to its end ({error.error_string})", self._path, "replace it"
            ) from None
        if num_samples < self._file.frames:
            raise AudioError(
                f"is truncated: {num_samples} of {self._file.frames} samples are there",
                self._path,
                "replace it",
            )


class _FFmpegReader:
    """One sound track of whatever FFmpeg's libraries read.

    Frames are put where their time stamps say. Without `track`, the other tracks are decoded as well, only to
    know whether one of them is louder.
    """

    def __init__(self, path: Path, track: int | None, *, ignore_length: bool) -> None:
        self._path = path
        self._file = _NamelessFile(path)
        try:
            options = {**OPTIONS, "ignore_length": "1"} if ignore_length else OPTIONS
            self._container: Any = av.open(
                self._file,
                format="wav" if ignore_length else None,
                options=options,
                buffer_size=READ_BYTES,
            )
        except BaseException:
            self._file.close()
            raise
        try:
            tracks = self._container.streams.audio
            self.num_tracks = len(tracks)
            if not tracks:
                raise AudioError("has no sound track", path, "remove it or use a file with sound")
            number = 1 if track is None else track
            _refuse_other_tracks(path, number, len(tracks))
            self._stream = tracks[number - 1]
            if not self._stream.rate or not self._stream.channels:
                raise AudioError("does not say how its sound is coded", path, "replace it")
        except BaseException:
            self.close()
            raise
        self.info = AudioInfo(sample_rate_hz=self._stream.rate, num_channels=self._stream.channels)
        self.num_damaged = 0
        self.other_energies = dict.fromkeys(
            (n for n in range(1, len(tracks) + 1) if n != number and track is None), 0.0
        )
        self._timeline = _timeline_of(self._container, self._stream)
        self._to_float = _ToFloat(self._stream.layout, self._stream.rate)

    @property
    def silence_samples(self) -> int:
        return self._timeline.silence_samples

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def part(self, start: int, stop: int) -> Block | None:
        """Time stamps after a jump are estimates in many formats."""
        return None

    def blocks(self) -> Iterator[Block]:
        """The decoded frames and the silence between them, in order."""
        refuse_truncated(self._path)
        for frame in self._frames():
            if silence := self._timeline.silence_before(frame.time):
                yield from self._to_float.rest()
                yield from self._silence(silence)
            self._timeline.advance(frame.samples, frame.sample_rate)
            frame.pts = None  # from here on only the order counts
            yield from self._to_float.convert(frame)
        yield from self._to_float.rest()

    def _silence(self, num_samples: int) -> Iterator[Block]:
        most = int(BLOCK_S * self.info.sample_rate_hz)
        for start in range(0, num_samples, most):
            yield np.zeros((min(most, num_samples - start), self.info.num_channels), np.float32)

    def _frames(self) -> Iterator[Any]:
        """The frames of the track that was chosen; a packet that cannot be decoded leaves a hole."""
        tracks = self._container.streams.audio
        others = {tracks[number - 1].index: _Loudness(number) for number in self.other_energies}
        wanted = [self._stream, *(tracks[number - 1] for number in self.other_energies)]
        num_packets = 0
        try:
            for packet in self._container.demux(wanted):
                if (other := others.get(packet.stream.index)) is not None:
                    self.other_energies[other.number] += other.energy_of(packet)
                    continue
                num_packets += 1
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    continue  # a second packet that says that this is the end
                except av.error.InvalidDataError:
                    self.num_damaged += 1
                    continue
                yield from frames
        except av.error.FFmpegError as error:
            raise AudioError(
                f"cannot be decoded to its end ({error.strerror})", self._path, "replace it"
            ) from None
        if self.num_damaged > max(1, MOST_DAMAGED * num_packets):
            raise AudioError(
                f"is damaged: {self.num_damaged} of {num_packets} packets cannot be decoded",
                self._path,
                "replace it",
            )


class _ToFloat:
    """Frames of any format, layout and rate as large blocks [sample, channel] of one layout and rate."""

    def __init__(self, layout: Any, rate_hz: Hertz) -> None:
        self._layout, self._rate_hz = layout, rate_hz
        self._block_samples = int(BLOCK_S * rate_hz)
        self._start_anew()

    def convert(self, frame: Any) -> Iterator[Block]:
        """Take a frame; gives a block whenever enough has come together."""
        try:
            self._frames.write(frame)
        except ValueError:  # not of the kind of those before it
            yield from self.rest()
            self._frames.write(frame)
        if self._frames.samples >= self._block_samples:
            yield from self._converted(self._frames.read())

    def rest(self) -> Iterator[Block]:
        """What was not given yet, to its last sample; the next frame may be of another kind."""
        if self._frames.samples:
            yield from self._converted(self._frames.read())
        if self._changes_rate:
            yield from self._converted(None)
        self._start_anew()

    def _start_anew(self) -> None:
        self._frames = av.AudioFifo()
        self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate_hz)
        self._changes_rate = False

    def _converted(self, frame: Any) -> Iterator[Block]:
        if frame is not None:
            self._changes_rate = frame.sample_rate != self._rate_hz
        for planar in self._resampler.resample(frame):
            yield planar.to_ndarray().T.astype(np.float32, copy=False)


class _Loudness:
    """How much sound there is in a track that is not taken."""

    def __init__(self, number: int) -> None:
        self.number = number

    def energy_of(self, packet: Any) -> float:
        """Largest sum of squares of a channel, over the rate; 0 for what cannot be decoded."""
        total = 0.0
        try:
            for frame in packet.decode():
                to_float = av.AudioResampler(format="fltp", layout=frame.layout, rate=frame.sample_rate)
                for planar in to_float.resample(frame):
                    block = planar.to_ndarray().T.astype(np.float32, copy=False)
                    total += float(max(energies(block))) / frame.sample_rate
        except av.error.FFmpegError:
            return 0.0
        return total if np.isfinite(total) else 0.0


class _NamelessFile:
    """An open file under a name that says no more than its suffix: FFmpeg guesses by it, and reads it."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb")
        suffix = path.suffix.lower()
        self.name = f"recording{suffix}" if suffix.isascii() and suffix[1:].isalnum() else "recording"
        self.read, self.seek, self.tell = self._file.read, self._file.seek, self._file.tell

    def close(self) -> None:
        self._file.close()


def energies(block: Block) -> npt.NDArray[np.float64]:
    """Sum of squares of every channel, [channel], from a part of the samples that is enough to compare."""
    some = block[::LOUDNESS_STRIDE].astype(np.float64)
    squares: npt.NDArray[np.float64] = np.einsum("sc,sc->c", some, some)
    return squares


def _timeline_of(container: Any, stream: Any) -> Timeline:
    """Players start to count where the first of all tracks starts; stamps before 0 are of what is cut off."""
    start_s = None if container.start_time is None else max(0.0, container.start_time / av.time_base)
    end_s = None if container.duration is None else container.duration / av.time_base
    return Timeline(rate_hz=stream.rate, origin_s=start_s, end_s=end_s)


def _refuse_other_tracks(path: Path, track: int, num_tracks: int) -> None:
    if track > num_tracks:
        tracks = "1 sound track" if num_tracks == 1 else f"{num_tracks} sound tracks"
        raise AudioError(f"has {tracks}, no number {track}", path, "give another --track")
