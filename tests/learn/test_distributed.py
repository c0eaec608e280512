"""Several processes train the objective of one: every term of every step, and the weights after them."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from amr_model.errors import TrainingError
from amr_model.learn.distributed import Processes, processes
from amr_model.learn.engine import Trainer
from amr_model.learn.train import train
from amr_model.public.networks import network_of
from tests.model.builders import make_set, small

ROOT = Path(__file__).parents[2]
# the second batch, of three, is smaller than four processes; parts of seven are uneven
EXACT = ("train.batch_size=7", "model.dropout=0.0", "model.input_dropout=0.0")
EPOCHS = 2
ODD = (
    *("loss.quality_targets=all", "loss.sim_reduction=reference", "loss.sim_scale=5.0"),
    *("model.negatives=hard", "model.negatives_from_epoch=1", "model.padding=reference"),
    *("targets.saliency_pairs=all", "train.batching=length"),
)
CASES: dict[str, tuple[str, ...]] = {
    "S1": (),
    "S8": (),
    "S8 otherwise": ODD,
    "S9": (),
    "S9 absent": ("targets.absent_share=0.4", "loss.similarity=0.5"),
}


def steps(case: str, mine: Processes) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """The loss terms of each step, and the weights after the last."""
    config = small(case.split()[0], *EXACT, *CASES[case], "train.learning_rate=0.05")
    torch.manual_seed(3)
    model, data = network_of(config.model), make_set(config)
    # plain descent: Adam makes whole steps of gradients that are rounding noise around zero
    trainer = Trainer(config, model, torch.optim.SGD(model.parameters(), lr=0.05), data, mine)
    values = []
    for epoch in range(EPOCHS):
        before = torch.zeros(len(trainer.loss_names))
        for _, sums in trainer.epoch(epoch, first_step=0, loss_sums=before.clone()):
            values.append(dict(zip(trainer.loss_names, (sums - before).tolist(), strict=True)))
            before = sums.clone()
    return values, model.state_dict()


def start(folder: Path, count: int) -> int:
    """Fork the processes from one that has imported torch and computed nothing. Returns how many failed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    fork = multiprocessing.get_context("fork")
    members = [fork.Process(target=work, args=(folder, {**place, "RANK": str(n)})) for n in range(count)]
    for member in members:
        member.start()
    for member in members:
        member.join()
    return sum(member.exitcode != 0 for member in members)


def work(folder: Path, place: dict[str, str]) -> None:
    """What each process of the test does."""
    os.environ.update(place)
    torch.set_num_threads(1)
    with processes(torch.device("cpu")) as mine:
        for case in CASES:
            values, weights = steps(case, mine)
            (folder / f"{case}-{mine.rank}.json").write_text(json.dumps(values))
            torch.save(weights, folder / f"{case}-{mine.rank}.pt")


@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_train_the_objective_of_one(count: int, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.learn.test_distributed", str(tmp_path), str(count)]
    subprocess.run(command, check=True, env=environment, cwd=ROOT, timeout=600)
    for case in CASES:
        alone, weights = steps(case, Processes())
        for rank in range(count):
            together = json.loads((tmp_path / f"{case}-{rank}.json").read_text())
            assert len(together) == len(alone) == 2 * EPOCHS
            for step, (ours, theirs) in enumerate(zip(together, alone, strict=True)):
                assert ours == pytest.approx(theirs, rel=1e-4), (case, rank, step)
            for name, value in torch.load(tmp_path / f"{case}-{rank}.pt", weights_only=True).items():
                torch.testing.assert_close(value, weights[name], rtol=1e-4, atol=1e-6)


def test_steps_move_the_weights() -> None:
    """What the test above compares is not what it started from."""
    torch.manual_seed(3)
    start = network_of(small("S1", *EXACT).model).state_dict()
    _, weights = steps("S1", Processes())
    assert (weights["class_head.weight"] - start["class_head.weight"]).abs().max() > 1e-4


def test_masks_that_depend_on_the_whole_batch_are_refused(tmp_path: Path, monkeypatch) -> None:
    config = small("S1", "model.cross_mask=reference")
    monkeypatch.setattr("amr_model.learn.train.processes", lambda _: _pretend(2))
    with pytest.raises(TrainingError, match=r"cross_mask: reference .* whole batch; train in one process"):
        train(config, make_set(config), make_set(config, seed=1), tmp_path)


class _pretend:
    def __init__(self, count: int) -> None:
        self.mine = Processes(rank=0, count=count)

    def __enter__(self) -> Processes:
        return self.mine

    def __exit__(self, *_: object) -> None:
        return None


if __name__ == "__main__":
    sys.exit(start(Path(sys.argv[1]), int(sys.argv[2])))
