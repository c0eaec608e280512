"""A report as one HTML file that needs nothing else, and as Markdown with its pictures beside it.

    write_report(ReportPage(title="Demonstration", lead="...", sections=(Section(...),)), folder)

Pictures, sound and the little script are inside `report.html`: it can be mailed, and opens without a network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Literal, TypeAlias

from markupsafe import Markup
from pydantic.dataclasses import dataclass

from amr_model.web.timeline import Lane, Mark, data_uri, environment, outline, timeline
from clotho_long import __version__
from clotho_long.core.clock import clock
from clotho_long.core.files import atomic_path, write_text

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
PICTURE_FOLDER = "report_files"
# of the first window with the best moment: from where on it counts for R1@0.7, and from where on it is close
FOUND_IOU, CLOSE_IOU = 0.7, 0.5


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
    curve: tuple[float, ...] = ()  # of each second, from 0 to 1
    curve_kind: CurveKind = "saliency"  # scaled to [0, 1]; a probability is not
    presence: float | None = None  # probability that the recording holds the query, if that was calibrated
    spectrogram_png: bytes = b""  # nothing where no sound is at hand
    sound_mp3: bytes = b""
    kind: Literal["example"] = "example"

    @property
    def verdict(self) -> Literal["found", "close", "missed"]:
        """What became of the query, by the IoU of its first window."""
        if self.hit:
            return "found"
        return "close" if self.first_iou >= CLOSE_IOU else "missed"


CurveKind: TypeAlias = Literal["saliency", "probability"]
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
    made = environment(TEMPLATE_FOLDER).overlay()
    made.filters = {
        **made.filters,
        "timeline": _timeline_of,
        "breakable": _breakable,
        "presence_note": presence_note,
    }
    return made.get_template("report.html.j2").render(page=page, version=__version__)


def to_markdown(page: ReportPage) -> str:
    """The same for reading as text; examples without their sound."""
    lines = [f"# {_plain(page.title)}", "", _plain(page.lead), ""]
    for section in page.sections:
        lines += [f"## {_plain(section.title)}", ""]
        for block in section.blocks:
            lines += [*_markdown_of(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_of(block: Block) -> list[str]:
    match block:
        case Text():
            return [_plain(block.text)]
        case Table():
            rows = [block.header, tuple("---" for _ in block.header), *block.rows]
            note = ["", _plain(block.note)] if block.note else []
            cells = [[_plain(cell).replace("|", "\\|") for cell in row] for row in rows]
            return [*(f"| {' | '.join(row)} |" for row in cells), *note]
        case Headline():
            return [
                f"- {_plain(what)}: **{_plain(figure)}** ({_plain(remark)})"
                for what, figure, remark in block.figures
            ]
        case Picture():
            caption = _plain(block.caption)
            return [f"![{caption}]({PICTURE_FOLDER}/{block.name}.{block.suffix})", "", caption]
        case Example():
            return _markdown_example(block)


def _markdown_example(example: Example) -> list[str]:
    truth = ", ".join(f"{onset:.1f}-{offset:.1f} s" for onset, offset in example.truth)
    answers = ", ".join(
        f"{onset:.0f}-{offset:.0f} s ({score:.2f})" for onset, offset, score in example.predicted
    )
    return [
        f"### {example.verdict}, IoU {example.first_iou:.2f}: “{_plain(example.query)}”",
        "",
        f"- {_plain(example.recording_id)}, qid {_plain(example.qid)}",
        f"- true: {truth}",
        f"- answered: {answers or 'nothing'}",
        *([f"- {note}"] if (note := presence_note(example)) else []),
    ]


def _pictures(page: ReportPage) -> Sequence[Picture]:
    return [block for section in page.sections for block in section.blocks if isinstance(block, Picture)]


def presence_note(example: Example) -> str:
    """How sure the network is that the recording holds what is asked for, if that was calibrated."""
    return "" if example.presence is None else f"probability that it is there at all: {example.presence:.2f}"


def _plain(text: str) -> str:
    """Text of others in Markdown: neither HTML nor links nor pictures come of it, and it stays one line."""
    return re.sub(r"([\\`*\[\]])", r"\\\1", escape(" ".join(text.split()), quote=False))


def _breakable(name: str) -> Markup:
    """A name such as `mixtures.size.tour_s` that a narrow column may break at its dots and underscores."""
    return Markup(re.sub(r"([._])(?=\w)", r"\1<wbr>", escape(name)))


def _timeline_of(example: Example) -> Markup:
    """The lanes of an example: its sound, the truth, what was answered, and the curve."""
    lanes = []
    if example.spectrogram_png:
        lanes.append(Lane(name="sound", kind="picture", picture=data_uri(example.spectrogram_png, "png")))
    truth = [
        Mark(
            onset_s=onset_s,
            offset_s=offset_s,
            title=f"true: {clock(onset_s)} to {clock(offset_s)}",
            data=_when(onset_s, offset_s),
        )
        for onset_s, offset_s in example.truth
    ]
    lanes += [
        Lane(name="true", kind="truth", marks=truth),
        Lane(name="answer", kind="answer", marks=_answers(example)),
    ]
    if example.curve:
        lanes.append(Lane(name=example.curve_kind, kind="curve", outline=outline(example.curve)))
    return Markup(timeline(lanes, example.duration_s, labelled=True))


def _answers(example: Example) -> list[Mark]:
    """The windows that were answered, the best one with its number and on top."""
    top = max((score for *_, score in example.predicted), default=0.0) or 1.0
    marks = [
        Mark(
            onset_s=onset_s,
            offset_s=offset_s,
            title=f"rank {rank}: {clock(onset_s)} to {clock(offset_s)}, score {score:.2f}",
            label="1" if rank == 1 else "",
            strength=min(max(score / top, 0.0), 1.0),
            data=_when(onset_s, offset_s),
        )
        for rank, (onset_s, offset_s, score) in enumerate(example.predicted, start=1)
    ]
    return marks[::-1]


def _when(onset_s: float, offset_s: float) -> dict[str, str]:
    """What the script needs to play a mark, as attributes."""
    return {"at": f"{onset_s:g}", "end": f"{offset_s:g}"}
