"""The results of one recording as HTML: a spectrogram with its moments for each query, and a player.

Pure functions from values to text. The templates escape what people typed and how their files are called.
What the page of a collection shows as well lies here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from amr_model.answer.answers import Answer
from amr_model.web.listener import Heard
from amr_model.web.timeline import Lane, Mark, data_uri, environment, timeline
from clotho_long.audio.spectrogram import to_png
from clotho_long.core.clock import clock

# Okabe and Ito's colours, told apart with any kind of colour vision; one for each query, then again
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")


def results(
    heard: Heard, address_of: Callable[[Path], str], downloads: Mapping[str, Path], *, search: str = ""
) -> str:
    """Everything below the form.

    Args:
        address_of: turns the file of a cut or a download into where the page can get it.
        downloads: files to take home, by their names on the page.
        search: what the page's address is to name, so that the results can be found again.
    """
    queries = [
        _query(answer, [address_of(cut) for cut in cuts], colour_of(place))
        for place, (answer, cuts) in enumerate(zip(heard.answers, heard.cuts, strict=True))
    ]
    how = (
        "The recording is silent throughout: whatever is found is a guess."
        if heard.silent
        else "Click a moment to hear it."
    )
    return (
        environment()
        .get_template("recording.html.j2")
        .render(
            name=heard.answers[0].recording.name,
            hint=f"{clock(heard.picture.duration_s)} long. {how}",
            picture=data_uri(to_png(heard.picture), "png"),
            downloads=links(downloads, address_of),
            search=search,
            queries=queries,
        )
    )


def links(downloads: Mapping[str, Path], address_of: Callable[[Path], str]) -> dict[str, tuple[str, str]]:
    """Name and address of each file to take home."""
    return {what: (file.name, address_of(file)) for what, file in downloads.items()}


def colour_of(place: int) -> str:
    """The colour of a query by its place."""
    return COLOURS[place % len(COLOURS)]


def heading(title: str, explanation: str) -> str:
    """What stands above a form."""
    return f"<h1>{escape(title)}</h1><p>{escape(explanation)}</p>"


def message(problem: str, fix: str = "") -> str:
    """What went wrong, for people."""
    remedy = f" <span>{escape(fix)}</span>" if fix else ""
    return f'<p class="message" role="alert"><strong>{escape(problem)}</strong>{remedy}</p>'


def invitation(text: str) -> str:
    """What stands where the results will be."""
    return f'<p class="invitation">{escape(text)}</p>'


def colophon(description: str) -> str:
    """Which model answers."""
    return f'<p class="colophon">{escape(description)}</p>'


def _query(answer: Answer, addresses: Sequence[str], colour: str) -> dict[str, Any]:
    """What the template shows of one query."""
    moments = [
        {
            "onset_s": onset_s,
            "offset_s": offset_s,
            "score": score,
            "data": to_play(
                rank,
                address,
                f"{answer.query}, {rank}: {clock(onset_s)} to {clock(offset_s)}",
                starts=onset_s / answer.duration_s,
                second=1 / answer.duration_s,
            ),
        }
        for rank, ((onset_s, offset_s, score), address) in enumerate(
            zip(answer.moments, addresses, strict=True), start=1
        )
    ]
    return {
        "text": answer.query,
        "colour": colour,
        "moments": moments,
        "timeline": _timeline(answer, moments),
    }


def _timeline(answer: Answer, moments: Sequence[Mapping[str, Any]]) -> Markup:
    top = max((moment["score"] for moment in moments), default=0.0) or 1.0
    marks = [
        Mark(
            onset_s=moment["onset_s"],
            offset_s=moment["offset_s"],
            title=(
                f"{rank}: {clock(moment['onset_s'])} to {clock(moment['offset_s'])}, "
                f"score {moment['score']:.3f}"
            ),
            label=str(rank),
            line=rank - 1,
            strength=min(max(moment["score"] / top, 0.0), 1.0),
            data=moment["data"],
        )
        for rank, moment in enumerate(moments, start=1)
    ]
    marks.sort(key=lambda mark: mark.nesting)
    lane = Lane(name="moments", kind="picture", marks=marks)
    return Markup(timeline([lane], answer.duration_s, labelled=False))


def to_play(rank: int, address: str, title: str, *, starts: float, second: float) -> dict[str, str]:
    """What the script needs to play a moment, as attributes.

    Args:
        starts: where in the picture its sound begins, as a share of the picture.
        second: how much of the picture a second is.
    """
    return {
        "rank": str(rank),
        "cut": address,
        "title": title,
        "onset": f"{starts:.6f}",
        "second": f"{second:.8f}",
    }
