"""Sound files as people have them: of every container, cut off, joined, with holes, under odd names.

Made with PyAV and soundfile alone. A codec that this build of PyAV lacks leaves out its files.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import soundfile

from clotho_long.audio.io import Waveform
from tests.builders import noise

SECONDS = 4.0
JAPANESE = "音" * 78  # 234 bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OddFile:
    """A file and what is true of it."""

    path: Path
    seconds: float | None  # None: it has to be refused, by name
    complaint: str = ""


def encode(
    path: Path,
    codec: str,
    sound: Waveform | None = None,
    *,
    rate_hz: int = 48_000,
    layout: str = "mono",
    container: str | None = None,
    options: dict[str, str] | None = None,
    late_s: float = 0.0,
    hole: tuple[float, float] | None = None,
    silent_tracks_before: int = 0,
    picture: bool = False,
) -> Path:
    """Noise of 4 s, or a sound [sample] or [channel, sample], through an encoder of FFmpeg's libraries.

    Args:
        late_s: time stamp at which the sound starts, after a picture that starts at 0.
        hole: when and for how long the time stamps jump; nothing of the sound is lost.
    """
    wave = np.atleast_2d(noise(SECONDS, rate_hz=rate_hz) if sound is None else sound)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw:
        kind = container or path.suffix[1:]
        with av.open(raw, "w", format=kind, options=options or {}) as file:
            streams = [
                file.add_stream(codec, rate=rate_hz, layout=layout) for _ in range(silent_tracks_before + 1)
            ]
            if codec.startswith("wma"):
                for stream in streams:
                    stream.bit_rate = 64_000  # the default is too high for one channel
            if picture or late_s:
                _add_picture(file)
            for number, stream in enumerate(streams):
                _add_sound(file, stream, wave if number == silent_tracks_before else 0 * wave, late_s, hole)
    return path


def _add_sound(file: object, stream: object, wave: Waveform, late_s: float, hole: object) -> None:
    rate_hz, layout = stream.rate, stream.layout  # type: ignore[attr-defined]
    channels = np.ascontiguousarray(np.broadcast_to(wave, (layout.nb_channels, wave.shape[1])))
    whole = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout.name)
    whole.sample_rate, whole.pts = rate_hz, 0
    fit = av.AudioResampler(
        format=stream.format,  # type: ignore[attr-defined]
        layout=layout,
        rate=rate_hz,
        frame_size=stream.frame_size or 1024,  # type: ignore[attr-defined]
    )
    place = 0
    for frame in [*fit.resample(whole), *fit.resample(None)]:
        shift_s = late_s
        if hole is not None and place / rate_hz >= hole[0]:  # type: ignore[index]
            shift_s += hole[1]  # type: ignore[index]
        frame.pts = place + round(shift_s * rate_hz)
        place += frame.samples
        file.mux(stream.encode(frame))  # type: ignore[attr-defined]
    file.mux(stream.encode(None))  # type: ignore[attr-defined]


def _add_picture(file: object) -> None:
    video = file.add_stream("mpeg4", rate=2, width=32, height=32, pix_fmt="yuv420p")  # type: ignore[attr-defined]
    for number in range(2 * int(SECONDS) + 8):
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        frame.pts = number
        file.mux(video.encode(frame))  # type: ignore[attr-defined]
    file.mux(video.encode(None))  # type: ignore[attr-defined]


def join(path: Path, *parts: Path) -> Path:
    """Files one after the other, as `cat` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def cut(path: Path, source: Path, share: float = 0.6) -> Path:
    """The first part of a file."""
    content = source.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def patched(path: Path, source: Path, place: int, content: bytes) -> Path:
    """A file with some bytes replaced."""
    data = bytearray(source.read_bytes())
    data[place : place + len(content)] = content
    path.write_bytes(data)
    return path


def written(path: Path, text: str) -> Path:
    """A file of text."""
    path.write_text(text)
    return path


def by_soundfile(path: Path, subtype: str, *, container: str | None = None) -> Path:
    """Noise of 4 s as libsndfile writes it."""
    soundfile.write(path, noise(SECONDS), 32_000, subtype=subtype, format=container)
    return path


def odd_files(folder: Path) -> list[OddFile]:
    """All of them, below `folder`; `parts` beside it holds what they were made of."""
    parts = folder.with_name(f"{folder.name}-parts")
    for place in (folder, parts):
        place.mkdir(parents=True, exist_ok=True)
    made: list[OddFile] = []
    for build in (_of_soundfile, _of_ffmpeg, _joined, _unfinished, _odd_in_time, _odd_names, _refused):
        for name, seconds, make in build(parts):
            try:
                path = make(folder / name)
            except av.codec.codec.UnknownCodecError:
                (folder / name).unlink(missing_ok=True)
                continue
            made.append(OddFile(path=path, seconds=seconds))
    return made


Row = tuple[str, float | None, Callable[[Path], Path]]


def _of_soundfile(parts: Path) -> Iterator[Row]:
    for suffix, subtype, container in (
        ("wav", "PCM_24", "WAV"),
        ("wave", "FLOAT", "WAV"),
        ("rf64", "PCM_16", "RF64"),
        ("aiff", "PCM_16", "AIFF"),
        ("au", "PCM_16", "AU"),
        ("caf", "PCM_16", "CAF"),
        ("w64", "PCM_16", "W64"),
        ("flac", "PCM_16", "FLAC"),
        ("voc", "PCM_16", "VOC"),
        ("ogg", "VORBIS", "OGG"),
        ("mp3", "MPEG_LAYER_III", "MP3"),
    ):
        yield (
            f"soundfile {suffix}.{suffix}",
            SECONDS,
            lambda path, subtype=subtype, container=container: by_soundfile(  # type: ignore[misc]
                path, subtype, container=container
            ),
        )


def _of_ffmpeg(parts: Path) -> Iterator[Row]:
    for suffix, codec, container, rate_hz in (
        ("mp4", "aac", "mp4", 48_000),
        ("m4a", "alac", "ipod", 44_100),
        ("m4b", "aac", "ipod", 32_000),
        ("mov", "pcm_s16le", "mov", 48_000),
        ("3gp", "libopencore_amrnb", "3gp", 8_000),
        ("amr", "libopencore_amrnb", "amr", 8_000),
        ("mka", "flac", "matroska", 48_000),
        ("mkv", "pcm_s16le", "matroska", 48_000),
        ("webm", "libopus", "webm", 48_000),
        ("weba", "libopus", "webm", 48_000),
        ("opus", "libopus", "ogg", 48_000),
        ("oga", "flac", "ogg", 48_000),
        ("avi", "libmp3lame", "avi", 44_100),
        ("wma", "wmav2", "asf", 44_100),
        ("wmv", "wmav2", "asf", 44_100),
        ("flv", "libmp3lame", "flv", 44_100),
        ("ts", "aac", "mpegts", 48_000),
        ("mts", "ac3", "mpegts", 48_000),
        ("m2ts", "mp2", "mpegts", 48_000),
        ("mpg", "mp2", "mpeg", 48_000),
        ("mp2", "mp2", "mp2", 44_100),
        ("ac3", "ac3", "ac3", 48_000),
        ("aac", "aac", "adts", 44_100),
        ("wv", "wavpack", "wv", 44_100),
        ("tta", "tta", "tta", 44_100),
        ("aifc", "pcm_mulaw", "aiff", 44_100),
    ):
        yield (
            f"ffmpeg {suffix}.{suffix}",
            SECONDS,
            lambda path, codec=codec, container=container, rate_hz=rate_hz: encode(  # type: ignore[misc]
                path, codec, container=container, rate_hz=rate_hz
            ),
        )


def _joined(parts: Path) -> Iterator[Row]:
    opus = encode(parts / "a.opus", "libopus", container="ogg")
    flac = encode(parts / "a.oga", "flac", container="ogg")
    vorbis = by_soundfile(parts / "a.ogg", "VORBIS", container="OGG")
    mp3 = encode(parts / "a.mp3", "libmp3lame", rate_hz=44_100)
    mono = encode(parts / "a.aac", "aac", container="adts")
    stereo = encode(parts / "b.aac", "aac", container="adts", layout="stereo")
    slower = encode(parts / "c.aac", "aac", container="adts", rate_hz=24_000)
    yield "chained.opus", 2 * SECONDS, lambda path: join(path, opus, opus)
    yield "chained flac.oga", 2 * SECONDS, lambda path: join(path, flac, flac)
    yield "chained.ogg", 2 * SECONDS, lambda path: join(path, vorbis, vorbis)
    yield "joined.mp3", 2 * SECONDS, lambda path: join(path, mp3, mp3)
    yield "mono then stereo.aac", 2 * SECONDS, lambda path: join(path, mono, stereo)
    yield "another rate.aac", 2 * SECONDS, lambda path: join(path, mono, slower)


def _unfinished(parts: Path) -> Iterator[Row]:
    wav = by_soundfile(parts / "b.wav", "PCM_16")
    flac = by_soundfile(parts / "b.flac", "PCM_16")
    mp3 = encode(parts / "b.mp3", "libmp3lame", rate_hz=44_100)
    for length in (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        yield (
            f"length {length:x}.wav",
            SECONDS,
            lambda path, length=length: patched(path, wav, 40, length.to_bytes(4, "little")),  # type: ignore[misc]
        )
    streaminfo = flac.read_bytes()[21:26]
    unknown = bytes([streaminfo[0] & 0xF0, 0, 0, 0, 0])
    yield "piped.flac", SECONDS, lambda path: patched(path, flac, 21, unknown)
    yield "cut off.mp3", 0.6 * SECONDS, lambda path: cut(path, mp3)
    yield (
        "no xing.mp3",
        SECONDS,
        lambda path: encode(path, "libmp3lame", rate_hz=44_100, options={"write_xing": "0"}),
    )


def _odd_in_time(parts: Path) -> Iterator[Row]:
    yield "hole.mkv", SECONDS + 3, lambda path: encode(path, "aac", container="matroska", hole=(1.0, 3.0))
    yield "starts late.mp4", SECONDS + 3, lambda path: encode(path, "aac", late_s=3.0)
    yield (
        "two tracks.mkv",
        SECONDS,
        lambda path: encode(path, "aac", container="matroska", silent_tracks_before=1),
    )

    def with_nan(path: Path) -> Path:
        sound = noise(SECONDS)
        sound[1000:1010] = np.nan
        soundfile.write(path, sound, 32_000, subtype="FLOAT")
        return path

    yield "nan.wav", SECONDS, with_nan


def _odd_names(parts: Path) -> Iterator[Row]:
    yield "12:30:00.m4a", SECONDS, lambda path: encode(path, "aac", container="ipod")
    for name in ("back\\slash.wav", " leading blank.wav", f"{JAPANESE}.wav", os.fsdecode(b"latin\xe9.wav")):
        yield name, SECONDS, lambda path: join(path, by_soundfile(parts / "c.wav", "PCM_16"))
    yield (
        os.fsdecode(b"latin\xe9.m4a"),
        SECONDS,
        lambda path: join(path, encode(parts / "c.m4a", "aac", container="ipod")),
    )


def _refused(parts: Path) -> Iterator[Row]:
    for suffix, source in (
        ("rf64", by_soundfile(parts / "d.rf64", "PCM_16", container="RF64")),
        ("aiff", by_soundfile(parts / "d.aiff", "PCM_16")),
        ("au", by_soundfile(parts / "d.au", "PCM_16")),
        ("w64", by_soundfile(parts / "d.w64", "PCM_16")),
        ("caf", by_soundfile(parts / "d.caf", "PCM_16")),
        ("flac", by_soundfile(parts / "d.flac", "PCM_16")),
        ("ogg", by_soundfile(parts / "d.ogg", "VORBIS", container="OGG")),
        ("opus", encode(parts / "d.opus", "libopus", container="ogg")),
        ("mkv", encode(parts / "d.mkv", "aac", container="matroska")),
        ("webm", encode(parts / "d.webm", "libopus")),
        ("avi", encode(parts / "d.avi", "pcm_s16le")),
        ("mp4", encode(parts / "d.mp4", "aac", options={"movflags": "faststart"})),
        ("m4a", encode(parts / "d.m4a", "aac", container="ipod")),
    ):
        yield f"cut {suffix}.{suffix}", None, lambda path, source=source: cut(path, source)  # type: ignore[misc]
    elsewhere = encode(parts / "e.m4a", "aac", container="ipod")
    for name, text in (
        ("playlist.wav", f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{elsewhere}\n#EXT-X-ENDLIST\n"),
        ("list.mp3", f"ffconcat version 1.0\nfile '{elsewhere}'\n"),
        ("text.ogg", "no sound at all\n" * 100),
    ):
        yield name, None, lambda path, text=text: written(path, text)  # type: ignore[misc]
