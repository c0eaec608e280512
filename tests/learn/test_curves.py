"""The picture of a run shows both losses, marks the best epoch, and its legends lie beside the curves."""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import pytest

from amr_model.learn.criterion import OPTIONAL_TERMS, Criterion
from amr_model.learn.curves import Curves, draw_curves
from amr_model.learn.train import train
from tests.model.builders import make_set, small

HISTORY = [
    {
        "epoch": epoch,
        "loss": {"total": 9.0 - epoch, "span": 1.0},
        "valid_loss": {"total": 9.5 - epoch, "span": 1.1},
        "valid": {"R1@0.5": 20.0, "R1@0.7": figure},
    }
    for epoch, figure in enumerate((5.0, 12.0, 8.0))
]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    kept = []
    save = matplotlib.figure.Figure.savefig

    def keep(self, *arguments, **options):
        kept.append(self)
        return save(self, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return kept


def test_both_losses_and_the_best_epoch_are_drawn_and_labelled(tmp_path: Path, figures) -> None:
    draw_curves(HISTORY, tmp_path / "curves.png", select_by="R1@0.7")
    left, right = figures[0].axes
    lines = {line.get_label(): line for line in left.get_lines()}
    assert lines.keys() == {"total", "span", "total on validation", "best R1@0.7: epoch 1"}
    assert lines["total on validation"].get_ydata().tolist() == [9.5, 8.5, 7.5]
    assert "total (weighted)" in left.get_title()
    for axes in (left, right):
        assert [line.get_xdata()[0] for line in axes.get_lines() if "best" in line.get_label()] == [1]
        legend = axes.get_legend().get_window_extent()
        assert legend.x0 >= axes.get_window_extent().x1


def test_runs_of_earlier_versions_have_no_validation_loss(tmp_path: Path, figures) -> None:
    old = [{key: value for key, value in record.items() if key != "valid_loss"} for record in HISTORY]
    draw_curves([*old[:2], HISTORY[2]], tmp_path / "curves.png", select_by="R1@0.7")
    lines = {line.get_label(): line for line in figures[0].axes[0].get_lines()}
    assert lines["total on validation"].get_xdata().tolist() == [2]


def test_quick_epochs_share_a_picture(tmp_path: Path, figures, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("amr_model.learn.curves.time.monotonic", lambda: now[0])
    curves = Curves(tmp_path / "curves.png", "R1@0.7")
    curves.draw([])
    for now[0] in (100.0, 101.0, 104.9, 106.0):
        curves.after_epoch(HISTORY)
    assert len(figures) == 2


def test_a_term_is_added_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """`match_span` stands for the new term's weight, which a setting gives it."""
    monkeypatch.setitem(OPTIONAL_TERMS, "match_span", lambda scored: scored.outputs.saliency.mean())
    assert Criterion.of(small("S1")).names == ("total", "span", "giou", "label", "saliency", "match_span")
    assert Criterion.of(small("S1", "loss.match_span=0.0")).names == Criterion.of(small("S1")).names[:-1]


def test_each_epoch_knows_its_validation_loss_and_the_picture_is_there_while_it_trains(
    tmp_path: Path,
) -> None:
    drawn = []
    config = small("S8", "train.batch_size=4", "train.epochs=2")
    trained = train(
        config,
        make_set(config),
        make_set(config, seed=1),
        tmp_path,
        on_step=lambda epoch, done: drawn.append((epoch, (tmp_path / "curves.png").exists())),
    )
    assert (0, True) not in drawn
    assert (1, False) not in drawn
    for record in trained.history:
        assert record["valid_loss"].keys() == record["loss"].keys()
        assert all(value == value for value in record["valid_loss"].values())
