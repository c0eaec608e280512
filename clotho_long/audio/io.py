"""Reads and writes audio: the only module that imports soundfile, PyAV and soxr.

libsndfile reads wav, flac, ogg and mp3; PyAV reads what is left (mp4, m4a, mkv, webm, any video),
without an `ffmpeg` program. Everything is mono float32 in [-1, 1] here. Resampling is soxr's HQ, which
librosa uses by default. What cannot be trusted (truncated, empty, NaN) is an AudioError that names the file.
"""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import av
import av.error
import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import AudioError
from clotho_long.core.files import atomic_path
from clotho_long.core.units import Hertz

Waveform: TypeAlias = npt.NDArray[np.float32]  # [sample]
ChannelChoice = Literal["mean", "first"]

AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".au", ".caf", ".w64")
) | frozenset((".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts"))
RESAMPLING_QUALITY = "HQ"
BLOCK_S = 10.0  # of decoded sound held at a time
PCM_BLOCK_SAMPLES = 32_000  # stays in the processor's cache
# Writers that stream into a pipe do not know the length, and leave one of these.
UNKNOWN_WAV_LENGTHS = (0, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What a file says about its sound before it is decoded."""

    sample_rate_hz: Hertz
    num_channels: int


def probe(path: Path) -> AudioInfo:
    """Rate and channels of the sound in a file.

    Raises:
        AudioError: the file is missing, empty, or holds no sound that can be decoded.
    """
    with _opened(path) as source:
        return source.info


def probe_length(path: Path) -> tuple[Hertz, int]:
    """Rate and number of samples of a wav or flac file, from its header, checked against what is there."""
    _refuse_truncated_wav(path)
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"is not a wav or flac file ({error.error_string})", path, "render it again"
        ) from None
    return info.samplerate, info.frames


def stream_mono(
    path: Path, sample_rate_hz: Hertz | None = None, *, channels: ChannelChoice = "mean"
) -> Iterator[Waveform]:
    """Decode a file block by block, in bounded memory, as mono at `sample_rate_hz` (default: its own).

    Raises:
        AudioError: the file cannot be decoded to its end, is empty, or holds NaN or infinite samples.
    """
    with _opened(path) as source:
        native_hz = source.info.sample_rate_hz
        resampler = None
        if sample_rate_hz not in (None, native_hz):
            resampler = soxr.ResampleStream(native_hz, sample_rate_hz, 1, "float32", RESAMPLING_QUALITY)
        num_samples = 0
        for block in source.blocks():  # [sample, channel]
            mono = block[:, 0] if channels == "first" else _mean_of_channels(block)
            if not np.isfinite(mono).all():
                place_s = (num_samples + int(np.argmin(np.isfinite(mono)))) / native_hz
                raise AudioError(f"holds NaN or infinite samples at {place_s:.2f} s", path, "export it again")
            num_samples += len(mono)
            yield mono if resampler is None else resampler.resample_chunk(mono)
        if num_samples == 0:
            raise AudioError("holds no samples", path, "remove or replace the file")
        if resampler is not None:
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def read_mono(
    path: Path, sample_rate_hz: Hertz | None = None, *, channels: ChannelChoice = "mean"
) -> Waveform:
    """A whole file as mono float32 [sample]; `stream_mono` in one piece, with its errors."""
    return np.concatenate(list(stream_mono(path, sample_rate_hz, channels=channels)))


def resample(waveform: Waveform, from_hz: Hertz, to_hz: Hertz) -> Waveform:
    """A waveform [sample] at another rate, of the length that the rates imply (rounded up)."""
    if from_hz == to_hz:
        return waveform
    resampled = soxr.resample(waveform, from_hz, to_hz, quality=RESAMPLING_QUALITY)
    num_samples = -(-len(waveform) * to_hz // from_hz)
    if len(resampled) >= num_samples:
        return np.asarray(resampled[:num_samples], np.float32)
    return np.pad(resampled, (0, num_samples - len(resampled))).astype(np.float32)


def write_audio(path: Path, waveform: Waveform, sample_rate_hz: Hertz) -> None:
    """Write [sample] in [-1, 1] as 16-bit PCM, wav or flac by the suffix of `path`; atomic."""
    write_blocks(
        path,
        (waveform[i : i + PCM_BLOCK_SAMPLES] for i in range(0, len(waveform), PCM_BLOCK_SAMPLES)),
        sample_rate_hz,
    )


def write_blocks(path: Path, blocks: Iterable[Waveform], sample_rate_hz: Hertz) -> None:
    """`write_audio` for a waveform that comes in blocks."""
    with atomic_path(path) as part:
        if path.suffix == ".wav":
            # several times as fast as libsndfile, with the same bytes
            with wave.open(str(part), "wb") as wav:
                wav.setparams((1, 2, sample_rate_hz, 0, "NONE", ""))
                for block in blocks:
                    wav.writeframesraw(to_pcm16(block).astype("<i2", copy=False).data)
        else:
            with soundfile.SoundFile(part, "w", sample_rate_hz, 1, "PCM_16") as file:
                for block in blocks:
                    file.write(to_pcm16(block))


def encode_mp3(waveform: Waveform, sample_rate_hz: Hertz) -> bytes:
    """[sample] in [-1, 1] as an MP3 file in memory, for pages that must stay small."""
    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate_hz, format="MP3")
    return file.getvalue()


def to_pcm16(waveform: Waveform) -> npt.NDArray[np.int16]:
    """[sample] in [-1, 1] as the published generator's files hold it.

    libsndfile, as soundfile calls it, scales to 32 bits, rounds, and drops the lower 16: it rounds down.
    """
    scaled = waveform * np.float32(2**31)
    np.rint(scaled, out=scaled)
    scaled *= np.float32(2**-16)
    np.floor(scaled, out=scaled)
    pcm: npt.NDArray[np.int16] = np.minimum(scaled, np.float32(32767), out=scaled).astype(np.int16)
    return pcm


def _opened(path: Path) -> _SoundFile | _AvFile:
    if not path.is_file():
        raise AudioError("is a folder" if path.is_dir() else "no such file", path, "check the path")
    if path.stat().st_size == 0:
        raise AudioError("is an empty file", path, "remove or replace it")
    try:
        return _SoundFile(path)
    except soundfile.LibsndfileError:
        return _AvFile(path)


def _mean_of_channels(block: npt.NDArray[np.float32]) -> Waveform:
    """[sample, channel] -> [sample], column by column: a mean over a short last axis is slow."""
    if block.shape[1] == 1:
        return block[:, 0]
    total = block[:, 0].copy()
    for channel in range(1, block.shape[1]):
        total += block[:, channel]
    total /= np.float32(block.shape[1])
    return total


class _SoundFile:
    """A file that libsndfile can open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = soundfile.SoundFile(path)
        self.info = AudioInfo(sample_rate_hz=self._file.samplerate, num_channels=self._file.channels)

    def __enter__(self) -> _SoundFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """[sample, channel] blocks; refuses a file that holds less than its header announces."""
        _refuse_truncated_wav(self._path)
        num_samples = 0
        try:
            for block in self._file.blocks(
                int(BLOCK_S * self.info.sample_rate_hz), dtype="float32", always_2d=True
            ):
                num_samples += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"cannot be decoded to its end ({error.error_string})", self._path, "replace it"
            ) from None
        # an mp3's length is an estimate, every other header's is a promise
        if num_samples < self._file.frames and self._file.format != "MP3":
            raise AudioError(
                f"is truncated: {num_samples} of {self._file.frames} samples are there",
                self._path,
                "replace it",
            )


class _AvFile:
    """A file that libsndfile cannot open: the first sound track of whatever FFmpeg's libraries read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container = av.open(str(path))
        except (av.error.FFmpegError, OSError) as error:
            raise AudioError(
                f"is not audio that can be decoded ({error.strerror})", path, "replace it"
            ) from None
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError("has no sound track", path, "remove it or use a file with sound")
        self._stream = self._container.streams.audio[0]
        self.info = AudioInfo(sample_rate_hz=self._stream.rate, num_channels=self._stream.channels)

    def __enter__(self) -> _AvFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """[sample, channel] blocks; the resampler only turns every sample format into planar floats."""
        to_float = av.AudioResampler(format="fltp", layout=self._stream.layout, rate=self._stream.rate)
        pending: list[npt.NDArray[np.float32]] = []
        num_pending = 0
        try:
            for frame in self._container.decode(self._stream):
                for planar in to_float.resample(frame):
                    pending.append(planar.to_ndarray().T.astype(np.float32, copy=False))
                    num_pending += len(pending[-1])
                if num_pending >= BLOCK_S * self.info.sample_rate_hz:
                    yield np.concatenate(pending)
                    pending, num_pending = [], 0
        except av.error.FFmpegError as error:
            raise AudioError(
                f"cannot be decoded to its end ({error.strerror})", self._path, "replace it"
            ) from None
        if pending:
            yield np.concatenate(pending)


def _refuse_truncated_wav(path: Path) -> None:
    """libsndfile quietly shortens a wav whose data chunk is cut off; the header says what was meant."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(12)
        if header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                there = size - file.tell()
                if length not in UNKNOWN_WAV_LENGTHS and length > there:
                    raise AudioError(
                        f"is truncated: {there} of {length} bytes of sound are there", path, "replace it"
                    )
                return
            file.seek(length + length % 2, 1)
