"""The door for sound: files of any format in, mono float32 in [-1, 1] out, and wav, flac and mp3 written.

What opens a file lies in `audio/readers.py`: libsndfile where it counts samples right (wav, flac, aiff and
the like), FFmpeg's libraries for the rest, without an `ffmpeg` program. A time in the sound is the time that
a player shows. Resampling is soxr's HQ, which librosa uses by default. What cannot be trusted (truncated,
empty) is an AudioError that names the file; what was mended is told by `SoundStream.notes`.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from clotho_long.audio.choice import ChannelChoice, Quieter, SoundChoice, SoundNotes
from clotho_long.audio.containers import refuse_truncated
from clotho_long.audio.readers import (
    LOUDNESS_STRIDE,
    AudioInfo,
    Block,
    Reader,
    energies,
    open_exactly,
    open_sound,
)
from clotho_long.core.errors import AudioError
from clotho_long.core.files import FileState, atomic_path, file_state
from clotho_long.core.units import Hertz, Seconds

Waveform: TypeAlias = npt.NDArray[np.float32]  # [sample]

# What FFmpeg's libraries and libsndfile decode, by the names that such files have.
AUDIO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffixes in (
        "wav wave rf64 bwf w64 flac ogg oga opus spx mp3 mp2 mpa m4a m4b m4r aac ac3 eac3 aif aiff aifc",
        "au snd caf amr awb wma wv ape tta tak dsf dts mka weba voc",
        "mp4 m4v mov qt 3gp 3g2 mkv webm avi wmv asf flv f4v ts m2t m2ts mts mpg mpeg vob ogv mxf",
    )
    for suffix in suffixes.split()
)
RESAMPLING_QUALITY = "HQ"
PCM_BLOCK_SAMPLES = 32_000  # stays in the processor's cache
NOTICED_DB = 30.0  # what was taken is that far below another sound of the file: worth a word
FARTHEST_DB = 200.0  # below which one silence is like another
SILENT_POWER = 1e-9  # -90 dB, about the rounding noise of 16-bit audio


def probe(path: Path, *, track: int | None = None) -> AudioInfo:
    """Rate and channels of the sound in a file.

    Raises:
        AudioError: the file is missing, empty, or holds no sound that can be decoded.
    """
    reader = open_sound(path, track)
    reader.close()
    return reader.info


def probe_length(path: Path) -> tuple[Hertz, int]:
    """Rate and number of samples of a wav or flac file, from its header, checked against what is there."""
    refuse_truncated(path)
    try:
        with open_exactly(path) as file:
            return file.samplerate, file.frames
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"is not a wav or flac file ({error.error_string})", path, "render it again"
        ) from None


class SoundStream(Iterator[Waveform]):
    """A file as mono, block by block; once it was read to its end it knows more of itself."""

    def __init__(self, path: Path, sample_rate_hz: Hertz | None, choice: SoundChoice) -> None:
        self._path, self._rate_hz, self._choice = path, sample_rate_hz, choice
        self._notes: SoundNotes | None = None
        self._blocks = self._decode()
        self._state: FileState | None = None  # of the file when it was opened

    def __iter__(self) -> SoundStream:
        return self

    def __next__(self) -> Waveform:
        return next(self._blocks)

    @property
    def notes(self) -> SoundNotes | None:
        """What came out beside the samples; None unless the file was read to its end."""
        return self._notes

    def told(self) -> dict[str, Any]:
        """The notes as JSON-like values; none if the end of the file was not reached.

        Raises:
            AudioError: the file has changed since it was opened.
        """
        if self._state is not None and file_state(self._path) != self._state:
            raise AudioError("was changed while it was read", self._path, "run the same command again")
        if self._notes is None:
            return {}
        done = self._notes.to_json()
        return {"duration_s": self._notes.duration_s, **({"sound": done} if done else {})}

    def close(self) -> None:
        """Let go of the file before its end."""
        self._blocks.close()

    def _decode(self) -> Generator[Waveform, None, None]:
        self._state = file_state(self._path)
        reader = open_sound(self._path, self._choice.track)
        try:
            yield from self._resampled(reader)
        finally:
            reader.close()

    def _resampled(self, reader: Reader) -> Iterator[Waveform]:
        native_hz = reader.info.sample_rate_hz
        resampler = None
        if self._rate_hz not in (None, native_hz):
            resampler = soxr.ResampleStream(native_hz, self._rate_hz, 1, "float32", RESAMPLING_QUALITY)
        for mono in self._mono(reader):
            yield mono if resampler is None else resampler.resample_chunk(mono)
        if resampler is not None:
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)

    def _mono(self, reader: Reader) -> Iterator[Waveform]:
        _refuse_missing_channel(self._path, self._choice.channel, reader.info.num_channels)
        taken = _Taken(num_channels=reader.info.num_channels)
        for block in reader.blocks():
            mono = _mono(block, self._choice.channel)
            taken.count(block, mono)
            yield mono
        if taken.num_samples == 0:
            raise AudioError("holds no samples", self._path, "remove or replace the file")
        if taken.num_mended == taken.num_samples:
            raise AudioError("holds nothing but NaN or infinite samples", self._path, "export it again")
        native_hz = reader.info.sample_rate_hz
        self._notes = SoundNotes(
            duration_s=taken.num_samples / native_hz,
            track=self._choice.track or 1,
            num_tracks=reader.num_tracks,
            silence_s=reader.silence_samples / native_hz,
            num_mended=taken.num_mended,
            num_damaged=reader.num_damaged,
            quieter=taken.quieter(reader),
        )


def stream_mono(
    path: Path,
    sample_rate_hz: Hertz | None = None,
    *,
    channels: ChannelChoice = "mean",
    track: int | None = None,
) -> SoundStream:
    """Decode a file block by block, in bounded memory, as mono at `sample_rate_hz` (default: its own).

    Args:
        channels: their mean, the first, or the one of a number from 1 on.
        track: number of the sound track, from 1 on; by default the first.

    Raises:
        AudioError: the file cannot be decoded to its end, is empty, or has no such track or channel.
    """
    return SoundStream(path, sample_rate_hz, SoundChoice(channels=channels, track=track))


def read_mono(
    path: Path,
    sample_rate_hz: Hertz | None = None,
    *,
    channels: ChannelChoice = "mean",
    track: int | None = None,
) -> Waveform:
    """A whole file as mono float32 [sample]; `stream_mono` in one piece, with its errors."""
    return np.concatenate(list(stream_mono(path, sample_rate_hz, channels=channels, track=track)))


def read_parts(
    path: Path, parts: Sequence[tuple[Seconds, Seconds]], *, sound: SoundChoice | None = None
) -> tuple[Hertz, list[Waveform]]:
    """A file's own rate, and its sound from when to when, mono float32 [sample], as `stream_mono` gives it.

    A part that passes the end of the file ends there. What is between parts is not decoded where the format
    allows it (wav and flac), and nothing behind the last part is.

    Raises:
        AudioError: as `stream_mono`, as far as the file is read.
    """
    choice = sound or SoundChoice()
    reader = open_sound(path, choice.track)
    try:
        rate_hz, num_channels = reader.info.sample_rate_hz, reader.info.num_channels
        _refuse_missing_channel(path, choice.channel, num_channels)
        edges = [(round(start_s * rate_hz), round(stop_s * rate_hz)) for start_s, stop_s in parts]
        found: list[Waveform] = []
        for start, stop in edges:
            block = reader.part(start, stop)
            if block is None:
                return rate_hz, _streamed_parts(path, edges, choice)
            mono = _mono(block, choice.channel)
            mono[~np.isfinite(mono)] = 0  # as `_Taken` does
            found.append(mono)
        return rate_hz, found
    finally:
        reader.close()


def _streamed_parts(path: Path, edges: Sequence[tuple[int, int]], choice: SoundChoice) -> list[Waveform]:
    """`read_parts` of a file that is read from its beginning, with edges in samples."""
    pieces: list[list[Waveform]] = [[np.zeros(0, np.float32)] for _ in edges]
    end, at = max(stop for _, stop in edges), 0
    stream = stream_mono(path, channels=choice.channels, track=choice.track)
    for block in stream:
        for piece, (start, stop) in zip(pieces, edges, strict=True):
            if start < at + len(block) and stop > at:
                piece.append(block[max(start - at, 0) : stop - at].copy())
        at += len(block)
        if at >= end:
            stream.close()
            break
    return [np.concatenate(piece) for piece in pieces]


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
    # what is louder than full scale stays there: as an integer it would come out on the other side
    pcm: npt.NDArray[np.int16] = np.clip(scaled, -32768, 32767, out=scaled).astype(np.int16)
    return pcm


class _Taken:
    """What was taken of a file so far, and how loud that is beside the rest."""

    def __init__(self, *, num_channels: int) -> None:
        self.num_samples = 0
        self.num_mended = 0
        self._energy = 0.0
        self._channel_energies = np.zeros(num_channels)

    def count(self, block: Block, mono: Waveform) -> None:
        """Count a block and what was taken of it, in which NaN and infinities become silence."""
        self.num_samples += len(mono)
        if not np.isfinite(mono.sum()):  # the sum of finite samples may overflow, too: looked at again
            wrong = ~np.isfinite(mono)
            self.num_mended += int(wrong.sum())
            mono[wrong] = 0
        self._energy += float(energies(mono[:, None])[0])
        if len(self._channel_energies) > 1:
            self._channel_energies += np.nan_to_num(energies(block), nan=0.0, posinf=0.0)

    def quieter(self, reader: Reader) -> Quieter | None:
        """What of the file is far louder than what was taken, if anything is."""
        rate_hz = reader.info.sample_rate_hz
        candidates = {
            f"--channels {place + 1}": float(energy) / rate_hz
            for place, energy in enumerate(self._channel_energies)
        }
        candidates |= {f"--track {track}": energy for track, energy in reader.other_energies.items()}
        louder = max(candidates, key=candidates.__getitem__)
        loudest, energy = candidates[louder], self._energy / rate_hz
        seconds = self.num_samples / rate_hz
        if loudest * LOUDNESS_STRIDE < SILENT_POWER * seconds or loudest < energy * 10 ** (NOTICED_DB / 10):
            return None
        below_db = 10 * float(np.log10(loudest / energy)) if energy else np.inf
        return Quieter(below_db=round(min(below_db, FARTHEST_DB), 1), louder=louder)


def _mono(block: Block, channel: int | None) -> Waveform:
    """[sample, channel] -> [sample], one channel or the mean of all; the caller's own."""
    if block.shape[1] == 1:
        return np.ascontiguousarray(block[:, 0])
    if channel is not None:
        return block[:, channel].copy()
    # column by column: a mean over a short last axis is slow
    total: Waveform = block[:, 0] + block[:, 1]
    for further in range(2, block.shape[1]):
        total += block[:, further]
    total /= np.float32(block.shape[1])
    return total


def _refuse_missing_channel(path: Path, channel: int | None, num_channels: int) -> None:
    if channel is not None and channel >= num_channels:
        channels = "1 channel" if num_channels == 1 else f"{num_channels} channels"
        raise AudioError(f"has {channels}, no number {channel + 1}", path, "give another --channels")
