"""The demonstration and the table of systems, in a size that takes seconds."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from amr_model.answer.submission import check_submission
from amr_model.config import SYSTEMS
from amr_model.data.sets import read_annotations
from clotho_long.core.predictions import read_predictions
from clotho_long.core.settings import build_config
from pipelines import ablation, demo, pretrain_finetune
from pipelines.ablation import AblationSettings, ablation_steps, what_shapes_weights
from pipelines.amr_command import ablate
from pipelines.published import FIGURES, PUBLISHED
from pipelines.runs import settings_of

pytestmark = pytest.mark.slow

TINY = (
    "model.hidden_dim=16",
    "model.num_heads=2",
    "model.feedforward_dim=16",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.audio_centres=2",
    "model.text_centres=2",
    "model.em_iterations=1",
    "train.batch_size=16",
)
# without what is drawn in each process
PLAIN = [*TINY, "train.epochs=1", "model.dropout=0.0", "model.input_dropout=0.0"]
SIZE = "{events_per_sound: 1, num_tours: 3, tour_s: 24}"
CORPUS = (
    "{seed: %d, size: "
    + SIZE
    + ", split: 'ratio:1,1,1', mixture: [clip_duration=16, clip_interval=4, gap.mean=3]}"
)


def run_demo(out: Path, *arguments: str) -> Result:
    settings = {
        "mixtures": CORPUS % 1,
        "target": CORPUS % 2,
        "systems": "[S8]",
        "settings": f"[{', '.join(TINY)}]",
        "pretrain_epochs": 1,
        "finetune_epochs": 1,
        "examples": 1,
    }
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    return CliRunner().invoke(demo.main, ["--out", str(out), "--jobs", "1", *sets, *arguments])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the demonstration filled."""
    out = tmp_path_factory.mktemp("demo")
    result = run_demo(out)
    assert result.exit_code == 0, result.output
    return out


def test_the_demonstration_ends_in_a_report(shown: Path) -> None:
    html = (shown / "report.html").read_text()
    for title in ("Results", "Examples", "Training", "Made by"):
        assert f"<h2>{title}</h2>" in html
    for row in ("S8, untrained", "S8, pretrained", "S8, fine-tuned"):
        assert f'<th scope="row">{row}</th>' in html
    assert "<audio" in html
    metrics = json.loads((shown / "S8-finetune-scored" / "metrics.json").read_text())
    shown_figure = re.search(r"\| S8, fine-tuned \| ([\d.]+) ", (shown / "report.md").read_text())
    assert shown_figure is not None
    assert float(shown_figure[1]) == pytest.approx(metrics["brief"]["MR-full-R1@0.5"], abs=0.06)


def test_the_examples_of_a_calibrated_system_show_the_probability_that_answers_are_read_off(
    tmp_path: Path,
) -> None:
    result = run_demo(tmp_path, "--set=systems=[S9]", "--set=examples=2")
    assert result.exit_code == 0, result.output
    html = (tmp_path / "report.html").read_text()
    examples = re.findall(r'<article class="example.*?</article>', html, flags=re.DOTALL)
    assert examples
    for example in examples:
        assert '<div class="label">probability</div>' in example
        (drawn,) = re.findall(r'<polygon points="([^"]+)"', example)
        heights = [100 - float(point.split(",")[1]) for point in drawn.split()[1:-1]]
        assert 0 <= min(heights) <= max(heights) <= 100
        assert re.search(r"there at all: (0\.\d\d|1\.00)", example)


def test_pretraining_has_the_labels_of_one_window_and_fine_tuning_those_of_all(shown: Path) -> None:
    used = [
        yaml.safe_load((shown / run / "config.yml").read_text())["targets"]["saliency_moments"]
        for run in ("S8-pretrain", "S8-finetune")
    ]
    assert used == ["first", "all"]


def test_a_changed_epoch_trains_again_beside_what_was_trained_and_makes_no_corpus(
    shown: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(shown, tmp_path / "demo")
    trained = (out / "S8-finetune" / "checkpoint-best.pt").read_bytes()
    said = run_demo(out, "--set", "finetune_epochs=2", "--until", "S8-finetune").output
    (kept,) = out.glob("S8-finetune.*")
    assert f"S8-finetune: settings changed: train.epochs; what was there is kept as {kept}" in said
    assert "S8-pretrain: unchanged" in said
    assert said.count("no output yet") == 0
    assert (kept / "checkpoint-best.pt").read_bytes() == trained
    assert (out / "S8-finetune" / "checkpoint-best.pt").read_bytes() != trained


def write_stamps_of_the_previous_engine(stamps: Path) -> None:
    """As they were when a step's identity held the machine's settings and the text of the source."""
    for path in stamps.glob("*.json"):
        stamp = json.loads(path.read_text())
        # what has risen since makes its step again, as it should; all else is of the first version, unnamed
        stamp["versions"] = {name: version for name, version in stamp["versions"].items() if version > 1}
        if "model" in stamp["settings"]:
            stamp["settings"] |= {"device": "cuda", "threads": 8, "processes": 2}
            stamp["settings"]["train"]["save_every_s"] = 99.0
            del stamp["settings"]["train"]["batching"]  # as if it were a setting of today with a default
        path.write_text(json.dumps({**stamp, "code": {"amr_model.learn.train": "0123456789abcdef"}}))


def test_finished_work_of_the_previous_engine_is_taken_as_it_is(shown: Path, tmp_path: Path) -> None:
    out = shutil.copytree(shown, tmp_path / "demo")
    write_stamps_of_the_previous_engine(out / "steps")
    said = run_demo(out, "--until", "S8-score-finetuned").output.splitlines()
    assert len(said) > 10
    assert [line for line in said if not line.endswith(": unchanged")] == []


def labelled(shown: Path, corpus: str, split: str) -> dict[str, str]:
    root = shown / corpus / "corpus"
    return {"annotations": str(root / "text" / f"{split}.jsonl"), "features": str(root / "features")}


def corpora_of(shown: Path) -> dict[str, object]:
    """The settings that name what the demonstration made."""
    sets = {
        part: {split: labelled(shown, corpus, split) for split in ("train", "valid")}
        for part, corpus in (("pretrain", "mixtures"), ("finetune", "target"))
    }
    return {**sets, "test": labelled(shown, "target", "test")}


@pytest.fixture(scope="module")
def retrieval_file(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "retrieval.yml"
    values = {
        **corpora_of(shown),
        "system": "S1",
        "submission": labelled(shown, "target", "test"),
        "settings": [*TINY, "train.epochs=1"],
        "device": "cpu",
        "threads": 1,
    }
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def test_a_retriever_is_trained_scored_and_submitted(
    shown: Path, retrieval_file: Path, tmp_path: Path
) -> None:
    command = ["--out", str(tmp_path), "--config", str(retrieval_file), "--jobs", "1"]
    result = CliRunner().invoke(pretrain_finetune.main, command)
    assert result.exit_code == 0, result.output
    asked = read_annotations(shown / "target" / "corpus" / "text" / "test.jsonl")
    submitted = read_predictions(tmp_path / "submission.jsonl")
    check_submission(submitted, asked)
    report = (tmp_path / "report.md").read_text()
    assert "| fine-tuned |" in report
    assert "| S8 | S6 + quality-aware resorting | 37.49 | 25.09 | 18.61 | 31.97 | 17.86 |" in report
    results = pd.read_csv(tmp_path / "results.csv").set_index("model")
    metrics = json.loads((tmp_path / "finetuned-scored" / "metrics.json").read_text())
    assert results.at["fine-tuned", "mAP@0.5"] == metrics["brief"]["MR-full-mAP@0.5"]
    # on another machine, in another way: nothing of it shapes a result
    elsewhere = ["--set=threads=4", "--set=processes=2", "--set=device=auto"]
    again = CliRunner().invoke(pretrain_finetune.main, [*command, *elsewhere]).output
    steps = ("pretrain", "finetune", "score-pretrained", "score-finetuned", "submit")
    assert [line for line in again.splitlines() if ": " in line] == [f"{step}: unchanged" for step in steps]


def test_a_training_in_two_processes_is_the_training_in_one(
    shown: Path, retrieval_file: Path, tmp_path: Path
) -> None:
    command = ["--config", str(retrieval_file), "--until", "pretrain", f"--set=settings={PLAIN}"]
    # three queries, so that both have some
    command += [f"--set=pretrain.train.{k}={v}" for k, v in labelled(shown, "target", "train").items()]
    losses = []
    for count in (1, 2):
        options = ["--out", str(tmp_path / str(count)), f"--set=processes={count}"]
        result = CliRunner().invoke(pretrain_finetune.main, [*command, *options])
        assert result.exit_code == 0, result.output
        (line,) = (tmp_path / str(count) / "pretrained" / "metrics.jsonl").read_text().splitlines()
        losses.append(json.loads(line)["loss"])
    assert losses[0] != losses[1], "nothing was shared"
    # each process normalises its own part of a batch
    assert losses[1]["label"] == pytest.approx(losses[0]["label"], rel=0.02)


def test_an_error_of_two_processes_is_one_line(retrieval_file: Path, tmp_path: Path) -> None:
    command = ["--out", str(tmp_path), "--config", str(retrieval_file), "--set=processes=2"]
    wider = f"--set=finetune_settings={['model.hidden_dim=32']}"
    result = CliRunner().invoke(pretrain_finetune.main, [*command, wider])
    assert result.exit_code == 1
    assert re.match(r"error: [^\n]*checkpoint-best.pt: [^\n]* has shape [^\n]*\n$", result.stderr)


def test_annotations_that_are_missing_end_in_one_line(retrieval_file: Path, tmp_path: Path) -> None:
    missing = "--set=pretrain.train.annotations=nowhere.jsonl"
    command = ["--out", str(tmp_path), "--config", str(retrieval_file), missing]
    result = CliRunner().invoke(pretrain_finetune.main, command)
    assert result.exit_code == 1
    assert result.stderr == "error: nowhere.jsonl: no such file or folder; check the settings\n"


def test_amr_ablate_takes_corpora(shown: Path, tmp_path: Path) -> None:
    command = [
        "--pretrain",
        str(shown / "mixtures" / "corpus"),
        "--finetune",
        str(shown / "target" / "corpus"),
    ]
    command += ["--systems", "S1", "--seeds", "3", "--device", "cpu", "--out", str(tmp_path), "--jobs", "1"]
    command += [f"--set={setting}" for setting in (*TINY, "train.epochs=1")]
    result = CliRunner().invoke(ablate, command)
    assert result.exit_code == 0, result.output
    assert "| S1 | baseline |" in (tmp_path / "report.md").read_text()


@pytest.fixture(scope="module")
def ablation_file(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "ablation.yml"
    values = {
        **corpora_of(shown),
        "systems": ["S1", "S4", "S5", "S8"],
        "seeds": [1, 2],
        "settings": [*TINY, "train.epochs=1"],
        "device": "cpu",
    }
    path.write_text(json.dumps(values))
    return path


def run_ablation(out: Path, config: Path, *arguments: str) -> list[str]:
    """What was said of each step."""
    command = ["--out", str(out), "--config", str(config), "--jobs", "1", *arguments]
    result = CliRunner().invoke(ablation.main, command)
    assert result.exit_code == 0, result.output
    return [
        line
        for line in result.output.splitlines()
        if line.endswith(("yet", "unchanged")) or "changed:" in line
    ]


def test_a_row_costs_what_differs_and_a_change_what_it_concerns(ablation_file: Path, tmp_path: Path) -> None:
    said = run_ablation(tmp_path, ablation_file)
    trained = [line.split(":")[0] for line in said if "-score" not in line]
    # with labels of one window S4 and S5 are pretrained as S2 is
    of_one_seed = ["S1-seed{}-pretrain", "S1-seed{}-finetune", "S2-seed{}-pretrain", "S4-seed{}-finetune"]
    of_one_seed += ["S8-seed{}-pretrain", "S8-seed{}-finetune"]
    assert trained == [name.format(seed) for seed in (1, 2) for name in of_one_seed]
    report = (tmp_path / "report.md").read_text()
    (s4,) = re.findall(r"\| S4 \| refinement, dense saliency \|.*", report)
    assert [cell.strip() for cell in s4.split("|")[4:-1:2]] == [f"{PUBLISHED['S4'][f]:.2f}" for f in FIGURES]
    assert "| B1 | official baseline, CASTELLA + Clotho-Moment |  | 25.61 |" in report
    assert "github.com/HYZ-0514" in report
    assert "| against S1 |" in report

    runs, table = pd.read_csv(tmp_path / "runs.csv"), pd.read_csv(tmp_path / "table.csv")
    assert runs[["system", "seed"]].to_numpy().tolist() == [
        [s, n] for s in ("S1", "S4", "S5", "S8") for n in (1, 2)
    ]
    ours = table.set_index(["system", "figure"])
    r1 = runs[runs["system"] == "S8"]["R1@0.5"]
    assert ours.at[("S8", "R1@0.5"), "mean"] == pytest.approx(r1.mean(), abs=1e-3)
    assert ours.at[("S8", "R1@0.5"), "highest_seed"] == pytest.approx(r1.max(), abs=1e-3)
    assert ours.at[("S8", "mAP@0.75"), "published"] == 17.86
    assert ours["mean"].isna()[("S3", "mAP")], "not asked for"
    assert "| S8 | mAP@0.75 | 17.86 |" in (tmp_path / "table.md").read_text()

    assert all(line.endswith(": unchanged") for line in run_ablation(tmp_path, ablation_file))
    again = run_ablation(tmp_path, ablation_file, "--set", "finetune_settings=[train.learning_rate=1.0e-3]")
    ran = {line.split(":")[0] for line in again if not line.endswith("unchanged")}
    assert ran
    assert all("-finetune" in name or "-score" in name for name in ran)


def test_systems_that_differ_in_inference_alone_share_their_weights() -> None:
    shared = {name: what_shapes_weights(settings_of(name, ())) for name in ("S4", "S5", "S6")}
    assert shared["S4"] == shared["S5"]
    assert shared["S5"] != shared["S6"]
    by_map = [what_shapes_weights(settings_of(name, ["train.select_by=mAP"])) for name in ("S4", "S5")]
    assert by_map[0] != by_map[1], "proposals change mAP, and so the epoch that is kept"


def test_rows_keep_their_trainings_whichever_are_asked_for(tmp_path: Path) -> None:
    sets = {"annotations": tmp_path / "a.jsonl", "features": tmp_path / "features"}
    both = {"train": sets, "valid": sets}

    def trained(*systems: str, **changes: object) -> list[str]:
        values = {
            "pretrain": both,
            "finetune": both,
            "test": sets,
            "systems": systems,
            "seeds": [1],
            **changes,
        }
        settings = build_config(AblationSettings, values, where="test")
        return [step.name for step in ablation_steps(settings, tmp_path) if "score" not in step.name]

    assert trained("S5") == ["S2-seed1-pretrain", "S4-seed1-finetune"]
    assert trained("S7") == ["S3-seed1-pretrain", "S7-seed1-finetune"]
    assert trained("S7", pretraining="shared") == ["S2-seed1-pretrain", "S7-seed1-finetune"]
    assert trained("S5", pretrain_labels="all") == ["S4-seed1-pretrain", "S4-seed1-finetune"]
    every = trained(*SYSTEMS)
    assert sum("pretrain" in name for name in every) == 6  # S9 has its own: dense labels
    assert sum("finetune" in name for name in every) == 8  # S9 fine-tunes its own
