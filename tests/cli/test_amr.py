from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from amr_model.checkpoint import Checkpoint, save_checkpoint
from amr_model.cli import main
from amr_model.config import system
from amr_model.public.networks import network_of
from amr_model.public.presets import compat_lighthouse
from clotho_long.audio.io import write_audio
from clotho_long.core.predictions import read_predictions
from clotho_long.core.settings import override
from clotho_long.features.encoders.logmel import LogMelEncoder
from clotho_long.features.files import AUDIO_KEY, audio_file, write_features
from tests.retrieval_builders import (
    CASTELLA,
    GOLDEN,
    annotation,
    make_features,
    write_corpus,
    write_jsonl,
)

SMALL = [
    *("model.hidden_dim=16", "model.num_heads=2", "model.feedforward_dim=16", "model.encoder_layers=1"),
    *("model.audio_centres=3", "model.text_centres=2"),
]
NARROW = ["model.audio_dim=6", "model.text_dim=6"]
LINES = [
    annotation(f"q{at}", vid=f"r{at % 3}", query=f"sound {at}", relevant_windows=[[at, at + 3]])
    for at in range(6)
]


def run(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def make_checkpoint(path, config=None, *, overrides=(*SMALL, *NARROW)):
    config = override(config or system("S8"), overrides)
    torch.manual_seed(0)
    save_checkpoint(path, Checkpoint(config=config, model=network_of(config.model).state_dict()))
    return path


@pytest.fixture
def corpus(tmp_path):
    annotations, features = write_corpus(tmp_path, LINES)
    return ["--annotations", annotations, "--features", features, "--jobs", 1]


def test_every_command_has_help_with_an_example():
    status, text, _ = run("--help")
    assert status == 0
    for command in ("train", "evaluate", "metrics", "predict", "submit", "convert", "calibrate"):
        assert command in text
        status, own, _ = run(command, "--help")
        assert status == 0
        assert f"amr {command} " in own


def test_train_writes_a_run_that_evaluates_to_its_score(tmp_path):
    annotations, features = write_corpus(tmp_path, LINES)
    sets = [part for setting in (*SMALL, *NARROW) for part in ("--set", setting)]
    common = ["--train", annotations, "--valid", annotations, "--features", features, "--jobs", 1]
    status, text, errors = run(
        "train", "--system", "S8", *common, *sets, "--epochs", 2, "--out", tmp_path / "run"
    )
    assert status == 0, errors
    assert "checkpoint-best.pt: best after epoch" in text
    assert "6 queries, 6 moments, 3 recordings" in errors
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    best = max((json.loads(line)["valid"] for line in lines), key=lambda valid: valid["R1@0.7"])
    arguments = ["--annotations", annotations, "--features", features, "--jobs", 1, "--out", tmp_path / "out"]
    status, *_ = run("evaluate", "--checkpoint", tmp_path / "run" / "checkpoint-best.pt", *arguments)
    assert status == 0
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["brief"]["MR-full-R1@0.7"] == best["R1@0.7"]
    assert report["brief"]["MR-full-mAP"] == best["mAP"]
    status, _, errors = run("train", "--system", "S8", *common, *sets, "--out", tmp_path / "run")
    assert status == 1
    assert "this run exists; resume it with --resume" in errors
    status, *_ = run("train", *common, "--resume", "--epochs", 3, "--out", tmp_path / "run")
    assert status == 0
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


def test_evaluate_writes_predictions_metrics_table_and_picture(tmp_path, corpus):
    checkpoint = make_checkpoint(tmp_path / "model.pt")
    status, text, _ = run("evaluate", "--checkpoint", checkpoint, *corpus, "--out", tmp_path / "out")
    assert status == 0
    names = {"made_of.json", "metrics.json", "metrics.png", "predictions.jsonl", "table.txt"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert (tmp_path / "out" / "table.txt").read_text() == text
    scored = ["metrics", "--predictions", tmp_path / "out" / "predictions.jsonl", *corpus[:2]]
    assert run(*scored)[1] == text
    status, as_json, _ = run(*scored, "--json", "--out", tmp_path / "again.json")
    assert json.loads(as_json) == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(as_json)


@pytest.mark.parametrize("base", ["ours", "reference"])
def test_submit_writes_a_checked_file(tmp_path, corpus, base):
    config = system("S5") if base == "ours" else compat_lighthouse("qd_detr")
    checkpoint = make_checkpoint(tmp_path / "model.pt", config)
    status, text, errors = run("submit", "--checkpoint", checkpoint, *corpus, "--out", tmp_path / "sub.jsonl")
    assert status == 0, errors
    assert "6 queries" in text
    assert ("procedure is replaced" in errors) == (base == "reference")
    predictions = read_predictions(tmp_path / "sub.jsonl")
    assert [p.qid for p in predictions] == [line["qid"] for line in LINES]
    assert all(0 <= a < b <= 20 for p in predictions for a, b, _ in p.moments)


def test_submit_takes_annotations_without_moments(tmp_path):
    lines = [{key: value for key, value in line.items() if key != "relevant_windows"} for line in LINES]
    annotations, features = write_corpus(tmp_path, lines)
    checkpoint = make_checkpoint(tmp_path / "model.pt")
    arguments = ["--annotations", annotations, "--features", features, "--out", tmp_path / "sub.jsonl"]
    assert run("submit", "--checkpoint", checkpoint, *arguments, "--jobs", 1)[0] == 0


def test_predict_reads_audio_tells_draws_and_cuts(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model.pt", overrides=[*SMALL, "features.encoder=logmel"])
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 12).astype(np.float32)
    for name in ("one.wav", "two.flac"):
        write_audio(tmp_path / name, noise, 8000)
    arguments = [
        tmp_path / "one.wav",
        tmp_path / "two.flac",
        "--query",
        "a dog",
        "--query",
        "rain",
        "--top",
        2,
    ]
    arguments += ["--checkpoint", checkpoint, "--jobs", 1]
    extras = ["--json", "--plot", tmp_path / "moments.png", "--cut", tmp_path / "cut"]
    status, text, errors = run("predict", *arguments, *extras)
    assert status == 0, errors
    answers = [json.loads(line) for line in text.splitlines()]
    assert [answer["query"] for answer in answers] == ["a dog", "rain"] * 2
    assert all(1 <= len(answer["moments"]) <= 2 for answer in answers)
    assert all(0 <= m["start"] < m["end"] <= 12 for answer in answers for m in answer["moments"])
    assert answers[0]["moments"] == answers[2]["moments"]  # the same sound in another format
    assert (tmp_path / "moments.png").exists()
    assert len(list((tmp_path / "cut").iterdir())) == sum(len(answer["moments"]) for answer in answers)
    assert "one.wav: a dog" in run("predict", *arguments)[1]


def test_cuts_of_recordings_of_one_name_do_not_replace_each_other(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model.pt", overrides=[*SMALL, "features.encoder=logmel"])
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 12).astype(np.float32)
    paths = [tmp_path / folder / "one.wav" for folder in "ab"]
    for path in paths:
        write_audio(path, noise, 8000)
    arguments = ["--query", "a dog", "--checkpoint", checkpoint, "--top", 1, "--jobs", 1]
    status, _, errors = run("predict", *paths, *arguments, "--cut", tmp_path / "cut")
    assert status == 0, errors
    assert sorted(path.name[:7] for path in (tmp_path / "cut").iterdir()) == ["r1-one-", "r2-one-"]


def test_a_folder_is_searched_and_what_cannot_be_read_is_left_out(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model.pt", overrides=[*SMALL, "features.encoder=logmel"])
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 12).astype(np.float32)
    for name in ("b.wav", "deep/a.flac"):
        write_audio(tmp_path / "walks" / name, noise, 8000)
    (tmp_path / "walks" / "torn.wav").write_bytes(b"RIFF")
    (tmp_path / "walks" / "notes.txt").write_text("no sound")
    arguments = ["predict", tmp_path / "walks", "--query", "a dog", "--checkpoint", checkpoint, "--json"]
    for extras in ((), ("--features", tmp_path / "heard", "--jobs", 2), ("--features", tmp_path / "heard")):
        status, text, errors = run(*arguments, *extras)
        assert status == 1
        assert len(errors.splitlines()) == 1
        assert "torn.wav: " in errors
        answers = [json.loads(line) for line in text.splitlines()]
        assert [Path(answer["recording"]).name for answer in answers] == ["b.wav", "a.flac"]
        assert answers[0]["moments"] == answers[1]["moments"]
        assert all(answer["duration"] == 12 for answer in answers)


def test_features_that_were_kept_are_not_made_again(tmp_path, monkeypatch):
    checkpoint = make_checkpoint(tmp_path / "model.pt", overrides=[*SMALL, "features.encoder=logmel"])
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 12).astype(np.float32)
    write_audio(tmp_path / "one.wav", noise, 8000)
    arguments = ["predict", tmp_path / "one.wav", "--query", "a dog", "--checkpoint", checkpoint, "--jobs", 1]
    status, fresh, _ = run(*arguments)
    assert status == 0
    kept = ["--features", tmp_path / "heard"]
    assert run(*arguments, *kept)[:2] == (0, fresh)
    monkeypatch.setattr(LogMelEncoder, "encode_windows", None)
    assert run(*arguments, *kept)[:2] == (0, fresh)
    write_audio(tmp_path / "one.wav", noise[::-1].copy(), 8000)
    status, _, errors = run(*arguments, *kept)
    assert status == 1
    assert "one.npz: was made with another source; give --overwrite" in errors


@pytest.fixture
def asked(tmp_path):
    """A recording of 12 s, and a checkpoint that reads its curve."""
    overrides = [*SMALL, "features.encoder=logmel", "features.stretch_rows=5"]
    checkpoint = make_checkpoint(tmp_path / "model.pt", system("S9"), overrides=overrides)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 12).astype(np.float32)
    for name in ("one.wav", "two.wav"):
        write_audio(tmp_path / name, noise, 8000)
    return [tmp_path / "one.wav", "--checkpoint", checkpoint, "--jobs", 1]


def test_json_says_what_made_an_answer_and_counts_its_ranks(asked):
    status, text, errors = run("predict", *asked, "--query", "a dog", "--query", "é", "--json", "--top", 20)
    assert status == 0, errors
    first, second = (json.loads(line) for line in text.splitlines())
    assert (first["schema"], first["query"], second["query"]) == (1, "a dog", "é")
    assert [m["rank"] for m in first["moments"]] == list(range(1, len(first["moments"]) + 1))
    made_by = first["made_by"]
    assert (made_by["model"], made_by["readout"], made_by["encoder"]) == ("S9", "curve", "logmel")
    assert made_by["checkpoint"].startswith("sha256-")
    assert first["presence"] is None, "this checkpoint is not calibrated"


def test_nothing_found_is_an_answer(asked):
    arguments = ["predict", *asked, "--query", "a dog", "--min-score", 1.0]
    status, text, _ = run(*arguments)
    assert status == 0
    assert "a dog\n  nothing found\n" in text
    assert json.loads(run(*arguments, "--json")[1])["moments"] == []


def test_queries_come_from_a_file_too_and_the_curve_goes_into_one(tmp_path, asked):
    (tmp_path / "sounds.txt").write_text("rain\n\n a bell \n", encoding="utf-8")
    arguments = ["--queries", tmp_path / "sounds.txt", "--query", "a dog", "--curve", tmp_path / "curves"]
    status, text, errors = run("predict", *asked, *arguments, "--json")
    assert status == 0, errors
    assert [json.loads(line)["query"] for line in text.splitlines()] == ["a dog", "rain", "a bell"]
    with np.load(tmp_path / "curves" / "one.npz") as arrays:
        assert arrays["query"].tolist() == ["a dog", "rain", "a bell"]
        assert arrays["logit"].shape == arrays["probability"].shape == (3, 12)
        assert ((arrays["probability"] > 0) & (arrays["probability"] < 1)).all()
        assert arrays["row_s"] == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n \n", "holds no sentence"), (b"\xff\xfe\x00", "is not UTF-8 text")],
)
def test_a_file_of_queries_without_any_ends_in_one_line(tmp_path, asked, content, message):
    (tmp_path / "sounds.txt").write_bytes(content)
    status, _, errors = run("predict", *asked, "--queries", tmp_path / "sounds.txt")
    assert status == 1
    assert f"sounds.txt: {message}" in errors


def test_a_question_is_needed_and_refused_before_anything_is_heard(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(LogMelEncoder, "encode_windows", None)
    for arguments in ([], ["--query", "a dog", "--query", "  "]):
        status, _, errors = run("predict", *asked, *arguments)
        assert status == 2
        assert "a query is empty; write what you want to hear" in errors


def test_answers_are_printed_as_they_come(tmp_path, asked, monkeypatch):
    """What was answered is not lost to Ctrl-C in the second recording."""
    from amr_model.answer import finder

    whole = finder.encode_recording

    def interrupted(path, *arguments, **options):
        if path.name == "two.wav":
            raise KeyboardInterrupt
        return whole(path, *arguments, **options)

    monkeypatch.setattr(finder, "encode_recording", interrupted)
    status, text, _ = run("predict", tmp_path / "two.wav", *asked, "--query", "a dog", "--json")
    assert (status, text) == (130, "")
    status, text, _ = run("predict", asked[0], tmp_path / "two.wav", *asked[1:], "--query", "a dog", "--json")
    assert status == 130
    assert [json.loads(line)["recording"] for line in text.splitlines()] == [str(asked[0])]


def test_what_was_answered_is_exported_even_after_ctrl_c(tmp_path, asked, monkeypatch):
    from amr_model.answer import finder

    whole = finder.encode_recording

    def interrupted(path, *arguments, **options):
        if path.name == "two.wav":
            raise KeyboardInterrupt
        return whole(path, *arguments, **options)

    monkeypatch.setattr(finder, "encode_recording", interrupted)
    exports = ["--csv", tmp_path / "found.csv", "--srt", tmp_path / "srt"]
    status, text, _ = run(
        "predict", asked[0], tmp_path / "two.wav", *asked[1:], "--query", "a dog", "--json", *exports
    )
    assert status == 130
    moments = json.loads(text)["moments"]
    table = pd.read_csv(tmp_path / "found.csv")
    assert table[["rank", "start", "end", "score"]].to_dict("records") == moments
    assert [path.name for path in (tmp_path / "srt").iterdir()] == ["one.srt"]


def test_moments_are_told_by_the_clock_of_the_recordings_names(tmp_path, asked, caplog):
    shutil.copy(asked[0], tmp_path / "S4_20240131_235955.wav")
    arguments = [tmp_path / "S4_20240131_235955.wav", *asked, "--query", "a dog", "--clock", "%Y%m%d_%H%M%S"]
    status, text, errors = run("predict", *arguments, "--json", "--csv", tmp_path / "found.csv")
    assert status == 0, errors
    assert f"note: {asked[0]}: its name holds no %Y%m%d_%H%M%S" in caplog.text
    first, second = (json.loads(line)["moments"] for line in text.splitlines())
    for moment in first:
        began = datetime(2024, 1, 31, 23, 59, 55)
        for name in ("start", "end"):
            told = datetime.fromisoformat(moment[f"clock_{name}"])
            assert abs((told - began).total_seconds() - moment[name]) < 0.001
    assert all("clock_start" not in moment for moment in second)
    table = pd.read_csv(tmp_path / "found.csv")
    assert table["clock_start"].notna().sum() == len(first)
    assert "   2024-0" in run("predict", *arguments)[1]


def test_cuts_are_padded(tmp_path, asked):
    arguments = [
        "predict",
        *asked,
        "--query",
        "a dog",
        "--top",
        1,
        "--set",
        "inference.readout=decoder",
        "--cut",
    ]
    assert run(*arguments, tmp_path / "cut")[0] == 0
    assert run(*arguments, tmp_path / "padded", "--pad", 100)[0] == 0
    (cut,), (padded,) = (list((tmp_path / name).iterdir()) for name in ("cut", "padded"))
    assert cut.name == padded.name
    assert cut.stat().st_size < padded.stat().st_size == asked[0].stat().st_size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "sub/x.csv"], "--csv: FILE is a file, not a folder; name another place"),
        (["--raven", "moments"], "--raven: moments names no table; end it in .csv, .tsv, .txt"),
        (["--audacity", "sub/x"], "--audacity: FILE is a file, not a folder"),
        (["--plot", "sub/x.png"], "--plot: FILE is a file, not a folder"),
        (["--csv", "x.txt", "--reaper", "x.txt"], "two tables are to be one file; name a file for each"),
        (["--pad", "1"], "--pad: pads what --cut writes; give --cut too"),
        (["--cut", "x", "--pad", "-1"], "--pad"),
        (["--clock", "%H%M"], "--clock: '%H%M' does not say when a recording began"),
    ],
)
def test_exports_that_cannot_be_are_refused_before_any_work(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").write_text("a file")
    (tmp_path / "a.wav").write_bytes(b"never read")
    status, text, errors = run("predict", "a.wav", "--query", "x", "--checkpoint", "none.pt", *options)
    assert (status, text) == (2, "")
    assert message.replace("FILE", str(tmp_path / "sub")) in errors
    assert len(errors.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "sub"]


def test_a_checkpoint_is_calibrated_and_then_says_what_is_absent(tmp_path, corpus):
    checkpoint, fitted = make_checkpoint(tmp_path / "model.pt"), tmp_path / "calibrated.pt"
    status, text, errors = run("calibrate", "--checkpoint", checkpoint, *corpus, "--out", fitted)
    assert status == 0, errors
    assert "calibrated on 6 queries and 6 absent ones" in text
    evaluated = ["evaluate", *corpus, "--absent", 2, "--out", tmp_path / "out", "--checkpoint"]
    status, text, errors = run(*evaluated, fitted)
    assert status == 0, errors
    assert "asked of recordings that do not hold them: 12 queries" in text
    absent = json.loads((tmp_path / "out" / "metrics.json").read_text())["absent"]
    assert 0 <= absent["roc_presence"] <= 1
    assert absent["min_score"] > 0
    status, text, errors = run(*evaluated, checkpoint, "--readout", "curve")
    assert "is not calibrated: its curve is read by its shape" in errors
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["absent"]["roc_presence"] is None


@pytest.mark.parametrize("readout", ["curve", "both"])
def test_a_public_network_s_curve_is_read_and_submitted(tmp_path, corpus, readout):
    checkpoint = make_checkpoint(tmp_path / "model.pt", compat_lighthouse("qd_detr"))
    arguments = ["--checkpoint", checkpoint, *corpus, "--readout", readout, "--out", tmp_path / "sub.jsonl"]
    status, _, errors = run("submit", *arguments)
    assert status == 0, errors
    decoder = [*arguments[:-4], "--out", tmp_path / "decoder.jsonl"]
    assert run("submit", *decoder)[0] == 0
    assert (tmp_path / "sub.jsonl").read_bytes() != (tmp_path / "decoder.jsonl").read_bytes()


def test_an_empty_query_ends_in_one_line(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model.pt", overrides=[*SMALL, "features.encoder=logmel"])
    write_audio(tmp_path / "one.wav", np.zeros(8000, dtype=np.float32), 8000)
    status, _, errors = run("predict", tmp_path / "one.wav", "--query", " ", "--checkpoint", checkpoint)
    assert status == 2
    assert errors.startswith(
        "error: Invalid value for --query: a query is empty; write what you want to hear"
    )


def test_convert_keeps_what_a_model_answers(tmp_path, corpus):
    checkpoint = make_checkpoint(tmp_path / "model.pt")
    status, text, _ = run("convert", checkpoint, "--out", tmp_path / "converted.pt")
    assert status == 0
    assert "converted.pt: S8, width 16" in text
    assert (
        run("evaluate", "--checkpoint", checkpoint, *corpus)[1]
        == run("evaluate", "--checkpoint", tmp_path / "converted.pt", *corpus)[1]
    )


def test_training_takes_the_encoder_from_the_features_and_evaluation_checks_it(tmp_path):
    annotations, features = write_corpus(tmp_path, LINES)
    made_by = {"encoder": {"name": "logmel"}, "windows": "centred"}
    for recording_id in ("r0", "r1", "r2"):
        write_features(audio_file(features, recording_id), make_features(20), AUDIO_KEY, made_by)
    checkpoint = make_checkpoint(tmp_path / "clap.pt")
    arguments = ["--annotations", annotations, "--features", features, "--jobs", 1]
    status, _, errors = run("evaluate", "--checkpoint", checkpoint, *arguments)
    assert status == 1
    assert "made with encoder logmel, the model reads encoder msclap-2023; extract them anew" in errors
    sets = [part for setting in (*SMALL, *NARROW) for part in ("--set", setting)]
    trained = ["--train", annotations, "--valid", annotations, "--features", features, "--jobs", 1]
    assert run("train", "--system", "S1", *trained, *sets, "--epochs", 1, "--out", tmp_path / "run")[0] == 0
    assert run("evaluate", "--checkpoint", tmp_path / "run" / "checkpoint-best.pt", *arguments)[0] == 0


# --- bad input: one line, status 1; bad usage: status 2 ---------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--system", "S17"], 2, "no system is called 'S17'; take one of S1"),
        ([], 2, "no settings are named; give --system"),
        (["--system", "S1", "--device", "tpu3"], 2, "no device is called 'tpu3'"),
        (["--system", "S1", "--set", "model.hiden_dim=3"], 2, "did you mean model.hidden_dim?"),
        (["--system", "S1", "--epochs", "0"], 2, "Invalid value for '--epochs'"),
        (["--system", "S1", "--train", "absent.jsonl"], 1, "absent.jsonl: no such file; check the path"),
    ],
)
def test_bad_settings_end_in_one_line(tmp_path, arguments, status, message):
    annotations, features = write_corpus(tmp_path, LINES)
    common = ["--valid", annotations, "--features", features]
    common += [] if "--train" in arguments else ["--train", annotations]
    code, _, errors = run("train", *common, "--out", tmp_path / "run", "--jobs", 1, *arguments)
    assert code == status
    assert message in errors
    assert errors.strip().splitlines()[-1].startswith("error: ")


def test_a_damaged_checkpoint_ends_in_one_line(tmp_path, corpus):
    checkpoint = make_checkpoint(tmp_path / "model.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    status, _, errors = run("evaluate", "--checkpoint", checkpoint, *corpus)
    assert status == 1
    assert errors.startswith(f"error: {checkpoint}: ")
    assert len(errors.splitlines()) == 1


def test_predictions_of_another_split_end_in_one_line(tmp_path, corpus):
    line = {"qid": "z", "query": "", "vid": "r0", "pred_relevant_windows": [[0, 1, 0.5]]}
    path = write_jsonl(tmp_path / "p.jsonl", [line])
    status, _, errors = run("metrics", "--predictions", path, *corpus[:2], "--official")
    assert status == 1
    assert "no query is left to score; check that both files are of one split" in errors


def test_a_recording_that_is_no_audio_ends_in_one_line(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model.pt", overrides=[*SMALL, "features.encoder=logmel"])
    (tmp_path / "notes.txt").write_text("not audio")
    status, _, errors = run("predict", tmp_path / "notes.txt", "--query", "a dog", "--checkpoint", checkpoint)
    assert status == 1
    assert "notes.txt" in errors


def test_metrics_of_a_foreign_file_are_the_official_evaluator_s():
    status, text, _ = run(
        "metrics",
        *("--predictions", GOLDEN / "metrics_preds_good.jsonl"),
        *("--annotations", CASTELLA / "castella_val_release.jsonl", "--json"),
    )
    assert status == 0
    report = json.loads(text)
    expected = json.loads((GOLDEN / "metrics_expected.json").read_text())["good"]
    assert {key: report[key] for key in ("brief", "full")} == expected


def test_two_recordings_of_one_name_are_both_answered_from_kept_features(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model.pt", overrides=[*SMALL, "features.encoder=logmel"])
    for number, day in enumerate(("day1", "day2")):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 8000 * (10 + number)).astype(np.float32)
        write_audio(tmp_path / "days" / day / "REC001.wav", noise, 8000)
    arguments = ["--query", "a dog", "--checkpoint", checkpoint, "--json", "--jobs", 1]
    status, text, errors = run(
        "predict", tmp_path / "days", *arguments, "--features", tmp_path / "heard", "--channels", "first"
    )
    assert status == 0, errors
    assert [json.loads(line)["duration"] for line in text.splitlines()] == [10, 11]
    assert {path.stem for path in (tmp_path / "heard" / "clap").iterdir()} == {"day1__REC001", "day2__REC001"}
