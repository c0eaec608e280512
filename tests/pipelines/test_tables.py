"""Tables of results are the same numbers on every way out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.ablation_tables import PerQuery, runs_frame, systems_frame, table_section, write_tables
from pipelines.published import FIGURES, PUBLISHED, ROWS
from pipelines.sections import published_section
from pipelines.tables import to_markdown, write_frame


def figures(of_queries: list[float]) -> PerQuery:
    return {figure: np.array(of_queries) + place for place, figure in enumerate(FIGURES)}


SCORES = {
    "S1": {1: figures([10.0, 30.0]), 2: figures([20.0, 40.0])},
    "S8": {1: figures([50.0, 70.0]), 2: figures([60.0, 80.0])},
}


def test_runs_have_a_row_each_and_systems_their_mean_and_spread() -> None:
    runs = runs_frame(SCORES)
    assert runs[["system", "seed", "R1@0.5"]].to_numpy().tolist() == [
        ["S1", 1, 20.0],
        ["S1", 2, 30.0],
        ["S8", 1, 60.0],
        ["S8", 2, 70.0],
    ]
    table = systems_frame(SCORES).set_index(["system", "figure"])
    assert table.loc[("S8", "R1@0.7"), ["mean", "lowest_seed", "highest_seed", "seeds"]].tolist() == [
        66,
        61,
        71,
        2,
    ]
    assert table.loc[("S8", "mAP"), "published"] == PUBLISHED["S8"]["mAP"]
    assert (
        table.loc[("S8", "mAP"), "low"]
        <= table.loc[("S8", "mAP"), "mean"]
        <= table.loc[("S8", "mAP"), "high"]
    )


def test_rows_that_were_not_run_are_shown_with_what_is_published() -> None:
    table = systems_frame(SCORES)
    assert table["system"].unique().tolist() == list(ROWS)
    assert table[table["system"] == "B1"]["mean"].isna().all()
    beside = table_section(SCORES).blocks[0]
    assert [row[0] for row in beside.rows] == list(ROWS)
    cells = {row[0]: row for row in beside.rows}
    assert cells["B1"][2:4] == ("", "25.61")
    assert cells["S1"][2:4] == ("25.00", "29.84")


def test_a_system_that_nobody_published_has_a_row_too() -> None:
    table = systems_frame({**SCORES, "S99": SCORES["S1"]}).set_index(["system", "figure"])
    assert table.at[("S99", "mAP"), "mean"] == 27.0
    assert np.isnan(table.at[("S99", "mAP"), "published"])


def test_csv_reads_back_and_markdown_has_the_same_cells(tmp_path: Path) -> None:
    written = write_tables(SCORES, tmp_path)
    assert sorted(path.name for path in written) == ["runs.csv", "runs.md", "table.csv", "table.md"]
    back = pd.read_csv(tmp_path / "runs.csv")
    pd.testing.assert_frame_equal(back, runs_frame(SCORES))
    assert (tmp_path / "runs.md").read_text().splitlines()[:3] == [
        "| system | seed | R1@0.5 | R1@0.7 | mAP | mAP@0.5 | mAP@0.75 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| S1 | 1 | 20.00 | 21.00 | 22.00 | 23.00 | 24.00 |",
    ]


def test_a_bar_in_a_name_does_not_end_a_cell(tmp_path: Path) -> None:
    frame = pd.DataFrame([{"model": "a|b", "R1": float("nan")}])
    assert to_markdown(frame).splitlines()[-1] == "| a/b |  |"
    assert [path.name for path in write_frame(frame, tmp_path / "v1.2")] == ["v1.2.csv", "v1.2.md"]


def test_our_rows_stand_above_the_published_ones(tmp_path: Path) -> None:
    brief = {f"MR-full-{figure}": 12.25 for figure in FIGURES}
    (tmp_path / "metrics.json").write_text(json.dumps({"brief": brief}))
    (table,) = published_section({"S8, fine-tuned": tmp_path}).blocks
    assert [row[0] for row in table.rows] == ["S8, fine-tuned", *ROWS]
    assert table.rows[0][2:] == ("12.25",) * len(FIGURES)
