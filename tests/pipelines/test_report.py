"""A report is one file that needs nothing else, and says what did not work as plainly as what did."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from matplotlib.figure import Figure

from amr_model.config import ExperimentConfig, system
from amr_model.public.networks import network_of
from clotho_long.core.settings import load_config, override, to_plain
from pipelines import charts
from pipelines.made_by import commit
from pipelines.report import (
    FOUND_IOU,
    Example,
    Headline,
    Picture,
    ReportPage,
    Section,
    Table,
    Text,
    to_html,
    to_markdown,
    write_report,
)
from pipelines.sections import HEADLINES, curves_section, results_section, settings_section
from pipelines.steps import StepRun


def make_example(**changes: object) -> Example:
    values: dict[str, object] = {
        "query": "A bell <rings> & stops",
        "qid": "00007",
        "recording_id": "Park_0.0_60.0",
        "duration_s": 60.0,
        "truth": ((6.0, 12.0),),
        "predicted": ((6.0, 12.0, 0.9), (30.0, 33.0, 0.2)),
        "first_iou": 1.0,
        "hit": True,
        "curve": (0.0, 1.0, 0.5),
        "spectrogram_png": b"png",
        "sound_mp3": b"mp3",
    }
    return Example(**{**values, **changes})  # type: ignore[arg-type]


def make_page(*blocks: object) -> ReportPage:
    section = Section(title="Results", blocks=blocks)  # type: ignore[arg-type]
    return ReportPage(title="A report", lead="What it is.", sections=(section,))


def make_picture() -> Picture:
    chart = charts.bars({"S1": {"<= 3 s": 4.0}}, title="by length", label="%")
    return Picture(name="chart", content=chart, caption="How much.")


def test_the_page_loads_nothing() -> None:
    html = to_html(make_page(make_picture(), make_example()))
    references = re.findall(r'(?:src|href)="([^"]{0,40})', html)
    assert len(references) == 3
    assert all(reference.startswith(("data:", "#")) for reference in references)
    addresses = re.findall(r"url\(([^)]{0,10})", html)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "@import" not in html


def test_text_of_others_is_escaped() -> None:
    html = to_html(make_page(Text(text="<script>alert(1)</script>"), make_example()))
    assert "<script>alert" not in html
    assert "A bell &lt;rings&gt; &amp; stops" in html


def test_moments_lie_where_they_are() -> None:
    html = to_html(make_page(make_example()))
    assert html.count('style="left: 10.000%; width: 10.000%') == 2  # the truth, and the first answer
    assert 'style="left: 50.000%; width: 5.000%' in html


def test_failures_are_shown_like_successes() -> None:
    page = make_page(make_example(), make_example(hit=False, first_iou=0.1))
    html, markdown = to_html(page), to_markdown(page)
    assert html.count('<article class="example full') == 2
    assert '<span class="verdict">missed, IoU 0.10</span>' in html
    assert "### found, IoU 1.00: “A bell &lt;rings&gt; &amp; stops”" in markdown
    assert "### missed, IoU 0.10: “A bell &lt;rings&gt; &amp; stops”" in markdown


@pytest.mark.parametrize(
    ("iou", "verdict"), [(1.0, "found"), (0.7, "found"), (0.67, "close"), (0.5, "close"), (0.49, "missed")]
)
def test_a_query_is_missed_only_below_the_iou_that_counts_and_the_iou_is_said(
    iou: float, verdict: str
) -> None:
    html = to_html(make_page(make_example(first_iou=iou, hit=iou >= FOUND_IOU)))
    assert f'<span class="verdict">{verdict}, IoU {iou:.2f}</span>' in html


EVIL = "<img src=x onerror=alert(1)> ![x](http://evil.example) `a` *b*\n# heading | cell"


def test_nothing_of_others_becomes_markup_in_markdown() -> None:
    markdown = to_markdown(
        make_page(
            Text(text=EVIL),
            Table(header=(EVIL, "R1"), rows=((EVIL, "5"),), note=EVIL),
            Headline(figures=((EVIL, "5", EVIL),)),
            Picture(name="chart", content=b"", caption=EVIL),
            make_example(query=EVIL, recording_id=EVIL, qid=EVIL),
        )
    )
    assert "<img" not in markdown
    assert "![x](http" not in markdown
    assert "\n# heading" not in markdown
    assert re.findall(r"(?<!\\)`", markdown) == []
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3]


def test_an_example_without_sound_or_answer_is_still_shown() -> None:
    example = make_example(spectrogram_png=b"", sound_mp3=b"", curve=(), predicted=())
    html = to_html(make_page(example))
    assert "<audio" not in html
    assert "answered: nothing" in to_markdown(make_page(example))


def test_an_example_names_its_curve_and_says_how_sure_it_is_of_the_recording() -> None:
    calibrated = make_page(make_example(curve_kind="probability", presence=0.875))
    assert '<div class="label">probability</div>' in to_html(calibrated)
    for text in (to_html(calibrated), to_markdown(calibrated)):
        assert "probability that it is there at all: 0.88" in text
    plain = make_page(make_example())
    assert '<div class="label">saliency</div>' in to_html(plain)
    assert "there at all" not in to_html(plain) + to_markdown(plain)


def test_markdown_has_its_pictures_beside_it(tmp_path: Path) -> None:
    table = Table(header=("", "R1"), rows=(("S1", "5.0"),), note="percent")
    headline = Headline(figures=(("R1@0.7", "5.0", "chance: 0"),))
    path = write_report(make_page(headline, table, make_picture()), tmp_path)
    markdown = (tmp_path / "report.md").read_text()
    assert path == tmp_path / "report.html"
    assert "| S1 | 5.0 |" in markdown
    assert "- R1@0.7: **5.0** (chance: 0)" in markdown
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", markdown)
    assert (tmp_path / picture).read_bytes() == make_picture().content


@pytest.mark.parametrize("figure", ["loss.total", "valid.R1@0.7"])
def test_the_same_figures_give_the_same_chart(figure: str) -> None:
    history = [{"epoch": 0, "loss": {"total": 2.0, "span": 1.0}, "valid": {"R1@0.7": 5.0}}]
    drawn = [charts.curves({"S1": history}, figure=figure, title="t", label="%") for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(b"<?xml")


def make_run(folder: Path, figures: list[float]) -> Path:
    """A run of some epochs with these figures on its validation set."""
    folder.mkdir(parents=True)
    config = override(system("S1"), ["model.hidden_dim=16", "model.num_heads=2", "model.feedforward_dim=16"])
    (folder / "config.yml").write_text(yaml.safe_dump(to_plain(config)))
    history = [
        {
            "epoch": at,
            "loss": {"total": 2.0 / (at + 1), "span": 1.0},
            "valid": dict.fromkeys(HEADLINES, figure),
        }
        for at, figure in enumerate(figures)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history))
    return folder


def make_scores(folder: Path, figure: float) -> Path:
    """A folder of figures as `score_step` writes them."""
    folder.mkdir(parents=True)
    row = {"queries": 3, "moments": 4, **dict.fromkeys((*HEADLINES, "found@0.5"), figure)}
    metrics = {
        "brief": {f"MR-full-{name}": figure for name in HEADLINES},
        "intervals": {name: [figure / 2, figure * (2 if name == "R1@0.5" else 1.1)] for name in HEADLINES},
        "more": {"R5@0.5": figure, "found@0.5": figure},
        "counts": {"queries": 3, "moments": 4, "unanswered": 0},
        "by_length": {"<= 3 s": row},
        "by_number": {"1": row},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_headline_figures_name_their_system(tmp_path: Path) -> None:
    scored = {
        name: make_scores(tmp_path / name, figure) for name, figure in (("before", 2.0), ("after", 40.0))
    }
    section = results_section(scored, strong="after", headline=("before", "after"))
    headline = section.blocks[0]
    assert isinstance(headline, Headline)
    assert headline.figures[0] == ("R1@0.5, after", "40.0", "before: 2.0")


def test_charts_that_stand_side_by_side_have_the_same_axis(tmp_path: Path) -> None:
    scored = {
        name: make_scores(tmp_path / name, figure) for name, figure in (("before", 2.0), ("after", 30.0))
    }
    section = results_section(scored, strong="after")
    charts_drawn = [block.content.decode() for block in section.blocks if isinstance(block, Picture)]
    ticks = [
        re.findall(r'id="xtick_\d+".*?<use [^>]*x="([\d.]+)"', chart, re.DOTALL) for chart in charts_drawn
    ]
    assert len(ticks) == 2
    assert len(ticks[0]) > 3
    assert ticks[0] == ticks[1]


def test_curves_show_whole_epochs_and_the_one_that_was_kept(tmp_path: Path, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(charts, "_drawn", lambda draw, **_options: drawn.append(draw) or b"")
    runs = {"a": make_run(tmp_path / "a", [1.0, 7.0, 7.0]), "b": make_run(tmp_path / "b", [5.0])}
    section = curves_section(runs)
    axes = Figure().subplots()
    drawn[1](axes)
    axes.figure.draw_without_rendering()
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [list(dot.get_xydata()[0]) for dot in dots] == [[2, 7.0], [1, 5.0]]
    assert all(float(at).is_integer() for at in axes.get_xticks())
    table = section.blocks[-1]
    assert isinstance(table, Table)
    assert [row[2:] for row in table.rows] == [
        ("3", "2", "7.0", "7.0", "7.0"),
        ("1", "1", "5.0", "5.0", "5.0"),
    ]
    parameters = int(table.rows[0][1].replace(",", ""))
    config = load_config(ExperimentConfig, runs["a"] / "config.yml")
    assert parameters == sum(p.numel() for p in network_of(config.model).parameters())


def test_the_report_says_what_made_it_and_what_happened() -> None:
    runs = [
        StepRun(name="scan", why="no output yet", seconds=1.0),
        StepRun(name="plan", why="", seconds=1.0),
        StepRun(name="train", why="settings: model.hidden_dim", seconds=1.0),
    ]
    section = settings_section({"seed": 1}, runs)
    facts, settings, steps = (block for block in section.blocks if isinstance(block, Table))
    made = dict(facts.rows)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", made["date"])
    assert {"command", "commit", "machine", "libraries"} <= set(made)
    assert f"torch {torch.__version__.partition('+')[0]}" in made["libraries"]
    assert settings.rows == (("seed", "1"),)
    assert [row[1] for row in steps.rows] == [
        "made",
        "unchanged since an earlier time",
        "made again: settings: model.hidden_dim",
    ]


def test_the_commit_is_that_of_the_checkout_and_of_no_other(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    assert commit(tmp_path) == ""
    git("init")
    (tmp_path / "a.py").write_text("a = 1\n")
    git("add", "a.py")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-m", "first")
    first = commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", first)
    (tmp_path / "a.py").write_text("a = 2\n")
    assert commit(tmp_path) == f"{first}, with changes"
    (tmp_path / "installed").mkdir()
    assert commit(tmp_path / "installed") == ""
