"""Features of recordings and annotation files that a user brings along."""

import hashlib
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from clotho_long.cli.features import COMMANDS
from clotho_long.core.command_line import CommandGroup
from clotho_long.core.jsonl import write_lines
from clotho_long.features.encoders.logmel import LogMelEncoder
from clotho_long.features.files import (
    AUDIO_KEY,
    TEXT_KEY,
    audio_file,
    read_features,
    text_file,
    write_features,
)
from clotho_long.features.recordings import recording_id, search
from tests.features.tiny_corpus import RATE_HZ, tree, write_noise

MAIN = CommandGroup("clotho-long", commands={command.name: command for command in COMMANDS})


def invoke(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(MAIN, [command, *map(str, arguments), "--encoder", "logmel", "--quiet"])


def rows_of(out: Path, name: str) -> np.ndarray:
    return read_features(audio_file(out, name), AUDIO_KEY)[0]


def write_mp4(path: Path, duration_s: int) -> Path:
    """An mp4 with AAC sound and no picture."""
    rate_hz = 32_000
    noise = 0.1 * np.random.default_rng(3).standard_normal((1, duration_s * rate_hz)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="mono")
        for start in range(0, noise.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(noise[:, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def annotation(qid: str, query: str) -> dict:
    return {"qid": qid, "query": query, "duration": 10, "vid": "r", "relevant_windows": [[1, 2]]}


def test_files_and_folders_of_any_format_are_named_by_their_stem(tmp_path):
    write_noise(tmp_path / "in" / "deep" / "Straße, nachts.WAV", 3.5)
    write_noise(tmp_path / "in" / "b.flac", 2)
    write_noise(tmp_path / "in" / "c.mp3", 4, rate_hz=44_100)
    write_mp4(tmp_path / "in" / "d.mp4", 3)
    (tmp_path / "in" / "notes.txt").write_text("not audio, and not meant to be")
    alone = write_noise(tmp_path / "v1.2 alone.ogg", 1, rate_hz=16_000)
    result = invoke("features", tmp_path / "in", alone, "--out", tmp_path / "out", "--jobs", 1)
    assert result.exit_code == 0, result.stderr
    lengths = {p.stem: len(rows_of(tmp_path / "out", p.stem)) for p in (tmp_path / "out" / "clap").iterdir()}
    assert lengths.pop("d") in (3, 4)  # AAC adds some priming samples
    assert lengths == {"Straße, nachts": 3, "b": 2, "c": 4, "v1.2 alone": 1}


def test_rows_are_those_of_the_encoder_window_by_window(tmp_path):
    path = write_noise(tmp_path / "r.wav", 5, rate_hz=32_000)
    invoke("features", path, "--out", tmp_path / "out")
    sound = soundfile.read(path, dtype="float32")[0]
    expected = LogMelEncoder().encode_windows(sound.reshape(5, 32_000))
    np.testing.assert_array_equal(rows_of(tmp_path / "out", "r"), expected)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (np.full((2, 768), np.nan, np.float32), "gave values that are not finite in row 0"),
        (np.zeros((1, 768), np.float32), "gave float32 (1, 768), not float32 (2, 768)"),
        (np.zeros((2, 768)), "gave float64 (2, 768), not float32 (2, 768)"),
    ],
    ids=["nan", "rows", "type"],
)
def test_encoder_that_gives_something_else_is_caught(tmp_path, monkeypatch, given, problem):
    monkeypatch.setattr(LogMelEncoder, "encode_windows", lambda self, windows: given)
    result = invoke("features", write_noise(tmp_path / "r.wav", 2), "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"  r: logmel {problem}" in result.stderr
    assert not list((tmp_path / "out").rglob("*.npz"))


def test_recording_of_a_third_of_a_second_gives_one_window(tmp_path):
    invoke("features", write_noise(tmp_path / "short.wav", 0.3), "--out", tmp_path / "out")
    assert rows_of(tmp_path / "out", "short").shape == (1, 768)


def test_silent_recording_gives_equal_finite_rows(tmp_path):
    invoke("features", write_noise(tmp_path / "silent.wav", 3, level=0), "--out", tmp_path / "out")
    rows = rows_of(tmp_path / "out", "silent")
    assert len(rows) == 3
    np.testing.assert_array_equal(rows, rows[[0, 0, 0]])


def test_only_the_start_is_encoded_when_asked(tmp_path):
    path = write_noise(tmp_path / "r.wav", 6)
    invoke("features", path, "--out", tmp_path / "all")
    invoke("features", path, "--out", tmp_path / "start", "--max-seconds", 4)
    assert len(rows_of(tmp_path / "all", "r")) == 6
    assert rows_of(tmp_path / "start", "r").shape == (4, 768)


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # workers, or one process with threads that prepare
def test_every_bad_recording_is_one_line_and_the_good_one_is_done(tmp_path, monkeypatch, device):
    monkeypatch.setattr(LogMelEncoder, "device", device)
    folder = tmp_path / "in"
    write_noise(folder / "good.wav", 2)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("not audio")
    write_noise(folder / "cut.wav", 2)
    with (folder / "cut.wav").open("r+b") as file:
        file.truncate(9000)
    write_noise(folder / "nan.wav", 2)
    soundfile.write(folder / "nan.wav", np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    (tmp_path / "hollow").mkdir()
    missing = tmp_path / "missing.wav"
    result = invoke("features", folder, tmp_path / "hollow", missing, "--out", tmp_path / "out", "--jobs", 1)
    assert result.exit_code == 1
    assert "recordings: 1 encoded; 0 done before; 6 failed" in result.stdout
    lines = result.stderr.splitlines()
    for problem in (
        f"empty: {folder / 'empty.wav'}: is an empty file; remove or replace it",
        f"missing: {missing}: no such file; check the path",
        f"{tmp_path / 'hollow'}: holds no audio files; check the path",
    ):
        assert f"  {problem}" in lines
    for start in ("text: ", "cut: ", "nan: "):
        assert len([line for line in lines if line.startswith(f"  {start}")]) == 1
    assert lines[-1].startswith("error: ")
    assert len(lines) == 7


def ids(*paths, naming="stem"):
    """Id -> path of what is found."""
    found = search(paths, naming=naming)
    assert not found.problems
    return {recording.recording_id: recording.sound.path for recording in found.recordings}


def test_files_whose_names_meet_are_called_by_their_folders(tmp_path):
    first = write_noise(tmp_path / "days" / "day1" / "REC001.wav", 1)
    second = write_noise(tmp_path / "days" / "day2" / "REC001.wav", 1)
    third = write_noise(tmp_path / "days" / "day2" / "park.flac", 1)
    expected = {"day1__REC001": first, "day2__REC001": second, "park": third}
    assert ids(tmp_path / "days") == expected
    # the same however they are given
    assert ids(tmp_path / "days" / "day1", tmp_path / "days" / "day2") == expected
    assert ids(first, second, third) == expected
    assert ids(tmp_path / "days", naming="path") == {**dict(list(expected.items())[:2]), "day2__park": third}
    result = invoke("features", tmp_path / "days", "--out", tmp_path / "out", "--names", "path", "--jobs", 1)
    assert result.exit_code == 0, result.stderr
    assert {path.stem for path in (tmp_path / "out" / "clap").iterdir()} == set(
        ids(tmp_path / "days", naming="path")
    )


def test_two_formats_of_one_recording_keep_their_suffixes(tmp_path):
    wav, flac = (write_noise(tmp_path / "a" / f"street.{suffix}", 1) for suffix in ("wav", "flac"))
    assert ids(tmp_path / "a") == {"a__street.wav": wav, "a__street.flac": flac}


def test_what_not_even_folders_tell_apart_is_refused_together(tmp_path):
    first, second = (write_noise(tmp_path / name / "in" / "x.wav", 1) for name in ("a", "b"))
    found = search([first.parent, second.parent])
    assert [problem.item for problem in found.problems] == [str(first)]
    assert f"has the name of {second}; rename all but one" in found.problems[0].reason
    assert not found.recordings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("street, nachts", "street, nachts"),
        (" leading blank", " leading blank"),
        ("100%", "100%"),
        ("ü" * 125, "ü" * 125),
        (".hidden", "%2Ehidden"),
        ("back\\slash", "back%5Cslash"),
        ("latin\udce9", "latin%E9"),
        ("line\nbreak", "line%0Abreak"),
    ],
)
def test_an_id_is_the_name_unless_that_cannot_be_a_files(name, expected):
    assert recording_id(name) == expected


def test_ids_that_are_too_long_stay_apart():
    first, second = recording_id("日" * 200 + "a"), recording_id("日" * 200 + "b")
    assert first != second
    assert len(f"{first}.npz".encode()) <= 255
    assert first.startswith("日" * 80)


def test_the_same_file_given_twice_is_one_recording(tmp_path):
    path = write_noise(tmp_path / "in" / "r.wav", 2)
    result = invoke("features", path, tmp_path / "in", "--out", tmp_path / "out", "--jobs", 1)
    assert "recordings: 1 encoded" in result.stdout


def test_changed_recording_is_not_taken_for_the_old_one(tmp_path):
    path = write_noise(tmp_path / "r.wav", 2, seed=1)
    invoke("features", path, "--out", tmp_path / "out")
    write_noise(path, 2, seed=2)
    result = invoke("features", path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "r.npz: was made with another source; give --overwrite" in result.stderr
    assert invoke("features", path, "--out", tmp_path / "out", "--overwrite").exit_code == 0


def test_one_recording_that_changed_is_no_loss_for_the_others(tmp_path):
    for name in "abc":
        write_noise(tmp_path / "in" / f"{name}.wav", 2)
    invoke("features", tmp_path / "in" / "a.wav", tmp_path / "in" / "b.wav", "--out", tmp_path / "out")
    write_noise(tmp_path / "in" / "b.wav", 2, seed=9)
    result = invoke("features", tmp_path / "in", "--out", tmp_path / "out", "--jobs", 1)
    assert result.exit_code == 1
    assert "recordings: 1 encoded; 1 done before; 1 failed" in result.stdout
    assert "b.npz: was made with another source; give --overwrite" in result.stderr


def test_an_edit_in_the_middle_of_a_large_file_is_noticed(tmp_path):
    path = write_noise(tmp_path / "large.wav", 70, rate_hz=32_000)
    assert path.stat().st_size > 4 << 20
    invoke("features", path, "--out", tmp_path / "out", "--max-seconds", 2)
    with path.open("r+b") as file:
        file.seek(1_500_000)
        file.write(bytes(50_000))
    result = invoke("features", path, "--out", tmp_path / "out", "--max-seconds", 2)
    assert "large.npz: was made with another source" in result.stderr


def test_features_of_an_earlier_version_still_count(tmp_path):
    path = write_noise(tmp_path / "r.wav", 2)
    invoke("features", path, "--out", tmp_path / "out")
    file = audio_file(tmp_path / "out", "r")
    rows, made_by = read_features(file, AUDIO_KEY)
    size = str(path.stat().st_size).encode()
    earlier = hashlib.sha256(size + path.read_bytes()).hexdigest()[:16]
    old = {name: made_by[name] for name in ("encoder", "windows", "max_s")}
    write_features(file, rows, AUDIO_KEY, {**old, "source": {"file": earlier, "channels": "mean"}})
    assert "0 encoded; 1 done before" in invoke("features", path, "--out", tmp_path / "out").stdout
    write_noise(path, 2, seed=5)
    assert "another source" in invoke("features", path, "--out", tmp_path / "out").stderr


def test_the_note_tells_the_length_and_what_was_mended_and_neither_counts(tmp_path):
    path = tmp_path / "r.wav"
    sound = np.full(80_000, 0.1, np.float32)
    sound[7] = np.nan
    soundfile.write(path, sound, 32_000, subtype="FLOAT")
    result = invoke("features", path, "--out", tmp_path / "out")
    assert "  note: r: 1 NaN or infinite samples became silence" in result.stderr
    _, made_by = read_features(audio_file(tmp_path / "out", "r"), AUDIO_KEY)
    assert made_by["duration_s"] == 2.5
    assert made_by["sound"] == {"num_mended": 1}
    assert "0 encoded; 1 done before" in invoke("features", path, "--out", tmp_path / "out").stdout


def test_another_track_or_channel_is_another_source(tmp_path):
    path = write_noise(tmp_path / "r.wav", 2)
    invoke("features", path, "--out", tmp_path / "out")
    for option in (("--track", 1), ("--channels", "first"), ("--channels", 1)):
        result = invoke("features", path, "--out", tmp_path / "out", *option)
        assert "was made with another source" in result.stderr
    assert invoke("features", path, "--out", tmp_path / "out", "--channels", "0").exit_code == 2


def test_what_was_left_out_of_a_folder_is_said(tmp_path):
    folder = tmp_path / "in"
    write_noise(folder / "a.wav", 1)
    for name in ("notes.txt", "more.txt", "picture.JPG", "README", "._a.wav"):
        (folder / name).write_text("no sound")
    (folder / ".hidden").mkdir()
    write_noise(folder / ".hidden" / "b.wav", 1)
    result = invoke("features", folder, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert (
        f"  note: {folder}: left out 5 files that are hidden or no audio by their suffix: " in result.stderr
    )
    assert ".jpg 1, .txt 2, hidden 1, without suffix 1" in result.stderr
    assert "recordings: 1 encoded" in result.stdout


def test_linked_folders_are_searched_once_and_hidden_files_read_by_name(tmp_path):
    first = write_noise(tmp_path / "in" / "a.wav", 1)
    other = write_noise(tmp_path / "elsewhere" / "b.wav", 1)
    (tmp_path / "in" / "linked").symlink_to(other.parent)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    hidden = write_noise(tmp_path / ".c.wav", 1)
    linked = tmp_path / "in" / "linked" / "b.wav"
    assert ids(tmp_path / "in", hidden) == {"a": first, "b": linked, "%2Ec": hidden}


def test_stereo_is_averaged_or_its_first_channel_taken(tmp_path):
    sound = 0.1 * np.random.default_rng(1).standard_normal((2 * 32_000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "r.wav", sound, 32_000, subtype="FLOAT")
    for channels, mono in (("mean", sound.mean(axis=1)), ("first", sound[:, 0])):
        invoke("features", tmp_path / "r.wav", "--out", tmp_path / channels, "--channels", channels)
        expected = LogMelEncoder().encode_windows(mono.reshape(2, 32_000))
        np.testing.assert_array_equal(rows_of(tmp_path / channels, "r"), expected)


def test_long_recording_is_shared_among_workers_to_the_same_bytes(tmp_path):
    path = write_noise(tmp_path / "long.wav", 700)
    for jobs in (1, 2):
        assert invoke("features", path, "--out", tmp_path / str(jobs), "--jobs", jobs).exit_code == 0
    assert len(rows_of(tmp_path / "1", "long")) == 700
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


def test_queries_of_any_annotation_file_get_text_features(tmp_path):
    lines = tmp_path / "queries.jsonl"
    write_lines(lines, [annotation(f"q{number}", f"sound number {number}") for number in range(150)])
    assert invoke("text-features", lines, "--out", tmp_path / "1", "--jobs", 1).exit_code == 0
    result = invoke("text-features", lines, "--out", tmp_path / "2", "--jobs", 2)
    assert "queries: 150 encoded; 0 done before; 0 failed" in result.stdout
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    rows, note = read_features(text_file(tmp_path / "1", "q149"), TEXT_KEY)
    np.testing.assert_array_equal(rows, LogMelEncoder().encode_texts(["sound number 149"])[0])
    assert note["source"] == {"query": "sound number 149"}


def test_text_features_go_on_where_they_stopped_and_notice_another_text(tmp_path):
    lines = tmp_path / "queries.jsonl"
    write_lines(lines, [annotation("1", "a dog"), annotation("2", "a cat")])
    invoke("text-features", lines, "--out", tmp_path / "out", "--jobs", 1)
    text_file(tmp_path / "out", "2").unlink()
    result = invoke("text-features", lines, "--out", tmp_path / "out", "--jobs", 1)
    assert "queries: 1 encoded; 1 done before" in result.stdout
    write_lines(lines, [annotation("1", "a dog"), annotation("2", "a cow")])
    result = invoke("text-features", lines, "--out", tmp_path / "out", "--jobs", 1)
    assert result.exit_code == 1
    assert "qid2.npz: was made with another source" in result.stderr


@pytest.mark.parametrize(
    ("qids", "problem"),
    [
        (["1", "1"], "qid 1 occurs twice"),
        (["../1"], "'../1' cannot name a file"),
        ([""], "'' cannot name a file"),
    ],
)
def test_qids_that_cannot_be_file_names_are_refused(tmp_path, qids, problem):
    lines = tmp_path / "queries.jsonl"
    write_lines(lines, [annotation(qid, "a dog") for qid in qids])
    result = invoke("text-features", lines, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert problem in result.stderr
    assert not (tmp_path / "out").exists()


def test_malformed_annotation_names_its_line(tmp_path):
    lines = tmp_path / "queries.jsonl"
    lines.write_text('{"qid": "1"}\n')
    result = invoke("text-features", lines, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"error: {lines}:1: field query is missing" in result.stderr


def test_unknown_encoder_names_the_known_ones(tmp_path):
    path = write_noise(tmp_path / "r.wav", 2)
    result = CliRunner().invoke(MAIN, ["features", str(path), "--out", str(tmp_path), "--encoder", "clap"])
    assert result.exit_code == 2
    assert "no encoder is called 'clap'; known: " in result.stderr
    known = result.stderr.partition("known: ")[2].strip().split(", ")
    assert known == sorted(known)
    assert {"logmel", "msclap-2023", "laion-clap", "m2d-clap", "pe-a-frame"} <= set(known)


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help_shows_an_example(command):
    result = CliRunner().invoke(MAIN, [command, "--help"])
    assert result.exit_code == 0
    assert f"clotho-long {command} " in result.stdout


def test_real_recordings_of_every_format(real_audio, tmp_path):
    shutil.copy(next(real_audio.glob("WalkingTourVideos/*.mp4")), tmp_path / "tour.mp4")
    result = invoke(
        "features",
        tmp_path / "tour.mp4",
        real_audio / "development",
        "--out",
        tmp_path / "out",
        "--max-seconds",
        20,
    )
    assert result.exit_code == 0, result.stderr
    assert rows_of(tmp_path / "out", "tour").shape == (20, 768)
    assert rows_of(tmp_path / "out", "one_short_bark").shape == (1, 768)
