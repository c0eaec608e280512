"""The published files of Clotho-Moment, and our own manifest of Clotho-Moment-Long."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from clotho_long.audio.io import write_audio
from clotho_long.core.annotations import read_queries
from clotho_long.core.jsonl import read_records, write_records
from clotho_long.core.records import SPLITS
from clotho_long.corpus import Corpus
from clotho_long.recipe.lengths import castella_lengths
from clotho_long.recipe.records import ClipRecipe
from clotho_long.recipe.sample import QID_PENDING
from clotho_long.recipe.spec import PRESETS
from clotho_long.sources.clotho import FOLDER_OF_SPLIT, CaptionedFile, find_events
from clotho_long.sources.records import Background, Foreground, Skipped
from clotho_long.sources.walking_tours import PUBLISHED_SPLITS
from clotho_long.stages.plan import sample_split
from pipelines.make_manifest import published_events, published_tours
from tests.builders import as_manifest, make_corpus, make_tours, run_cli, write_captions
from tests.stages.standin_clotho import FACTS, make_standin_clotho, published_lengths_s, write_facts

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
MANIFEST = MANIFESTS / "clotho-moment-long"

PUBLISHED_CLIP = {
    "name": "Singapore_1.0_61.0",
    "bg": {"path": ".tmp/valid/bg/Singapore/1.0_61.0.wav", "dB": -15.6},
    "fg": [
        {
            "qid": 32695,
            "path": ".tmp/valid/fg/last call.v2.wav",
            "caption": "People shout.",
            "dB": -1.9050650672390876,
            "duration": 25.0,
            "start_time": 26.648859479982622,
        }
    ],
}


def test_a_published_recipe_becomes_ours(tmp_path: Path) -> None:
    path = tmp_path / "recipe_valid.json"
    path.write_text(json.dumps([PUBLISHED_CLIP, {**PUBLISHED_CLIP, "name": "Singapore_2.0_62.0", "fg": []}]))
    result = run_cli("import-recipe", path, "--out", tmp_path / "corpus")
    assert result.exit_code == 0, result.output
    recipe, empty = Corpus(tmp_path / "corpus").recipes("valid")
    assert (recipe.background_id, recipe.start_s, recipe.duration_s) == ("Singapore", 1.0, 60.0)
    assert (recipe.events[0].event_id, recipe.events[0].starts_s) == ("last call.v2", (26.648859479982622,))
    assert empty.events == ()
    (line,) = (tmp_path / "corpus" / "text" / "valid.jsonl").read_text().splitlines()
    assert line == (
        '{"qid": "32695", "query": "People shout.", "duration": 60, "vid": "Singapore_1.0_61.0", '
        '"relevant_windows": [[26.6, 51.6]], "fg_dB": -1.9050650672390876}'
    )


def test_importing_the_published_validation_recipe_gives_the_published_annotations(tmp_path: Path) -> None:
    recipe, released = (
        gzip.decompress((FACTS / f"{name}.gz").read_bytes())
        for name in ("recipe_valid.json", "clotho_moment_val_release.jsonl")
    )
    (tmp_path / "recipe_valid.json").write_bytes(recipe)
    result = run_cli("import-recipe", tmp_path / "recipe_valid.json", "--out", tmp_path / "corpus")
    assert result.exit_code == 0, result.output
    ours = (tmp_path / "corpus" / "text" / "valid.jsonl").read_bytes()
    assert ours == released
    assert ours.count(b"\n") == 4918


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("5", "is not a list of clips"),
        ("null", "is not a list of clips"),
        ("[]", "holds no clip"),
        ("[5]", "clip 0: is malformed"),
        (json.dumps([{**PUBLISHED_CLIP, "name": 3}]), "clip 0: is malformed (recording_id: "),
        (
            json.dumps([{**PUBLISHED_CLIP, "name": "../../x"}]),
            "clip 0: recording '../../x' cannot name a file",
        ),
        (json.dumps([PUBLISHED_CLIP, PUBLISHED_CLIP]), "clip 'Singapore_1.0_61.0' stands 2 times"),
        (json.dumps([{"name": "x"}]), "clip 0: is malformed"),
        (
            json.dumps([{**PUBLISHED_CLIP, "fg": [{**PUBLISHED_CLIP["fg"][0], "start_time": 50.0}]}]),  # type: ignore[index, dict-item]
            "clip 0: event 'last call.v2' ends at 75.00 s of 60 s",
        ),
    ],
)
def test_what_is_no_published_recipe_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "recipe_test.json"
    path.write_text(content)
    result = run_cli("import-recipe", path, "--out", tmp_path / "corpus")
    assert result.exit_code == 1
    assert f"{path}: {complaint}" in result.output
    assert not (tmp_path / "corpus" / "recipes").exists()


def published_file(folder: Path, split: str, qids: range) -> Path:
    """A published recipe file of one event a clip."""
    clips = [
        {
            **PUBLISHED_CLIP,
            "name": f"{split}_{number}.0_61.0",
            "fg": [{**PUBLISHED_CLIP["fg"][0], "qid": qid}],  # type: ignore[index, dict-item]
        }
        for number, qid in enumerate(qids)
    ]
    path = folder / f"recipe_{split}.json"
    path.write_text(json.dumps(clips))
    return path


def qids_of(corpus: Corpus) -> dict[str, list[str]]:
    return {s: [q.qid for q in read_queries(corpus.annotations_file(s))] for s in corpus.planned_splits}


def test_published_recipes_get_the_qids_of_the_release_together_or_alone(tmp_path: Path) -> None:
    files = [
        published_file(tmp_path, "test", range(2)),  # counts from 0, as train does
        published_file(tmp_path, "train", range(3)),
        published_file(tmp_path, "valid", range(32_694, 32_696)),
    ]
    corpus = Corpus(tmp_path / "corpus")
    result = run_cli("import-recipe", *files, "--out", corpus.root)
    assert result.exit_code == 0, result.output
    assert "recipe_test.json counts its qids from 0: numbered from 37612 on, as released" in result.output
    wanted = {
        "train": ["00000", "00001", "00002"],
        "valid": ["32694", "32695"],
        "test": ["37612", "37613"],
    }
    assert qids_of(corpus) == wanted
    assert run_cli("check", corpus.root, "--jobs", 1).exit_code == 0
    for split, path in zip(("test", "train", "valid"), files, strict=True):
        alone = Corpus(tmp_path / split)
        run_cli("import-recipe", path, "--out", alone.root)
        assert qids_of(alone) == {split: wanted[split]}


def test_repeated_qids_and_splits_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    train, valid = published_file(tmp_path, "train", range(3)), published_file(tmp_path, "valid", range(2, 4))
    (tmp_path / "more").mkdir()
    for files, complaint in (
        ((train, valid), "qid '00002' stands 2 times"),
        ((train, published_file(tmp_path / "more", "train", range(3))), "is of split train, as is "),
    ):
        result = run_cli("import-recipe", *files, "--out", tmp_path / "corpus")
        assert result.exit_code == 1
        assert complaint in result.output
        assert not (tmp_path / "corpus").exists()


def test_importing_one_split_sets_a_planned_corpus_aside(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    result = run_cli("import-recipe", published_file(tmp_path, "valid", range(5, 7)), "--out", corpus.root)
    assert "the plan that was there is now in" in result.output
    assert corpus.planned_splits == ("valid",)
    assert corpus.section("plan")["clips"] == {"valid": 2}


def test_a_recipe_that_does_not_say_its_split_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("[]")
    assert "does not say its split" in run_cli("import-recipe", path, "--out", tmp_path / "corpus").output


def test_a_manifest_gives_back_the_corpus_that_it_was_made_from(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    manifest = as_manifest(corpus, tmp_path / "manifest")
    wanted = {split: corpus.annotations_file(split).read_bytes() for split in SPLITS}
    recipes = {split: corpus.recipes_file(split).read_bytes() for split in SPLITS}
    run_cli("plan", corpus.root, "--seed", "5", "--set", "clip_duration=10")
    assert corpus.annotations_file("train").read_bytes() != wanted["train"]
    result = run_cli("plan", corpus.root, "--manifest", manifest)
    assert result.exit_code == 0, result.output
    assert {split: corpus.annotations_file(split).read_bytes() for split in SPLITS} == wanted
    assert {split: corpus.recipes_file(split).read_bytes() for split in SPLITS} == recipes


def test_a_manifest_of_cut_events_knows_their_whole_lengths(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    short = ("--preset", "clotho-moment-short", "--set", "clip_duration=20", "--set", "gap_s.mean=3")
    assert run_cli("plan", corpus.root, *short).exit_code == 0
    recipes = list(corpus.recipes("train"))
    cut = next(e for recipe in recipes for e in recipe.events if e.cut_from_s is not None)
    manifest = as_manifest(corpus, tmp_path / "manifest")
    result = run_cli("plan", corpus.root, "--manifest", manifest)
    assert result.exit_code == 0, result.output
    assert list(corpus.recipes("train")) == recipes
    changed = [
        dataclasses.replace(item, duration_s=item.duration_s + 1) if item.event_id == cut.event_id else item
        for item in corpus.foregrounds()
    ]
    write_records(corpus.foregrounds_file, changed, Foreground)
    result = run_cli("plan", corpus.root, "--manifest", manifest)
    assert result.exit_code == 1
    assert f"lasts {cut.trimmed_s + 1:g} s after trimming, not {cut.trimmed_s:g} s" in result.output


def test_our_manifest_takes_the_names_of_clotho_that_begin_with_a_blank(tmp_path: Path) -> None:
    """The documented `scan; plan --manifest` with every clip of the manifest that holds one of the three."""
    recipes = {
        split: [
            recipe
            for recipe in read_records(MANIFEST / "recipes" / f"{split}.jsonl.gz", ClipRecipe)
            if any(event.event_id[0] == " " for event in recipe.events)
        ]
        for split in ("train", "valid")
    }
    assert {
        e.event_id for several in recipes.values() for r in several for e in r.events if e.event_id[0] == " "
    } == {
        " Ambience Birds",
        " typical neighborhood in Porto",
        " e ieio ieai",
    }
    assert sum(map(len, recipes.values())) == 7
    for split, several in recipes.items():
        write_records(tmp_path / "manifest" / "recipes" / f"{split}.jsonl.gz", several, ClipRecipe)
        lengths_s = {event.event_id: event.duration_s for recipe in several for event in recipe.events}
        for name, length_s in lengths_s.items():
            square = np.resize(np.float32([0.5, -0.5]), int(length_s * 100))
            write_audio(tmp_path / "clotho" / FOLDER_OF_SPLIT[split] / f"{name}.wav", square, 100)
        captions = {f"{name}.wav": [f"{name}, {n}" for n in range(5)] for name in lengths_s}
        write_captions(tmp_path / "clotho", split, captions)
    make_tours(tmp_path / "tours", 1.0, names=PUBLISHED_SPLITS["train"] + PUBLISHED_SPLITS["valid"])
    corpus = Corpus(tmp_path / "corpus")
    run_cli(
        "scan",
        "--clotho",
        tmp_path / "clotho",
        "--walking-tours",
        tmp_path / "tours",
        "--out",
        corpus.root,
        "-j",
        1,
    )
    # the tours' real length, without hours of sound
    tours = [dataclasses.replace(tour, length_s=10_500.0) for tour in corpus.backgrounds()]
    write_records(corpus.backgrounds_file, tours, Background)
    result = run_cli("plan", corpus.root, "--manifest", tmp_path / "manifest")
    assert result.exit_code == 0, result.output
    planned = [r.recording_id for split in recipes for r in corpus.recipes(split)]
    assert planned == [recipe.recording_id for several in recipes.values() for recipe in several]
    assert any(
        query.query.startswith("e ieio ieai, ") for query in read_queries(corpus.annotations_file("valid"))
    )


def test_all_published_names_are_found_in_a_clotho_folder(tmp_path: Path) -> None:
    clotho = make_standin_clotho(tmp_path / "clotho")
    found = list(find_events(clotho))
    assert not [item for item in found if isinstance(item, Skipped)]
    events = {(item.split, item.event_id): item for item in found if isinstance(item, CaptionedFile)}
    assert len(events) == 5_929
    for split in SPLITS:
        lengths_s = published_lengths_s(split)
        assert {name for of, name in events if of == split} == lengths_s.keys()
        for recipe in read_records(MANIFEST / "recipes" / f"{split}.jsonl.gz", ClipRecipe):
            for event in recipe.events:
                assert (split, event.event_id) in events
                assert lengths_s[event.event_id] == event.duration_s


def test_sources_that_differ_from_the_manifests_are_named(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    manifest = as_manifest(corpus, tmp_path / "manifest")
    used = {event.event_id for recipe in corpus.recipes("train") for event in recipe.events}
    victim = sorted(used)[0]
    changed = [
        dataclasses.replace(item, duration_s=item.duration_s + 1) if item.event_id == victim else item
        for item in corpus.foregrounds()
    ]
    write_records(corpus.foregrounds_file, changed, Foreground)
    result = run_cli("plan", corpus.root, "--manifest", manifest)
    assert result.exit_code == 1
    assert f"1 sources differ from the manifest's: development/{victim}.wav lasts" in result.output
    result = run_cli("plan", corpus.root, "--manifest", manifest, "--allow-differences")
    assert result.exit_code == 0, result.output
    left = list(corpus.recipes("train"))
    assert left
    assert victim not in {event.event_id for recipe in left for event in recipe.events}


def test_a_folder_without_recipes_is_no_manifest(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    (tmp_path / "empty").mkdir()
    result = run_cli("plan", corpus.root, "--manifest", tmp_path / "empty")
    assert result.exit_code == 1
    assert "holds no recipes/" in result.output


def test_our_manifest_is_of_the_reports_size() -> None:
    recipes = list(read_records(MANIFEST / "recipes" / "train.jsonl.gz", ClipRecipe))
    assert len(recipes) == pytest.approx(6274, rel=0.05)
    assert sum(len(recipe.events) for recipe in recipes) == pytest.approx(14714, rel=0.05)


@pytest.mark.parametrize("name_of_manifest", ["clotho-moment-long", "clotho-moment-short"])
def test_our_manifests_hold_no_caption_and_no_path_and_match_their_sums(name_of_manifest: str) -> None:
    manifest = MANIFESTS / name_of_manifest
    sums = dict(reversed(line.split("  ", 1)) for line in (manifest / "SHA256SUMS").read_text().splitlines())
    assert sums
    for name, digest in sums.items():
        content = (manifest / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        if name.endswith(".gz"):
            text = gzip.decompress(content).decode()
            assert '"caption"' not in text
            assert '"query"' not in text
            assert '": "/' not in text


def test_moments_of_the_short_manifest_are_as_long_as_castellas() -> None:
    recipes = read_records(MANIFESTS / "clotho-moment-short" / "recipes" / "train.jsonl.gz", ClipRecipe)
    lengths_s = np.array([e.duration_s for r in recipes for e in r.events for _ in e.starts_s])
    real = castella_lengths()
    assert np.median(lengths_s) == pytest.approx(4, abs=1)
    for low_s, high_s in ((0, 3), (3, 10), (10, np.inf)):  # no event is longer than 30 s
        share = np.mean((lengths_s > low_s) & (lengths_s <= high_s))
        assert share == pytest.approx(real.share_between(low_s, high_s), abs=0.05)


def test_planning_again_gives_the_published_manifest(tmp_path: Path) -> None:
    """Of the smallest split, for time: every clip has a random stream of its own."""
    folder = write_facts(tmp_path / "facts")
    for preset in ("clotho-moment-long", "clotho-moment-short"):
        drawn = sample_split(
            PRESETS[preset],
            published_events(folder, "valid"),
            published_tours(folder, "valid"),
            split="valid",
            seed=2023,
        )
        ours = read_records(MANIFESTS / preset / "recipes" / "valid.jsonl.gz", ClipRecipe)
        without_qids = [
            dataclasses.replace(r, events=tuple(dataclasses.replace(e, qid=QID_PENDING) for e in r.events))
            for r in ours
        ]
        assert [recipe for recipe in drawn if recipe.events] == without_qids


def test_our_manifests_qids_count_over_the_splits() -> None:
    qids = [
        event.qid
        for split in SPLITS
        for recipe in read_records(MANIFEST / "recipes" / f"{split}.jsonl.gz", ClipRecipe)
        for event in recipe.events
    ]
    assert qids == [f"{number:05d}" for number in range(len(qids))]


def test_foreground_captions_are_those_of_the_query(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    captions = {(item.split, item.event_id): item.captions for item in corpus.foregrounds()}
    events = {event.qid: event for recipe in corpus.recipes("test") for event in recipe.events}
    for query in read_queries(corpus.annotations_file("test")):
        event = events[query.qid]
        assert query.query == captions["test", event.event_id][event.caption_index or 0]
