"""The report's Table 1 is whole, and is told nowhere else in other numbers."""

from __future__ import annotations

import re
from pathlib import Path

from amr_model.config import SYSTEMS
from pipelines.published import FIGURES, LINK, PUBLISHED, ROWS, TITLE

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_has_every_figure() -> None:
    assert list(PUBLISHED) == list(ROWS)
    assert {name for name in SYSTEMS if name <= "S8"} == {name for name in ROWS if name.startswith("S")}
    assert all(tuple(values) == FIGURES for values in PUBLISHED.values())


def test_the_figures_agree_with_what_the_report_says_of_them() -> None:
    """Orders and gains that its text names: S8 is best but for mAP@0.5; S4 and S5 have equal R1."""
    best = {figure: max(PUBLISHED, key=lambda row: PUBLISHED[row][figure]) for figure in FIGURES}
    assert best == {**dict.fromkeys(FIGURES, "S8"), "mAP@0.5": "S3"}
    assert [PUBLISHED["S4"][figure] for figure in FIGURES[:2]] == [33.33, 21.31]
    assert [PUBLISHED["S5"][figure] for figure in FIGURES[:2]] == [33.33, 21.31]
    assert round(PUBLISHED["S8"]["R1@0.7"] - PUBLISHED["B1"]["R1@0.7"], 2) == 11.50


def test_the_page_of_systems_shows_the_same_table() -> None:
    page = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    shown = {
        name: tuple(float(cell) for cell in cells.split("|")[-len(FIGURES) - 1 : -1])
        for name, cells in re.findall(r"^\| ([BS]\d) (\|.*)$", page, re.MULTILINE)
        if re.search(r"\d\.\d\d \|$", cells)
    }
    assert shown == {name: tuple(values.values()) for name, values in PUBLISHED.items()}


def test_the_report_is_cited_where_people_look() -> None:
    for page in ("README.md", "NOTICE", "docs/reproducing_the_report.md"):
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert TITLE in text, page
        assert LINK.removeprefix("https://") in text, page
