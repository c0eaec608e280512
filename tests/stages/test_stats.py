"""The picture of a corpus: bars that nothing hides, and axes of whole numbers for what is counted."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from clotho_long.stages import stats
from clotho_long.stages.stats import Distributions, plot_distributions


def make_values(**changes: object) -> Distributions:
    values: dict[str, object] = {
        "queries_per_clip": (1, 2, 2, 5),
        "moments_per_query": (1, 1, 1),
        "moment_s": (2.0, 3.0, 10.0),
        "gap_s": (0.5, 4.0),
        "foreground_db": (-3.0, 3.0),
        "background_db": (-20.0,),
        "hours": 1.0,
    }
    return Distributions(**{**values, **changes})  # type: ignore[arg-type]


NOTHING = dict.fromkeys(("queries_per_clip", "moments_per_query", "moment_s", "gap_s", "foreground_db"), ())


def drawn(
    monkeypatch: pytest.MonkeyPatch, values_of: dict[str, Distributions], title: str = "corpus"
) -> Figure:
    """The figure that would be written."""
    figures: list[Figure] = []
    monkeypatch.setattr(stats, "save_figure", lambda figure, path: figures.append(figure))
    plot_distributions(values_of, Path("corpus.png"), title=title)
    figures[0].draw_without_rendering()
    return figures[0]


def test_what_is_counted_has_whole_numbers_on_its_axis(monkeypatch) -> None:
    figure = drawn(monkeypatch, {"train": make_values(), "valid": make_values(moments_per_query=(1,))})
    for axes in figure.axes[:2]:
        low, high = axes.get_xlim()
        shown = [at for at in axes.get_xticks() if low <= at <= high]
        assert len(shown) >= 2
        assert all(float(at).is_integer() for at in shown)


def test_the_legend_lies_below_and_names_the_splits_in_their_order_and_colour(monkeypatch) -> None:
    splits = ("train", "valid", "test")
    figure = drawn(monkeypatch, {split: make_values() for split in splits})
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(splits)
    top = legend.get_window_extent().y1
    for axes in figure.axes:
        assert axes.get_legend() is None
        assert axes.get_window_extent().y0 > top
    bars = figure.axes[0].containers
    assert [bar[0].get_facecolor() for bar in bars] == [
        patch.get_facecolor() for patch in legend.get_patches()
    ]


@pytest.mark.parametrize("title", ["$5 {_^", "犬", "a corpus with a name " * 20])
def test_empty_splits_and_any_name_are_drawn_without_a_warning(tmp_path: Path, title: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values_of = {"train": make_values(), "valid": make_values(**NOTHING)}
        plot_distributions(values_of, tmp_path / "corpus.png", title=title)
        plot_distributions({"train": make_values(**NOTHING)}, tmp_path / "empty.png", title=title)
    assert (tmp_path / "corpus.png").stat().st_size > 0
