"""Training goes on exactly where it stopped, keeps what validates best, and says what is wrong."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.checkpoint import (
    Checkpoint,
    load_calibrated,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from amr_model.config import ExperimentConfig
from amr_model.errors import TrainingError
from amr_model.learn.distributed import Processes
from amr_model.learn.engine import Trainer, validate
from amr_model.learn.train import BEST, LAST, Trained, train
from amr_model.model.layers import FeedForward
from amr_model.precision import mixed_precision
from amr_model.public.networks import network_of
from clotho_long.core.settings import build_config, override
from tests.model.builders import make_set, small

FAST = ("train.batch_size=4", "train.epochs=3", "train.save_every_s=0.0")


class Killed(Exception):
    """What stands for a signal in these tests."""


def run(config: ExperimentConfig, folder: Path, *, stop: int | None = None, **options: object) -> Trained:
    """Train on the made-up set; raise after `stop` steps over all epochs."""
    data, seen = make_set(config), [0]

    def count(epoch: int, done: int) -> None:
        seen[0] += 1
        if seen[0] == stop:
            raise Killed

    return train(config, data, make_set(config, seed=1), folder, on_step=count, **options)  # type: ignore[arg-type]


def noting_stretch(config: ExperimentConfig) -> ExperimentConfig:
    """The settings as a run keeps them: with the longest recording of the made-up set."""
    return override(config, ["features.stretch_rows=28"])


@settings(max_examples=4, deadline=None)
@given(
    stops=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    chosen=st.sampled_from([("S1",), ("S8",), ("S9", "targets.absent_share=0.4")]),
)
def test_a_run_stopped_anywhere_and_resumed_is_the_run_never_stopped(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], chosen: tuple[str, ...]
) -> None:
    config, folder = small(*chosen, *FAST), tmp_path_factory.mktemp("runs")
    whole = run(config, folder / "whole")
    for place, stop in enumerate(stops):
        with pytest.raises(Killed):
            run(config, folder / "stopped", stop=stop, resume=place > 0)
    resumed = run(config, folder / "stopped", resume=True)
    for file in (BEST, LAST):
        ours, theirs = load_checkpoint(folder / "stopped" / file), load_checkpoint(folder / "whole" / file)
        assert all(torch.equal(ours.model[key], theirs.model[key]) for key in theirs.model)
    assert resumed.history == whole.history
    for file in ("metrics.jsonl", "predictions-valid.jsonl"):
        assert (folder / "stopped" / file).read_bytes() == (folder / "whole" / file).read_bytes()


def test_a_finished_run_resumed_does_nothing(tmp_path: Path) -> None:
    config = small("S1", *FAST)
    run(config, tmp_path)
    before = (tmp_path / LAST).stat().st_mtime_ns
    run(config, tmp_path, resume=True, stop=1)
    assert (tmp_path / LAST).stat().st_mtime_ns == before


def test_s9_is_selected_and_calibrated_by_what_answers(tmp_path: Path) -> None:
    config = small("S9", *FAST)
    trained = run(config, tmp_path)
    checkpoint = load_checkpoint(trained.best)
    model, stored, calibration = load_calibrated(trained.best, torch.device("cpu"))
    assert calibration is not None
    assert calibration == checkpoint.calibration
    assert calibration.queries == 10
    assert calibration.absent > 0
    assert validate(model, make_set(config, seed=1), stored).figures == trained.figures
    before = trained.best.read_bytes()
    run(config, tmp_path, resume=True)
    assert trained.best.read_bytes() == before, "what is calibrated stays"


def test_a_decoder_that_answers_is_not_calibrated(tmp_path: Path) -> None:
    assert load_checkpoint(run(small("S4", *FAST), tmp_path).best).calibration is None


def test_the_best_checkpoint_reloads_to_the_score_that_it_was_kept_for(tmp_path: Path) -> None:
    config = small("S8", *FAST)
    trained = run(config, tmp_path)
    model, stored = load_model(trained.best, torch.device("cpu"))
    assert stored == noting_stretch(config)
    assert validate(model, make_set(config, seed=1), config).figures == trained.figures
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [0, 1, 2]
    assert trained.figures["R1@0.7"] == max(record["valid"]["R1@0.7"] for record in records)
    assert set(records[0]["loss"]) == {
        "total", "span", "giou", "label", "saliency", "similarity", "quality", "boundary"
    }  # fmt: skip
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_the_saved_settings_are_the_settings(tmp_path: Path) -> None:
    config = small("S4", *FAST)
    run(config, tmp_path)
    assert build_config(
        ExperimentConfig, yaml.safe_load((tmp_path / "config.yml").read_text()), where="t"
    ) == noting_stretch(config)


def test_the_schedule_steps_the_learning_rate(tmp_path: Path) -> None:
    config = small("S1", *FAST, "train.lr_drop=2", "train.lr_gamma=0.5")
    rates = [record["learning_rate"] for record in run(config, tmp_path).history]
    assert rates == [1e-4, 1e-4, 5e-5]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    config = small("S8", "train.batch_size=4", "train.epochs=20", "train.learning_rate=0.003")
    history = run(config, tmp_path).history
    assert history[-1]["loss"]["total"] < 0.6 * history[0]["loss"]["total"]


@pytest.mark.parametrize(("sigma", "apart"), [(1.2, False), (0.1, True)])
def test_the_history_says_whether_the_centres_have_collapsed(
    sigma: float, apart: bool, tmp_path: Path
) -> None:
    record = run(small("S2", *FAST, f"model.em_sigma={sigma}"), tmp_path).history[-1]
    assert set(record["centre_spread"]) == {"text", "audio"}
    assert (record["centre_spread"]["audio"] > 1e-3) is apart
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1]) == record


def test_without_refinement_there_are_no_centres(tmp_path: Path) -> None:
    assert "centre_spread" not in run(small("S1", *FAST), tmp_path).history[-1]


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    run(small("S1", *FAST), tmp_path)
    with pytest.raises(TrainingError, match="this run exists; resume it with --resume"):
        run(small("S1", *FAST), tmp_path)


def test_resuming_with_other_settings_names_them(tmp_path: Path) -> None:
    run(small("S1", *FAST), tmp_path)
    with pytest.raises(TrainingError, match=r"other settings \(train.learning_rate\)"):
        run(small("S1", *FAST, "train.learning_rate=0.01"), tmp_path, resume=True)


def test_fine_tuning_starts_from_the_weights_and_lists_what_is_fresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(small("S2", *FAST), tmp_path / "first")
    still = small("S7", *FAST, "train.epochs=1", "train.learning_rate=1.0e-12")
    with caplog.at_level(logging.INFO, logger="amr_model.learn.train"):
        run(still, tmp_path / "second", init=tmp_path / "first" / BEST)
    fresh = [record.message for record in caplog.records if "freshly initialised" in record.message]
    assert len(fresh) == 1
    assert "quality_head.layers.0.weight" in fresh[0]
    assert "class_head" not in fresh[0]
    before, after = (load_checkpoint(tmp_path / name / BEST).model for name in ("first", "second"))
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_fine_tuning_from_another_size_says_which_tensor(tmp_path: Path) -> None:
    run(small("S1", *FAST), tmp_path / "first")
    wide = small("S1", *FAST, "model.hidden_dim=32")
    with pytest.raises(TrainingError, match=r"has shape .* the model needs"):
        run(wide, tmp_path / "second", init=tmp_path / "first" / BEST)


@pytest.mark.parametrize("poisoned", ["saliency_global.bias", "class_head.weight"])
def test_a_loss_that_is_not_finite_stops_and_names_the_batch(tmp_path: Path, poisoned: str) -> None:
    config = small("S1", *FAST)
    weights = network_of(config.model).state_dict()
    weights[poisoned][...] = float("nan")
    save_checkpoint(tmp_path / "bad.pt", Checkpoint(config=config, model=weights))
    with pytest.raises(
        TrainingError, match=r"loss total.* not finite in epoch 0 for the batch of qids q\d, q\d"
    ):
        run(config, tmp_path / "run", init=tmp_path / "bad.pt")
    assert not (tmp_path / "run" / BEST).exists()


@pytest.mark.parametrize("options", [("train.precision=tf32",), ("train.batching=length",)])
def test_options_of_arithmetic_and_order_train(tmp_path: Path, options: tuple[str, ...]) -> None:
    history = run(small("S8", *FAST, *options), tmp_path).history
    assert all(value == value for record in history for value in record["loss"].values())


def test_bf16_is_refused_where_it_is_slower_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"train\.precision: bfloat16 trains at two thirds .*; leave it at float32"
    ):
        run(small("S8", *FAST, "train.precision=bf16"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tf32_reaches_the_backward_pass_and_ends_with_the_step(tmp_path: Path) -> None:
    seen = []

    class Watched(Trainer):
        def __post_init__(self) -> None:
            super().__post_init__()
            for parameter in self.model.parameters():
                parameter.register_hook(lambda _: seen.append(torch.get_float32_matmul_precision()))

    config = small("S8", *FAST, "train.precision=tf32")
    model, data = network_of(config.model), make_set(config)
    trainer = Watched(config, model, torch.optim.SGD(model.parameters()), data, Processes())
    next(trainer.epoch(0, first_step=0, loss_sums=torch.zeros(len(trainer.loss_names))))
    assert set(seen) == {"high"}
    assert torch.get_float32_matmul_precision() == "highest"


def test_bf16_products_of_every_layer_on_a_processor() -> None:
    layer, rows = FeedForward(16, 32, 0.1), torch.randn(4, 5, 16)
    with mixed_precision(torch.device("cpu"), "bf16"):
        assert layer(rows).dtype == torch.bfloat16


WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from tests.model.builders import make_set, small
from amr_model.learn.train import train
import json
config = small("S8", *json.loads(sys.argv[3]))
result = train(config, make_set(config), make_set(config, seed=1), Path(sys.argv[1]))
import os
Path(sys.argv[1], f"rank{os.environ.get('RANK', 0)}.json").write_text(json.dumps(result.history))
"""


def launch(folder: Path, count: int, options: tuple[str, ...]) -> None:
    script = folder.parent / "worker.py"
    script.write_text(WORKER)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    arguments = [str(script), str(folder), str(Path(__file__).parent), json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *arguments], check=True, env=environment, cwd=root, timeout=300)


def test_two_processes_agree_and_train_as_one_does(tmp_path: Path) -> None:
    options = ("train.epochs=2", "train.batch_size=3", "model.dropout=0.0", "model.input_dropout=0.0")
    launch(tmp_path / "two", 2, options)
    histories = [json.loads((tmp_path / "two" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert histories[0] == histories[1]
    config = small("S8", *options)
    alone = train(config, make_set(config), make_set(config, seed=1), tmp_path / "one").history
    # Adam makes whole steps of gradients that are rounding noise, so weights are only nearly equal
    for together, single in zip(histories[0], alone, strict=True):
        for group in ("loss", "valid_loss"):
            assert together[group] == pytest.approx(single[group], rel=1e-3)
    assert load_checkpoint(tmp_path / "two" / BEST).history
