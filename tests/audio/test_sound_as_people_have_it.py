"""What is heard of files that are odd in time, in tracks and channels, or damaged."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from clotho_long.audio.cache import cached_levels, cached_waveform, open_waveform
from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.containers import door_for
from clotho_long.audio.io import probe, read_mono, stream_mono
from clotho_long.audio.timeline import Timeline
from clotho_long.core.errors import AudioError, ConfigError
from tests.builders import noise, tone
from tests.odd_files import by_soundfile, cut, encode, join, patched

RATE_HZ = 48_000


def notes_of(path: Path, **choice: object) -> str:
    stream = stream_mono(path, **choice)  # type: ignore[arg-type]
    for _ in stream:
        pass
    return str(stream.notes)


def loud_seconds(path: Path) -> list[int]:
    """The seconds in which there is sound."""
    sound = read_mono(path)
    rate_hz = probe(path).sample_rate_hz
    starts = range(0, len(sound) - rate_hz // 2, rate_hz)
    return [i // rate_hz for i in starts if np.abs(sound[i : i + rate_hz][1000:-3000]).max() > 0.05]


def test_a_hole_in_the_time_stamps_is_silence_and_said(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", "aac", container="matroska", hole=(2.0, 3.0))
    assert loud_seconds(path) == [0, 1, 5, 6]
    assert "3.0 s without sound became silence" in notes_of(path)


def test_sound_that_starts_late_in_a_video_is_late(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mp4", "aac", late_s=3.0)
    assert loud_seconds(path) == [3, 4, 5, 6]
    assert "3.0 s without sound" in notes_of(path)


def test_a_clock_that_starts_again_or_jumps_by_hours_is_no_hole() -> None:
    time = Timeline(rate_hz=1000, origin_s=0.0, end_s=None)
    time.advance(8000, 1000)
    assert time.silence_before(0.01) == 0  # the next link of a chained file
    time.advance(1000, 1000)
    assert time.silence_before(1.01) == 0
    assert time.silence_before(50_000.0) == 0
    time.advance(1000, 1000)
    assert time.silence_before(50_003.0) == 2000
    assert time.silence_samples == 2000


def test_no_hole_passes_the_end_that_the_container_states() -> None:
    time = Timeline(rate_hz=1000, origin_s=0.0, end_s=10.0)
    time.advance(4000, 1000)
    assert time.silence_before(500.0) == 0
    assert time.silence_before(503.0) == 3000


def test_a_damaged_opus_keeps_what_follows_in_place(tmp_path: Path) -> None:
    sound = np.concatenate([noise(8.0, rate_hz=RATE_HZ), 0.5 * np.ones(10, np.float32)])
    whole = encode(tmp_path / "x.opus", "libopus", sound, container="ogg")
    path = patched(tmp_path / "y.opus", whole, whole.stat().st_size // 2, bytes(3000))
    assert len(read_mono(path)) == pytest.approx(len(sound), abs=RATE_HZ // 10)
    assert "without sound became silence" in notes_of(path)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_an_mp3_with_a_lame_tag_starts_and_ends_where_its_sound_did(tmp_path: Path, rate_hz: int) -> None:
    sound = noise(3.3, rate_hz=rate_hz)
    path = encode(tmp_path / "x.mp3", "libmp3lame", sound, rate_hz=rate_hz)
    heard = read_mono(path)
    assert len(heard) == len(sound)
    by_libsndfile, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(heard, by_libsndfile[: len(heard)], atol=1e-3)


def test_a_cut_mp3_holds_no_echo_of_its_start(tmp_path: Path) -> None:
    rate_hz = 44_100
    sound = np.concatenate([tone(300 + 100 * second, 1.0, rate_hz=rate_hz) for second in range(25)])
    path = cut(tmp_path / "x.mp3", encode(tmp_path / "y.mp3", "libmp3lame", sound, rate_hz=rate_hz), 0.5)
    heard = read_mono(path)
    assert len(heard) == pytest.approx(len(sound) / 2, abs=2 * rate_hz)
    for second in range(len(heard) // rate_hz):
        spectrum = np.abs(np.fft.rfft(heard[second * rate_hz :][4000:36_000]))
        assert np.argmax(spectrum) * rate_hz / 32_000 == pytest.approx(300 + 100 * second, abs=3)


def test_another_rate_or_layout_in_a_stream_keeps_pitch_and_time(tmp_path: Path) -> None:
    parts = [
        encode(tmp_path / "a.aac", "aac", tone(440, 3.0, rate_hz=48_000), container="adts"),
        encode(tmp_path / "b.aac", "aac", tone(440, 3.0, rate_hz=24_000), container="adts", rate_hz=24_000),
        encode(tmp_path / "c.aac", "aac", tone(440, 3.0, rate_hz=48_000), container="adts", layout="stereo"),
    ]
    heard = read_mono(join(tmp_path / "x.aac", *parts))
    assert len(heard) / 48_000 == pytest.approx(9.0, abs=0.2)
    for second in (1, 4, 7):
        spectrum = np.abs(np.fft.rfft(heard[second * 48_000 : (second + 1) * 48_000]))
        assert np.argmax(spectrum) == pytest.approx(440, abs=1)


def test_a_chosen_track_is_taken_and_a_silent_first_one_is_said(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", "aac", container="matroska", silent_tracks_before=1)
    assert np.abs(read_mono(path)).max() < 1e-3
    assert "sound track 1 of 2 was taken" in notes_of(path)
    assert "below what --track 2 gives" in notes_of(path)
    assert np.abs(read_mono(path, track=2)).max() > 0.05
    assert notes_of(path, track=2) == "sound track 2 of 2 was taken"
    with pytest.raises(AudioError, match="has 2 sound tracks, no number 3"):
        read_mono(path, track=3)


def test_what_vanishes_in_the_mean_or_lies_in_another_channel_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    sound = noise(2.0)
    soundfile.write(path, np.stack([sound, -sound], axis=1), 32_000, subtype="FLOAT")
    assert "below what --channels 1 gives" in notes_of(path)
    soundfile.write(path, np.stack([0 * sound, 0 * sound, sound], axis=1), 32_000, subtype="FLOAT")
    assert notes_of(path) == ""  # a third of it is there
    assert "below what --channels 3 gives" in notes_of(path, channels="first")
    np.testing.assert_array_equal(read_mono(path, channels=3), sound)
    with pytest.raises(AudioError, match="has 3 channels, no number 4"):
        read_mono(path, channels=4)
    with pytest.raises(ConfigError, match="no channel has the number 0"):
        SoundChoice(channels=0)


def test_silence_is_not_called_too_quiet(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros((32_000, 2)), 32_000)
    assert notes_of(path) == ""


def test_samples_that_are_no_numbers_become_silence_and_are_counted(tmp_path: Path) -> None:
    path, sound = tmp_path / "x.wav", noise(2.0)
    sound[[5, 700]] = np.nan, np.inf
    soundfile.write(path, sound, 32_000, subtype="FLOAT")
    heard = read_mono(path)
    assert heard[5] == heard[700] == 0
    np.testing.assert_array_equal(np.delete(heard, [5, 700]), np.delete(sound, [5, 700]))
    assert notes_of(path) == "2 NaN or infinite samples became silence"


def test_a_wav_longer_than_its_field_can_say_is_read_to_its_end(tmp_path: Path) -> None:
    path = by_soundfile(tmp_path / "x.wav", "PCM_16")
    assert door_for(path) == "libsndfile"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + (1 << 32))  # sparse: the length has wrapped once
    assert door_for(path) == "ffmpeg-ignoring-length"


@pytest.mark.parametrize("suffix", ["m3u8", "ffconcat", "wav", "sdp"])
@pytest.mark.parametrize("kind", ["playlist", "list", "session"])
def test_no_file_makes_another_one_open(tmp_path: Path, suffix: str, kind: str) -> None:
    encode(tmp_path / "secret.m4a", "aac", container="ipod")
    where = (tmp_path / "secret.m4a").resolve()
    text = {
        "playlist": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{where}\n#EXT-X-ENDLIST\n",
        "list": f"ffconcat version 1.0\nfile '{where}'\n",
        "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    }[kind]
    path = tmp_path / f"x.{suffix}"
    path.write_text(text)
    with pytest.raises(AudioError, match="is not audio that can be decoded"):
        read_mono(path)


def test_a_block_is_all_that_is_held_of_a_compressed_file_too(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.m4a", "aac", noise(25.0, rate_hz=8_000), container="ipod", rate_hz=8_000)
    assert [round(len(block) / 8_000) for block in stream_mono(path)] == [10, 10, 5]


def test_libraries_do_not_speak_on_their_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mp3 = encode(tmp_path / "a.mp3", "libmp3lame", rate_hz=44_100)
    read_mono(cut(tmp_path / "b.mp3", mp3))
    read_mono(join(tmp_path / "c.mp3", mp3, mp3))
    assert capfd.readouterr().err == ""


def test_a_cached_sound_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    sound = noise(2.0)
    calls = []

    def blocks() -> list[np.ndarray]:
        calls.append(1)
        return [sound[:1000], sound[1000:]]

    path = cached_waveform(tmp_path, {"a": 1}, blocks)
    np.testing.assert_array_equal(open_waveform(path), sound)
    assert cached_waveform(tmp_path, {"a": 1}, blocks) == path
    assert len(calls) == 1
    levels = cached_levels(path, 32_000)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4)
    with pytest.raises(AudioError, match="was cut short"):
        open_waveform(path)
    cached_waveform(tmp_path, {"a": 1}, blocks)
    np.testing.assert_array_equal(open_waveform(path), sound)
    path.with_suffix(".32000.npy").write_bytes(b"torn")
    np.testing.assert_array_equal(cached_levels(path, 32_000).energy, levels.energy)


def test_pyav_itself_decodes_no_more_and_no_less(tmp_path: Path) -> None:
    for suffix, codec, container in (
        ("mkv", "aac", "matroska"),
        ("mp2", "mp2", "mp2"),
        ("wma", "wmav2", "asf"),
    ):
        path = encode(tmp_path / f"x.{suffix}", codec, container=container)
        with av.open(str(path)) as file:
            num_samples = sum(frame.samples for frame in file.decode(audio=0))
        assert len(read_mono(path)) == num_samples
