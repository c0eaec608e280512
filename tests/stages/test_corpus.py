from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clotho_long.audio.io import read_mono, write_audio
from clotho_long.core.annotations import read_queries
from clotho_long.core.files import fingerprint_file
from clotho_long.core.jsonl import write_records
from clotho_long.core.records import SPLITS
from clotho_long.corpus import Corpus
from clotho_long.recipe.records import ClipRecipe
from clotho_long.sources.records import Foreground, Skipped
from clotho_long.stages.mixtures import mixture_tasks, render_mixture
from clotho_long.stages.render import JOURNAL
from tests.builders import (
    files_below,
    make_clotho,
    make_corpus,
    make_mp4,
    make_tours,
    noise,
    run_cli,
    tone,
    write_captions,
)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A scanned and planned corpus; tests that change it work on a copy."""
    return make_corpus(tmp_path_factory.mktemp("planned"))


@pytest.fixture
def corpus(planned: Corpus, tmp_path: Path) -> Corpus:
    shutil.copytree(planned.root, tmp_path / "corpus")
    return Corpus(tmp_path / "corpus")


def test_an_annotation_says_where_the_recipe_puts_the_event(planned: Corpus) -> None:
    for split in SPLITS:
        queries = {query.qid: query for query in read_queries(planned.annotations_file(split))}
        events = {event.qid: (recipe, event) for recipe in planned.recipes(split) for event in recipe.events}
        assert queries.keys() == events.keys()
        for qid, query in queries.items():
            recipe, event = events[qid]
            assert query.recording_id == recipe.recording_id
            assert query.query == f"{event.event_id}.wav: caption {(event.caption_index or 0) + 1}"
            assert [m.onset_s for m in query.moments] == pytest.approx(event.starts_s, abs=0.051)
            assert [m.duration_s for m in query.moments] == pytest.approx(
                [event.duration_s] * len(event.starts_s)
            )


def test_qids_are_five_digits_and_count_over_the_splits(planned: Corpus) -> None:
    qids = [query.qid for split in SPLITS for query in read_queries(planned.annotations_file(split))]
    assert qids == [f"{number:05d}" for number in range(len(qids))]


def test_clips_without_a_query_are_dropped_or_kept_by_the_preset(corpus: Corpus) -> None:
    assert all(recipe.events for recipe in corpus.recipes("train"))
    result = run_cli("plan", corpus.root, "--preset", "clotho-moment", "--set", "clip_duration=5")
    assert result.exit_code == 0, result.output
    recipes = list(corpus.recipes("train"))
    assert len(recipes) == 36
    assert any(not recipe.events for recipe in recipes)


def test_adding_a_source_moves_no_other_clip(tmp_path: Path) -> None:
    clotho = make_clotho(tmp_path / "clotho")
    few = make_tours(tmp_path / "few", names=("Venice", "Singapore", "Istanbul"))
    many = make_tours(tmp_path / "many", names=("Venice", "Singapore", "Istanbul", "Amsterdam"))
    for name, tours in (("a", few), ("b", many)):
        run_cli("scan", "--clotho", clotho, "--walking-tours", tours, "--out", tmp_path / name)
        run_cli("plan", tmp_path / name, "--set", "clip_duration=20", "--set", "gap_s.mean=3")
    without = {recipe.recording_id: recipe for recipe in Corpus(tmp_path / "a").recipes("train")}
    with_it = {recipe.recording_id: recipe for recipe in Corpus(tmp_path / "b").recipes("train")}
    assert without.keys() < with_it.keys()
    for recording_id, recipe in without.items():
        assert [dataclasses.replace(e, qid="x") for e in with_it[recording_id].events] == [
            dataclasses.replace(e, qid="x") for e in recipe.events
        ]


def test_two_jobs_render_the_bytes_of_one(corpus: Corpus, tmp_path: Path) -> None:
    other = Corpus(tmp_path / "other")
    shutil.copytree(corpus.root, other.root)
    assert run_cli("render", corpus.root, "--jobs", 1).exit_code == 0
    assert run_cli("render", other.root, "--jobs", 2).exit_code == 0
    assert files_below(corpus.root / "audio") == files_below(other.root / "audio")
    assert len(files_below(corpus.root / "audio")) > 6


def test_a_rendered_file_holds_the_mixture_of_its_recipe(corpus: Corpus) -> None:
    run_cli("render", corpus.root, "--split", "valid", "--format", "flac")
    for task in mixture_tasks(corpus, ["valid"]):
        written, rate_hz = soundfile.read(corpus.audio_file("valid", task.recipe.recording_id, "flac"))
        mixture = render_mixture(task)
        assert rate_hz == 32_000
        assert len(written) == len(mixture) == 20 * 32_000
        np.testing.assert_allclose(written, mixture, atol=2 / 32_768)


def test_a_second_run_does_nothing_and_a_missing_file_is_made_again(corpus: Corpus) -> None:
    first = run_cli("render", corpus.root, "--split", "test")
    files = files_below(corpus.audio_dir("test"))
    assert "done before: 0" in first.output
    again = run_cli("render", corpus.root, "--split", "test")
    assert "rendered: 0" in again.output
    next(corpus.audio_dir("test").glob("*.wav")).unlink()
    third = run_cli("render", corpus.root, "--split", "test")
    assert "rendered: 1" in third.output
    assert files_below(corpus.audio_dir("test")) == files


def test_a_file_that_no_finished_run_vouches_for_is_rendered_again(corpus: Corpus) -> None:
    run_cli("render", corpus.root, "--split", "test")
    wanted = files_below(corpus.audio_dir("test"))
    victim = next(corpus.audio_dir("test").glob("*.wav"))
    victim.write_bytes(victim.read_bytes()[:1000])
    journal = corpus.audio_dir("test") / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    # what a kill leaves: the victim's line is not there yet, and the last line is torn
    kept = [line for line in lines if victim.name not in line]
    journal.write_text("".join(kept) + lines[0][:17])
    assert run_cli("render", corpus.root, "--split", "test").exit_code == 0
    assert files_below(corpus.audio_dir("test")) == wanted


def test_audio_of_another_plan_is_not_mixed_in(corpus: Corpus) -> None:
    run_cli("render", corpus.root, "--split", "valid")
    run_cli("plan", corpus.root, "--set", "clip_duration=20", "--set", "gap_s.mean=3", "--seed", "9")
    refused = run_cli("render", corpus.root, "--split", "valid")
    assert refused.exit_code == 1
    assert "was rendered from another recipe" in refused.output
    assert run_cli("render", corpus.root, "--split", "valid", "--overwrite").exit_code == 0


def test_only_and_limit_choose_clips(corpus: Corpus) -> None:
    wanted = next(iter(corpus.recipes("train"))).recording_id
    run_cli("render", corpus.root, "--only", wanted)
    assert [path.stem for path in corpus.audio_dir("train").glob("*.wav")] == [wanted]
    run_cli("render", corpus.root, "--split", "train", "--limit", "2")
    assert len(list(corpus.audio_dir("train").glob("*.wav"))) == 2
    missing = run_cli("render", corpus.root, "--only", "Atlantis_0.0_20.0")
    assert missing.exit_code == 1
    assert "no recipe is called 'Atlantis_0.0_20.0'" in missing.output


def test_a_source_that_changed_after_the_scan_is_an_error_that_names_it(corpus: Corpus) -> None:
    shutil.rmtree(corpus.cache_dir)
    tour = corpus.source_root("walking_tours") / "Singapore.wav"
    kept = tour.read_bytes()
    write_audio(tour, noise(40.0, seed=99), 32_000)
    result = run_cli("render", corpus.root, "--split", "valid", "--limit", "1")
    tour.write_bytes(kept)
    assert result.exit_code == 1
    assert f"{tour}: has changed since it was scanned" in result.output


def test_clips_of_silence_are_left_out_of_the_plan(tmp_path: Path) -> None:
    clotho, tours = make_clotho(tmp_path / "clotho"), make_tours(tmp_path / "tours")
    half_silent = np.concatenate([noise(20.0), np.zeros(20 * 32_000, np.float32)])
    write_audio(tours / "Venice.wav", half_silent, 32_000)
    corpus = Corpus(tmp_path / "corpus")
    run_cli("scan", "--clotho", clotho, "--walking-tours", tours, "--out", corpus.root)
    assert [t.silences_s for t in corpus.backgrounds() if t.background_id == "Venice"] == [((20.0, 40.0),)]
    planned = run_cli("plan", corpus.root, "--set", "clip_duration=10", "--set", "gap_s.mean=0.5")
    assert "Venice is silent in 3 of 7 clips: left out" in planned.stderr
    assert {recipe.start_s for recipe in corpus.recipes("train")} <= {0, 5, 10, 15}
    result = run_cli("render", corpus.root, "--split", "train")
    assert result.exit_code == 0, result.output


def test_a_recipe_in_silence_fails_alone_and_names_the_tour(tmp_path: Path) -> None:
    clotho, tours = make_clotho(tmp_path / "clotho"), make_tours(tmp_path / "tours")
    write_audio(tours / "Venice.wav", np.concatenate([noise(20.0), np.zeros(640_000, np.float32)]), 32_000)
    corpus = Corpus(tmp_path / "corpus")
    run_cli("scan", "--clotho", clotho, "--walking-tours", tours, "--out", corpus.root)
    run_cli("plan", corpus.root, "--set", "clip_duration=10", "--set", "gap_s.mean=0.5")
    heard = next(corpus.recipes("train"))
    silent = dataclasses.replace(heard, recording_id="Venice_25.0_35.0", start_s=25.0)
    write_records(corpus.recipes_file("train"), [heard, silent], ClipRecipe)
    result = run_cli("render", corpus.root, "--split", "train")
    assert result.exit_code == 1
    assert f"{tours / 'Venice.wav'} from 25 s on: the background is silent there" in result.output
    assert [path.stem for path in corpus.audio_dir("train").glob("*.wav")] == [heard.recording_id]


def test_a_scan_skips_what_is_bad_counts_it_and_goes_on(tmp_path: Path) -> None:
    clotho = make_clotho(tmp_path / "clotho")
    captions = {name: ["a"] * 5 for name in ("silent.wav", "short.wav", "nan.wav", "cut.wav", "good.wav")}
    folder = clotho / "development"
    write_audio(folder / "silent.wav", 0 * tone(1, 2.0), 32_000)
    write_audio(folder / "short.wav", tone(440, 0.4), 32_000)
    soundfile.write(folder / "nan.wav", np.full(64_000, np.nan, np.float32), 32_000, subtype="FLOAT")
    write_audio(folder / "cut.wav", tone(440, 2.0), 32_000)
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:50_000])
    write_audio(folder / "good.wav", tone(440, 2.0), 32_000)
    write_captions(clotho, "train", captions)
    tours = make_tours(tmp_path / "tours")
    write_audio(tours / "Stockholm.wav", 0 * tone(1, 2.0), 32_000)
    (tours / "Zurich.mp4").write_bytes(b"no video")
    corpus = Corpus(tmp_path / "corpus")
    result = run_cli("scan", "--clotho", clotho, "--walking-tours", tours, "--out", corpus.root)
    assert result.exit_code == 0, result.output
    assert [f.event_id for f in corpus.foregrounds() if f.split == "train"] == ["good"]
    skipped = {item.file: item.reason for item in map(_skipped, corpus.skipped_file.read_text().splitlines())}
    assert skipped["development/silent.wav"] == skipped["Stockholm.wav"] == "is silent"
    assert "no whole second survives" in skipped["development/short.wav"]
    assert "NaN" in skipped["development/nan.wav"]
    assert "is truncated" in skipped["development/cut.wav"]
    assert "is not audio" in skipped["Zurich.mp4"]
    assert "skipped: 9" in result.output  # these six, and the three tones that lost their rows


def _skipped(line: str) -> Skipped:
    return Skipped(**json.loads(line))


def test_a_tour_shorter_than_one_clip_is_reported_and_not_used(tmp_path: Path) -> None:
    clotho, tours = make_clotho(tmp_path / "clotho"), make_tours(tmp_path / "tours")
    write_audio(tours / "Zurich.wav", noise(7.0), 32_000)
    run_cli("scan", "--clotho", clotho, "--walking-tours", tours, "--out", tmp_path / "corpus")
    result = run_cli("plan", tmp_path / "corpus", "--set", "clip_duration=20")
    assert result.exit_code == 0
    assert "Zurich lasts 7 s, less than one clip: not used" in result.output
    nothing = run_cli("plan", tmp_path / "corpus")
    assert nothing.exit_code == 1
    assert "no clip of 300 s can be cut: the longest recording has 40 s" in nothing.output


def test_a_second_scan_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clotho, tours = make_clotho(tmp_path / "clotho"), make_tours(tmp_path / "tours")
    arguments = (
        "scan",
        "--clotho",
        clotho,
        "--walking-tours",
        tours,
        "--out",
        tmp_path / "corpus",
        "--jobs",
        1,
    )
    assert run_cli(*arguments).exit_code == 0
    sources = files_below(tmp_path / "corpus" / "sources")
    for name in ("clotho_long.sources.clotho.read_mono", "clotho_long.stages.mixtures.stream_mono"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("decoded again"))
    assert run_cli(*arguments).exit_code == 0
    assert files_below(tmp_path / "corpus" / "sources") == sources


def test_an_mp4_tour_is_cut_at_its_recipes_seconds(tmp_path: Path) -> None:
    clotho = make_clotho(tmp_path / "clotho")
    tours = tmp_path / "tours"
    for name in ("Venice", "Singapore", "Wildlife"):
        make_mp4(tours / f"{name}.mp4", 14.0)
    corpus = Corpus(tmp_path / "corpus")
    run_cli("scan", "--clotho", clotho, "--walking-tours", tours, "--out", corpus.root)
    run_cli(
        "plan", corpus.root, "--set", "clip_duration=8", "--set", "clip_interval=2", "--set", "gap_s.mean=1"
    )
    task = next(task for task in mixture_tasks(corpus, ["train"]) if task.recipe.start_s > 0)
    decoded = read_mono(tours / "Venice.mp4", 32_000)
    start = int(task.recipe.start_s * 32_000)
    background = decoded[start : start + 8 * 32_000]
    mixture = render_mixture(task)
    first = int(task.recipe.events[0].starts_s[0] * 32_000)
    np.testing.assert_allclose(
        mixture[:first] / np.abs(mixture[:first]).max(),
        background[:first] / np.abs(background[:first]).max(),
        atol=1e-5,
    )


def test_check_is_green_for_a_whole_corpus(corpus: Corpus) -> None:
    run_cli("render", corpus.root)
    result = run_cli("check", corpus.root)
    assert result.exit_code == 0, result.output
    assert "no problems found" in result.output


def test_check_prints_every_problem_with_its_place(corpus: Corpus) -> None:
    run_cli("render", corpus.root, "--split", "valid")
    path = corpus.annotations_file("train")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["relevant_windows"] = [[15.0, 21.5]]
    lines[1]["qid"] = lines[2]["qid"]
    lines[3]["query"] = " "
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{not json\n")
    audio = sorted(corpus.audio_dir("valid").glob("*.wav"))
    audio[0].write_bytes(audio[0].read_bytes()[:5000])
    write_audio(audio[1], noise(3.0), 32_000)
    write_audio(corpus.audio_file("valid", "stranger", "wav"), noise(3.0), 32_000)
    result = run_cli("check", corpus.root)
    assert result.exit_code == 1
    assert f"{path}:{len(lines) + 1}: not a line of JSON" in result.output
    assert f"{audio[0]}: is truncated" in result.output
    assert f"{audio[1]}: 96000 samples at 32000 Hz, not 640000" in result.output
    assert f"{corpus.audio_file('valid', 'stranger', 'wav')}: is in no recipe" in result.output
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run_cli("check", corpus.root)
    assert f"{path}:1: window [15, 21.5] is past duration 20" in result.output
    assert f"{path}:3: qid {lines[2]['qid']} is used before, at {path}:2" in result.output
    assert f"{path}:4: the query is empty" in result.output
    assert "has windows that are not where its recipe puts the event" in result.output


def test_a_recipe_past_its_clip_is_an_error_with_its_line(corpus: Corpus) -> None:
    path = corpus.recipes_file("train")
    lines = path.read_text().splitlines()
    spoiled = json.loads(lines[1])
    spoiled["events"][0]["starts_s"] = [19.5]
    lines[1] = json.dumps(spoiled)
    path.write_text("\n".join(lines) + "\n")
    result = run_cli("render", corpus.root, "--split", "train")
    assert result.exit_code == 1
    assert f"{path}:2: event" in result.output
    assert "of 20 s" in result.output


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("plan", "holds no sources; run `clotho-long scan` first"),
        ("render", "holds no recipes; run `clotho-long plan` first"),
        ("stats", "holds no recipes; run `clotho-long plan` first"),
        ("check", "holds no annotations; run `clotho-long plan`"),
    ],
)
def test_an_empty_folder_is_told_what_comes_first(tmp_path: Path, command: str, complaint: str) -> None:
    folder = tmp_path / "émpty cörpus"
    folder.mkdir()
    result = run_cli(command, folder)
    assert result.exit_code == 1
    assert complaint in result.output


def test_stats_count_and_draw(corpus: Corpus, tmp_path: Path) -> None:
    picture = tmp_path / "corpus stats.png"
    result = run_cli("stats", corpus.root, "--plot", picture)
    assert result.exit_code == 0, result.output
    clips = len(list(corpus.recipes("train")))
    queries = len(list(read_queries(corpus.annotations_file("train"))))
    row = next(line.split() for line in result.output.splitlines() if line.split()[0] == "train")
    assert row[1:4] == [str(clips), str(queries), f"{queries / clips:.2f}"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "CASTELLA, train: 46.5% / 31.6% / 15.3% / 6.6%" in result.output


@pytest.mark.parametrize("name", ["corpus.xyz", "picture"])
def test_a_picture_of_unknown_kind_is_one_line(corpus: Corpus, tmp_path: Path, name: str) -> None:
    result = run_cli("stats", corpus.root, "--plot", tmp_path / name)
    assert result.exit_code == 2
    assert f"error: --plot: {name} names no kind of picture; end it in " in result.output
    assert ".png" in result.output


def test_an_event_is_silent_after_all(corpus: Corpus) -> None:
    """A recipe may cut a silent second out of a file that sounds elsewhere: named, not divided by zero."""
    recipes = list(corpus.recipes("train"))
    spoiled = dataclasses.replace(
        recipes[0], events=(dataclasses.replace(recipes[0].events[0], trim_onset_s=0, duration_s=1.0),)
    )
    write_records(corpus.recipes_file("train"), [spoiled], ClipRecipe)
    event = corpus.source_root("clotho") / "development" / f"{spoiled.events[0].event_id}.wav"
    kept = event.read_bytes()
    sound = read_mono(event)
    sound[:44_100] = 0
    write_audio(event, sound, 44_100)
    changed = [
        dataclasses.replace(item, fingerprint=fingerprint_file(event))
        if (item.split, item.event_id) == ("train", event.stem)
        else item
        for item in corpus.foregrounds()
    ]
    write_records(corpus.foregrounds_file, changed, Foreground)
    shutil.rmtree(corpus.cache_dir)
    result = run_cli("render", corpus.root, "--split", "train")
    event.write_bytes(kept)
    assert result.exit_code == 1
    assert f"event {spoiled.events[0].event_id!r} is silent" in result.output


def test_a_cut_event_is_its_loudest_stretch(tmp_path: Path) -> None:
    """The preset with short moments, from plan to mixture."""
    corpus = make_corpus(tmp_path, lengths_s=(6.0,))
    event_id = next(item.event_id for item in corpus.foregrounds() if item.split == "train")
    levels = np.repeat(np.float32([0.1, 0.1, 0.1, 1.0, 0.1, 0.1]), 44_100)
    write_audio(
        corpus.source_root("clotho") / "development" / f"{event_id}.wav",
        tone(500, 6.0, rate_hz=44_100) * levels,
        44_100,
    )
    sources = (
        "--clotho",
        corpus.source_root("clotho"),
        "--walking-tours",
        corpus.source_root("walking_tours"),
    )
    short = ("--preset", "clotho-moment-short", "--set", "clip_duration=20", "--set", "clip_interval=1")
    for arguments in (
        ("scan", *sources, "--out", corpus.root, "--trim-db", 40, "--jobs", 1),
        ("plan", corpus.root, *short, "--set", "gap_s.mean=1", "--set", "recurrence_probability=0"),
    ):
        assert run_cli(*arguments).exit_code == 0
    task = next(
        task for task in mixture_tasks(corpus, ["train"]) if [e.duration_s for e in task.recipe.events] == [1]
    )
    (cut,) = task.recipe.events
    assert cut.cut_from_s == 6
    quiet = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, background_db=-80.0))
    mixture = render_mixture(quiet)
    start = int(cut.starts_s[0] * 32_000)
    # the loud second from its beginning to its end, and nothing around it
    heard = np.abs(mixture[start : start + 32_000])
    assert min(heard[at : at + 1000].max() for at in range(1000, 31_000, 1000)) > 0.9
    assert np.abs(np.delete(mixture, slice(start, start + 32_000))).max() < 0.01
    np.testing.assert_array_equal(mixture, render_mixture(quiet))
    whole = dataclasses.replace(cut, cut_from_s=None)
    other = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, events=(whole,)))
    assert other.fingerprint != task.fingerprint
