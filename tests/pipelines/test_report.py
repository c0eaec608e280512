"""A report is one file that needs nothing else, and says what did not work as plainly as what did."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines import charts
from pipelines.report import (
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
        "saliency": (0.0, 1.0, 0.5),
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
    assert len(references) == 4
    assert all(reference.startswith(("data:", "#")) for reference in references)
    assert "url(" not in html
    assert "@import" not in html


def test_text_of_others_is_escaped() -> None:
    html = to_html(make_page(Text(text="<script>alert(1)</script>"), make_example()))
    assert "<script>alert" not in html
    assert "A bell &lt;rings&gt; &amp; stops" in html


def test_moments_lie_where_they_are() -> None:
    html = to_html(make_page(make_example()))
    assert html.count('style="left:10.00%;width:10.00%') == 2  # the truth, and the first answer
    assert 'style="left:50.00%;width:5.00%' in html


def test_failures_are_shown_like_successes() -> None:
    page = make_page(make_example(), make_example(hit=False, first_iou=0.1))
    html, markdown = to_html(page), to_markdown(page)
    assert html.count('<article class="example full') == 2
    assert '<span class="verdict">missed</span>' in html
    assert "### found: “A bell <rings> & stops”" in markdown
    assert "### missed: “A bell <rings> & stops”" in markdown


def test_an_example_without_sound_or_answer_is_still_shown() -> None:
    example = make_example(spectrogram_png=b"", sound_mp3=b"", saliency=(), predicted=())
    html = to_html(make_page(example))
    assert "<audio" not in html
    assert "answered: nothing" in to_markdown(make_page(example))


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
