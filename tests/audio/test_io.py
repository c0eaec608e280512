from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.io import probe, read_mono, read_parts, resample, stream_mono, to_pcm16, write_audio
from clotho_long.core.errors import AudioError
from tests.builders import make_mp4, noise, tone


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_every_libsndfile_format_is_read_at_the_asked_rate(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"Café, [un] #1.{suffix}"
    soundfile.write(path, tone(440, 2.0, rate_hz=44_100), 44_100)
    waveform = read_mono(path, 32_000)
    assert waveform.dtype == np.float32
    # ogg and mp3 may pad to their frames
    assert len(waveform) == pytest.approx(64_000, abs=1 if suffix in ("wav", "flac") else 3000)
    spectrum = np.abs(np.fft.rfft(waveform[8000:40_000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "aac"), ("m4a", "aac"), ("mkv", "aac"), ("webm", "libopus")]
)
def test_containers_are_read_without_an_ffmpeg_program(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"walk.{suffix}"
    rate_hz = 48_000
    sound = tone(500, 2.0, rate_hz=rate_hz)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        convert = av.AudioResampler(
            format=stream.format, layout="mono", rate=rate_hz, frame_size=stream.frame_size
        )
        for piece in [*convert.resample(frame), *convert.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    waveform = read_mono(path, 32_000)
    assert len(waveform) / 32_000 == pytest.approx(2.0, abs=0.1)
    assert np.argmax(np.abs(np.fft.rfft(waveform[16_000:48_000]))) == pytest.approx(500, abs=1)


def test_stereo_is_averaged_or_its_first_channel_taken(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    left, right = tone(300, 1.0), tone(700, 1.0)
    soundfile.write(path, np.stack([left, right], axis=1), 32_000, subtype="FLOAT")
    np.testing.assert_allclose(read_mono(path), (left + right) / 2, atol=1e-7)
    np.testing.assert_array_equal(read_mono(path, channels="first"), left)
    assert probe(path).num_channels == 2


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_streaming_resamples_as_one_piece_does(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "long.wav"
    sound = noise(23.0, rate_hz=rate_hz)
    soundfile.write(path, sound, rate_hz, subtype="FLOAT")
    streamed = read_mono(path, 32_000)
    whole = resample(sound, rate_hz, 32_000)
    assert abs(len(streamed) - len(whole)) <= 1
    np.testing.assert_allclose(streamed[: len(whole)], whole[: len(streamed)], atol=1e-5)


@pytest.mark.parametrize("frequency_hz", [50, 1_000, 12_000, 14_000])
def test_a_resampled_tone_is_the_tone_at_the_other_rate(frequency_hz: int) -> None:
    resampled = resample(tone(frequency_hz, 2.0, rate_hz=44_100), 44_100, 32_000)
    expected = tone(frequency_hz, 2.0, rate_hz=32_000)
    inside = slice(2_000, -2_000)  # the ends ring
    error = np.sqrt(np.mean((resampled - expected)[inside] ** 2) / np.mean(expected[inside] ** 2))
    assert 20 * np.log10(error) < -60


@pytest.mark.parametrize("frequency_hz", [17_500, 19_000, 21_500])
def test_what_the_lower_rate_cannot_hold_does_not_come_back_as_another_tone(frequency_hz: int) -> None:
    resampled = resample(tone(frequency_hz, 2.0, rate_hz=44_100, peak=0.5), 44_100, 32_000)
    assert np.abs(resampled[2_000:-2_000]).max() < 0.5 * 10 ** (-90 / 20)


def test_a_block_is_all_that_is_held(tmp_path: Path) -> None:
    path = tmp_path / "minutes.wav"
    soundfile.write(path, noise(65.0, rate_hz=8_000), 8_000)
    blocks = list(stream_mono(path))
    assert len(blocks) == 7
    assert max(len(block) for block in blocks) == 80_000


def test_pcm_is_what_soundfile_writes_of_floats(tmp_path: Path) -> None:
    sound = np.concatenate(
        [noise(1.0, rms=0.3), np.float32([1, -1, 0, 1e-9, -1e-9, 0.99999, -0.99999])]
    ).clip(-1, 1)
    soundfile.write(tmp_path / "theirs.wav", sound, 32_000, subtype="PCM_16")
    theirs, _ = soundfile.read(tmp_path / "theirs.wav", dtype="int16")
    np.testing.assert_array_equal(to_pcm16(sound), theirs)
    np.testing.assert_array_equal(to_pcm16(np.float32([-1.0001, -7, 1.0001, 7])), [-32768] * 2 + [32767] * 2)
    write_audio(tmp_path / "ours.wav", sound, 32_000)
    assert (tmp_path / "ours.wav").read_bytes() == (tmp_path / "theirs.wav").read_bytes()


def test_flac_and_wav_hold_the_same_samples(tmp_path: Path) -> None:
    sound = noise(1.0)
    for suffix in ("wav", "flac"):
        write_audio(tmp_path / f"x.{suffix}", sound, 32_000)
    wav, _ = soundfile.read(tmp_path / "x.wav", dtype="int16")
    flac, _ = soundfile.read(tmp_path / "x.flac", dtype="int16")
    np.testing.assert_array_equal(wav, flac)


def truncated_wav(path: Path) -> None:
    write_audio(path, noise(2.0), 32_000)
    path.write_bytes(path.read_bytes()[:-30_001])


def truncated_flac(path: Path) -> None:
    soundfile.write(path, noise(2.0), 32_000, format="FLAC")
    path.write_bytes(path.read_bytes()[:-30_001])


def text_file(path: Path) -> None:
    path.write_text("this is no sound\n" * 50)


def empty_file(path: Path) -> None:
    path.touch()


def header_only(path: Path) -> None:
    write_audio(path, np.empty(0, np.float32), 32_000)


def not_a_number(path: Path) -> None:
    sound = np.full(64_000, np.nan, np.float32)
    soundfile.write(path, sound, 32_000, format="WAV", subtype="FLOAT")


def video_without_sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        for _ in range(5):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24"))
            )
        container.mux(stream.encode(None))


def truncated_mp4(path: Path) -> None:
    make_mp4(path.with_suffix(".mp4"), 4.0)
    path.write_bytes(path.with_suffix(".mp4").read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (truncated_wav, "is truncated"),
        (truncated_flac, "is truncated|cannot be decoded to its end"),
        (text_file, "is not audio that can be decoded"),
        (empty_file, "is an empty file"),
        (header_only, "holds no samples"),
        (not_a_number, "holds nothing but NaN or infinite samples"),
        (video_without_sound, "has no sound track"),
        (truncated_mp4, "is truncated: 20000 of"),
    ],
)
def test_what_cannot_be_trusted_is_refused_by_name(tmp_path: Path, spoil: object, complaint: str) -> None:
    path = tmp_path / "spoiled file.wav"
    spoil(path)  # type: ignore[operator]
    with pytest.raises(AudioError, match=complaint) as caught:
        read_mono(path, 32_000)
    assert caught.value.where == str(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        probe(tmp_path / "nothing.wav")
    with pytest.raises(AudioError, match="is a folder"):
        probe(tmp_path)


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFDB, 0xFFFFFFFF])
def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path, length: int) -> None:
    path = tmp_path / "piped.wav"
    sound = noise(1.0)
    write_audio(path, sound, 32_000)
    whole = read_mono(path)
    content = bytearray(path.read_bytes())
    content[40:44] = length.to_bytes(4, "little")
    path.write_bytes(content)
    np.testing.assert_array_equal(read_mono(path), whole)


@pytest.mark.parametrize("name", ["street.wav", "street.flac", "street.mp3", "street.mp4"])
@pytest.mark.parametrize("channels", ["mean", 2])
def test_parts_of_a_file_are_those_of_the_whole(tmp_path: Path, name: str, channels: object) -> None:
    path, rate_hz = tmp_path / name, 16_000
    if path.suffix == ".mp4":
        make_mp4(path)
        channels = "mean"
    else:
        stereo = np.stack([noise(30.0, rate_hz=rate_hz), tone(440.0, 30.0, rate_hz=rate_hz)], axis=1)
        soundfile.write(path, stereo, rate_hz)
    whole = read_mono(path, channels=channels)
    native_hz = probe(path).sample_rate_hz
    end_s = len(whole) / native_hz
    parts = [(12.5, 13.75), (0.0, 0.01), (end_s - 0.5, end_s + 3), (end_s + 1, end_s + 2), (3.0, 14.0)]
    found_hz, pieces = read_parts(path, parts, sound=SoundChoice(channels=channels))
    assert found_hz == native_hz
    for (start_s, stop_s), piece in zip(parts, pieces, strict=True):
        np.testing.assert_array_equal(piece, whole[round(start_s * native_hz) : round(stop_s * native_hz)])


def test_what_is_no_number_in_a_part_is_silence_as_in_the_whole(tmp_path: Path) -> None:
    sound = tone(440.0, 2.0, rate_hz=8000).astype(np.float32)
    sound[9000:9010] = np.nan
    soundfile.write(tmp_path / "x.wav", sound, 8000, subtype="FLOAT")
    _, (piece,) = read_parts(tmp_path / "x.wav", [(1.0, 1.5)])
    np.testing.assert_array_equal(piece, read_mono(tmp_path / "x.wav")[8000:12000])
    with pytest.raises(AudioError, match="has 1 channel, no number 2"):
        read_parts(tmp_path / "x.wav", [(1.0, 1.5)], sound=SoundChoice(channels=2))
