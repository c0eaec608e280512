"""A report as one HTML file that needs nothing else, and as Markdown with its pictures beside it.

    write_report(ReportPage(title="Demonstration", lead="...", sections=(Section(...),)), folder)

Pictures, sound and the little script are inside `report.html`: it can be mailed, and opens without a network.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic.dataclasses import dataclass

from clotho_long import __version__
from clotho_long.core.files import atomic_path, write_text

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
PICTURE_FOLDER = "report_files"
MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png", "mp3": "audio/mpeg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph, without markup."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as text; the first column names the rows."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()  # rows that matter most
    words: tuple[int, ...] = ()  # columns of words, which may take several lines
    note: str = ""
    kind: Literal["table"] = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A few figures to see first: (what, figure, remark)."""

    figures: tuple[tuple[str, str, str], ...]
    kind: Literal["headline"] = "headline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart. Wide ones scroll sideways on a narrow screen, so that they stay legible."""

    name: str  # of its file beside report.md
    content: bytes
    suffix: Literal["svg", "png"] = "svg"
    caption: str
    wide: bool = False
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One query with its recording, the truth and what was answered."""

    query: str
    qid: str
    recording_id: str
    duration_s: float
    truth: tuple[tuple[float, float], ...]
    predicted: tuple[tuple[float, float, float], ...]  # onset_s, offset_s, score, best first
    first_iou: float  # of the first window with the best moment
    hit: bool
    saliency: tuple[float, ...] = ()  # of each second, scaled to [0, 1]
    spectrogram_png: bytes = b""  # nothing where no sound is at hand
    sound_mp3: bytes = b""
    kind: Literal["example"] = "example"


Block: TypeAlias = Text | Table | Headline | Picture | Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """A whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]


def write_report(page: ReportPage, folder: Path) -> Path:
    """Write `report.html`, and `report.md` with its pictures, into a folder; returns the former."""
    write_text(folder / "report.md", to_markdown(page))
    for picture in _pictures(page):
        with atomic_path(folder / PICTURE_FOLDER / f"{picture.name}.{picture.suffix}") as part:
            part.write_bytes(picture.content)
    path = folder / "report.html"
    write_text(path, to_html(page))
    return path


def to_html(page: ReportPage) -> str:
    """One self-contained page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": _data_uri, "percent_of": _percent_of, "outline": _outline}
    return environment.get_template("report.html.j2").render(page=page, version=__version__)


def to_markdown(page: ReportPage) -> str:
    """The same for reading as text; examples without their sound."""
    lines = [f"# {page.title}", "", page.lead, ""]
    for section in page.sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            lines += [*_markdown_of(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_of(block: Block) -> list[str]:
    match block:
        case Text():
            return [block.text]
        case Table():
            rows = [block.header, tuple("---" for _ in block.header), *block.rows]
            note = ["", block.note] if block.note else []
            return [*(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows), *note]
        case Headline():
            return [f"- {what}: **{figure}** ({remark})" for what, figure, remark in block.figures]
        case Picture():
            return [f"![{block.caption}]({PICTURE_FOLDER}/{block.name}.{block.suffix})", "", block.caption]
        case Example():
            return _markdown_example(block)


def _markdown_example(example: Example) -> list[str]:
    verdict = "found" if example.hit else "missed"
    truth = ", ".join(f"{onset:.1f}-{offset:.1f} s" for onset, offset in example.truth)
    answers = ", ".join(
        f"{onset:.0f}-{offset:.0f} s ({score:.2f})" for onset, offset, score in example.predicted
    )
    return [
        f"### {verdict}: “{example.query}”",
        "",
        f"- {example.recording_id}, qid {example.qid}; first window's IoU {example.first_iou:.2f}",
        f"- true: {truth}",
        f"- answered: {answers or 'nothing'}",
    ]


def _pictures(page: ReportPage) -> Sequence[Picture]:
    return [block for section in page.sections for block in section.blocks if isinstance(block, Picture)]


def _data_uri(content: bytes, suffix: str) -> str:
    return f"data:{MEDIA_TYPES[suffix]};base64,{base64.b64encode(content).decode()}"


def _percent_of(value: float, whole: float) -> str:
    return f"{100 * value / whole:.2f}%"


def _outline(saliency: Sequence[float]) -> Any:
    """Points of a polygon in a box of 100 x 100, seconds from left to right, high values at the top."""
    width = 100 / len(saliency)
    tops = [
        f"{x:.2f},{100 - 100 * value:.1f}"
        for second, value in enumerate(saliency)
        for x in (second * width, (second + 1) * width)
    ]
    return " ".join(["0,100", *tops, "100,100"])
