"""What is stale or foreign is named by `check` and refused by the others; the remedies that it names work."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clotho_long.core.files import atomic_path, is_part
from clotho_long.core.jsonl import write_records
from clotho_long.core.records import SPLITS
from clotho_long.corpus import Corpus
from clotho_long.features.files import AUDIO_KEY, audio_file, read_features, text_file, write_features
from clotho_long.recipe.records import ClipRecipe
from tests.builders import as_manifest, files_below, make_corpus, run_cli, write_captions

PLAN = ("--set", "clip_duration=20", "--set", "gap_s.mean=3")
EXTRACT = ("--encoder", "logmel", "--jobs", 1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus with audio and features; tests that change it work on a copy."""
    corpus = make_corpus(tmp_path_factory.mktemp("finished"))
    run_cli("render", corpus.root, "--jobs", 1)
    result = run_cli("extract", corpus.root, *EXTRACT)
    assert result.exit_code == 0, result.output
    return corpus


@pytest.fixture
def corpus(finished: Corpus, tmp_path: Path) -> Corpus:
    shutil.copytree(finished.root, tmp_path / "corpus")
    return Corpus(tmp_path / "corpus")


def problems(corpus: Corpus) -> list[str]:
    result = run_cli("check", corpus.root, "--jobs", 1)
    assert result.exit_code == (0 if "no problems found" in result.stdout else 1)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return [line for line in result.stdout.splitlines() if "no problems found" not in line]


def run(*arguments: object) -> str:
    result = run_cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def remove_leftovers_named_by(lines: list[str]) -> None:
    for line in lines:
        if line.endswith("remove it"):
            Path(line.partition(": ")[0]).unlink()


def test_a_finished_corpus_has_no_problem_whoever_looks(corpus: Corpus) -> None:
    assert problems(corpus) == []
    assert run("check", corpus.root, "--jobs", 2) == f"{corpus.root}: no problems found\n"


def test_audio_and_features_of_another_plan_are_named_until_they_are_made_again(corpus: Corpus) -> None:
    run("plan", corpus.root, *PLAN, "--seed", 9)
    found = problems(corpus)
    assert any("was rendered from another recipe" in line for line in found)
    assert any("features/clap/" in line and "was made of another recipe" in line for line in found)
    assert any("clap_text/" in line and "was made of another query" in line for line in found)
    refused = run_cli("extract", corpus.root, *EXTRACT, "--from", "wav", "--overwrite")
    assert refused.exit_code == 1
    assert "was rendered from another recipe or other sources; run `clotho-long render" in refused.output
    run("render", corpus.root, "--overwrite", "--jobs", 1)
    run("extract", corpus.root, *EXTRACT, "--overwrite")
    remove_leftovers_named_by(problems(corpus))
    assert problems(corpus) == []


def test_features_of_rendered_audio_pass_for_their_recipe(corpus: Corpus) -> None:
    shutil.rmtree(corpus.features_dir)
    run("extract", corpus.root, *EXTRACT, "--from", "wav")
    assert problems(corpus) == []
    run("plan", corpus.root, *PLAN, "--seed", 9)
    assert any("was made of another recipe" in line for line in problems(corpus))


def test_a_scan_of_other_sources_without_a_new_plan_is_noticed_by_all(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    for split in SPLITS:
        names = [f"{split} tone {index}, [take 1].wav" for index in range(3)]
        write_captions(tmp_path / "clotho", split, {name: [f"noise {n}" for n in range(5)] for name in names})
    scan = ("scan", "--clotho", tmp_path / "clotho", "--walking-tours", tmp_path / "tours")
    run(*scan, "--out", corpus.root, "--jobs", 1)
    complaint = "the sources were scanned since the corpus was planned, and differ; run `clotho-long plan`"
    assert any(complaint in line for line in problems(corpus))
    for command in (("render",), ("extract", *EXTRACT)):
        refused = run_cli(command[0], corpus.root, *command[1:])
        assert refused.exit_code == 1
        assert complaint in refused.output
    run("plan", corpus.root, *PLAN)
    assert problems(corpus) == []


def test_a_manifest_without_a_split_leaves_no_old_split_behind(corpus: Corpus, tmp_path: Path) -> None:
    manifest = as_manifest(corpus, tmp_path / "manifest")
    (manifest / "recipes" / "test.jsonl.gz").unlink()
    old = {split: corpus.recipes_file(split).read_bytes() for split in SPLITS}
    output = run("plan", corpus.root, "--manifest", manifest)
    assert corpus.planned_splits == ("train", "valid")
    (aside,) = (corpus.root / "set_aside").iterdir()
    assert f"the plan that was there is now in {aside}" in output
    assert {split: (aside / "recipes" / f"{split}.jsonl").read_bytes() for split in SPLITS} == old
    assert (aside / "text" / "test.jsonl").is_file()
    remove_leftovers_named_by(problems(corpus))
    assert problems(corpus) == []


def test_the_same_plan_again_sets_nothing_aside(corpus: Corpus) -> None:
    run("plan", corpus.root, *PLAN)
    assert not (corpus.root / "set_aside").exists()


def test_a_split_that_nobody_planned_is_named(corpus: Corpus) -> None:
    shutil.move(corpus.recipes_file("test"), corpus.root / "test.jsonl")
    run("plan", corpus.root, *PLAN, "--max-clips", 3)
    shutil.copy(corpus.root / "test.jsonl", corpus.recipes_file("test"))
    assert f"{corpus.root / 'recipes'}: are not the recipes that were planned" in "\n".join(problems(corpus))


def test_damaged_audio_is_rendered_again_as_check_says(corpus: Corpus) -> None:
    flac = next(corpus.recipes("test")).recording_id
    run("render", corpus.root, "--only", flac, "--format", "flac")
    for path in (next(corpus.audio_dir("train").glob("*.wav")), corpus.audio_file("test", flac, "flac")):
        path.write_bytes(path.read_bytes()[:-1000])
    found = problems(corpus)
    assert len(found) == 2
    assert all("are there; run `clotho-long render` again" in line for line in found)
    assert "rendered: 1" in run("render", corpus.root)
    assert "rendered: 1" in run("render", corpus.root, "--only", flac, "--format", "flac")
    assert problems(corpus) == []


def test_check_goes_on_after_whatever_it_meets(corpus: Corpus) -> None:
    recipes = corpus.recipes_file("train")
    recipes.write_text('5\n{"recording_id": 3}\n{torn\n' + recipes.read_text())
    annotations = corpus.annotations_file("valid")
    lines = annotations.read_text().splitlines()
    annotations.write_text("\n".join([lines[0], "null", *lines[1:-1], '{"qid": "../x"}']) + "\n")
    features = sorted((corpus.features_dir / "clap").glob("*.npz"))
    features[0].write_bytes(b"no zip")
    damaged = bytearray(features[1].read_bytes())
    damaged[200] ^= 255
    features[1].write_bytes(damaged)
    rows, made_by = read_features(features[2], AUDIO_KEY)
    write_features(features[2], np.ascontiguousarray(rows[:5]), AUDIO_KEY, made_by or {})
    (corpus.features_dir / "clap" / "stranger.npz").write_bytes(b"")
    text_file(corpus.features_dir, json.loads(lines[0])["qid"]).unlink()
    found = problems(corpus)
    for place, complaint in (
        (f"{recipes}:1", "dictionary"),
        (f"{recipes}:2", "recording_id"),
        (f"{recipes}:3", "not a line of JSON"),
        (f"{annotations}:2", "not a JSON object"),
        (f"{annotations}:{len(lines) + 1}", "is missing"),
        (f"{features[0]}", "delete it and extract it again"),
        (f"{features[1]}", "delete it and"),
        (f"{features[2]}", "5 windows for a recording of 20 s; delete it"),
        (f"{corpus.features_dir / 'clap' / 'stranger.npz'}", "remove it"),
        (f"{corpus.features_dir / 'clap_text'}", "no such feature file"),
    ):
        assert any(line.startswith(place) and complaint in line for line in found), (place, found)
    for line in found:
        if "delete it" in line or "remove it" in line:
            Path(line.partition(": ")[0]).unlink()
    run("plan", corpus.root, *PLAN)
    run("extract", corpus.root, *EXTRACT)
    assert problems(corpus) == []


def test_each_feature_file_is_read_once(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def noted(path: Path, key: str) -> object:
        read.append(path)
        return read_features(path, key)

    monkeypatch.setattr("clotho_long.stages.check_files.read_features", noted)
    assert problems(corpus) == []
    assert len(read) == len(set(read)) == len(list(corpus.features_dir.rglob("*.npz")))


@pytest.mark.parametrize("torn", ["", '{"roots": 5}', "[]", '{"roo'])
def test_a_torn_page_is_mended_as_check_says(finished: Corpus, corpus: Corpus, torn: str) -> None:
    corpus.page_file.write_text(torn)
    (line,) = (line for line in problems(corpus) if line.startswith(f"{corpus.page_file}: "))
    assert line.endswith("run `clotho-long scan` and `plan` again")
    clotho, tours = finished.source_root("clotho"), finished.source_root("walking_tours")
    run("scan", "--clotho", clotho, "--walking-tours", tours, "--out", corpus.root, "--jobs", 1)
    assert "does not tell of the plan" in "\n".join(problems(corpus))
    run("plan", corpus.root, *PLAN)
    assert problems(corpus) == []
    (aside,) = (corpus.root / "set_aside").iterdir()
    assert (aside / "corpus.json").read_text() == torn


@pytest.mark.parametrize("bad", ["../../../../outside", "/outside", "sub/x"])
def test_no_command_writes_outside_of_the_corpus(corpus: Corpus, tmp_path: Path, bad: str) -> None:
    path = corpus.recipes_file("train")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["recording_id"] = bad
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = set(files_below(tmp_path))
    for command in (("render",), ("extract", *EXTRACT), ("stats",)):
        refused = run_cli(command[0], corpus.root, *command[1:])
        assert refused.exit_code == 1
        assert f"{path}:1: recording {bad!r} cannot name a file" in refused.output
    assert f"{path}:1: recording {bad!r} cannot name a file" in "\n".join(problems(corpus))
    assert set(files_below(tmp_path)) == before


LEAVE_A_PART = """
import os, signal, sys
from pathlib import Path
from clotho_long.core.files import atomic_path
with atomic_path(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_parts_of_killed_writers_are_no_problem_and_go_at_the_next_run(corpus: Corpus) -> None:
    places = [
        corpus.audio_file("train", "x", "wav"),
        audio_file(corpus.features_dir, "x"),
        corpus.cache_dir / "backgrounds" / "x.f32",
    ]
    for place in places:
        process = subprocess.run([sys.executable, "-c", LEAVE_A_PART, str(place)], check=False)
        assert process.returncode == -signal.SIGKILL
    parts = [path for path in corpus.root.rglob(".*") if is_part(path)]
    assert len(parts) == len(places)
    assert problems(corpus) == []
    with atomic_path(corpus.audio_file("train", "mine", "wav")) as mine:
        mine.write_bytes(b"half")
        foreign = mine.with_name(".notes.part.txt")
        foreign.write_text("somebody else's")
        run("render", corpus.root, "--jobs", 1)
        assert mine.is_file()  # its writer is alive
    assert foreign.is_file()
    assert not any(path.exists() for path in parts)


def test_a_corpus_of_imported_recipes_without_audio_has_no_problem(corpus: Corpus, tmp_path: Path) -> None:
    other = Corpus(tmp_path / "other")
    clips = [
        {
            "name": recipe.recording_id,
            "bg": {
                "path": f"bg/{recipe.background_id}/{recipe.start_s}_{recipe.start_s + 20}.wav",
                "dB": -20,
            },
            "fg": [],
        }
        for recipe in corpus.recipes("valid")
    ]
    path = tmp_path / "recipe_valid.json"
    path.write_text(json.dumps(clips))
    run("import-recipe", path, "--out", other.root)
    assert problems(other) == []


def test_a_corpus_may_not_lie_among_the_tours(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    clotho, tours = corpus.source_root("clotho"), corpus.source_root("walking_tours")
    for inside in (tours, tours / "a" / "b"):
        refused = run_cli("scan", "--clotho", clotho, "--walking-tours", tours, "--out", inside)
        assert refused.exit_code == 1
        assert "what is rendered would be taken for tours; give another --out" in refused.output
    assert not (tours / "a").exists()


def test_tours_that_cannot_be_decoded_take_no_place_in_a_ratio(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    clotho, tours = corpus.source_root("clotho"), corpus.source_root("walking_tours")
    (tours / "A.mp4").write_bytes(b"no video")
    scan = ("scan", "--clotho", clotho, "--walking-tours", tours, "--split", "ratio:7,1,2")
    assert "tours: 1 train + 1 valid + 1 test" in run(*scan, "--out", corpus.root, "--jobs", 1)


@pytest.mark.parametrize(
    "arguments",
    [("plan", "CORPUS", "--seed", "-1"), ("scan", "--split", "ratio:nan,1,1"), ("scan", "--split", "half")],
)
def test_bad_seeds_and_splits_are_of_the_command_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folders = ("--clotho", tmp_path, "--walking-tours", tmp_path, "--out", tmp_path / "c")
    given = [tmp_path if argument == "CORPUS" else argument for argument in arguments]
    result = run_cli(*given, *(folders if arguments[0] == "scan" else ()))
    assert result.exit_code == 2
    assert "Invalid value" in result.output


def test_a_manifest_that_is_damaged_or_empty_is_one_line(corpus: Corpus, tmp_path: Path) -> None:
    manifest = as_manifest(corpus, tmp_path / "manifest")
    path = manifest / "recipes" / "train.jsonl.gz"
    whole = path.read_bytes()
    kept = corpus.recipes_file("train").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    for content, complaint in ((bytes(damaged), f"{path}"), (b"", f"{path}: holds no recipe")):
        path.write_bytes(content)
        result = run_cli("plan", corpus.root, "--manifest", manifest)
        assert result.exit_code == 1
        assert result.output.startswith(f"error: {complaint}")
    assert corpus.recipes_file("train").read_bytes() == kept


def test_a_manifest_whose_recipes_are_of_another_split_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    manifest = as_manifest(corpus, tmp_path / "manifest")
    write_records(manifest / "recipes" / "valid.jsonl.gz", corpus.recipes("test"), ClipRecipe)
    result = run_cli("plan", corpus.root, "--manifest", manifest)
    assert result.exit_code == 1
    assert "of split test; move it to its split's file" in result.output
