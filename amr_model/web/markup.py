"""The page's results as HTML: a spectrogram with its moments for each query, and a player.

Pure functions from values to text. What people typed and how their files are called is escaped here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from amr_model.answer.retriever import Answer
from amr_model.web.listener import Heard
from clotho_long.audio.spectrogram import to_png
from clotho_long.core.predictions import RankedWindow
from clotho_long.core.units import Seconds

# Okabe and Ito's colours, told apart with any kind of colour vision; one for each query, then again
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MAX_TICKS = 12
NARROWEST = 0.35  # per cent of the timeline that a moment is drawn with at least, to be hit by a pointer


def results(heard: Heard, address_of: Callable[[Path], str]) -> str:
    """Everything below the form; `address_of` turns the file of a cut into where the page can get it."""
    picture = base64.b64encode(to_png(heard.picture)).decode()
    blocks = [
        _block(answer, [address_of(cut) for cut in cuts], COLOURS[place % len(COLOURS)])
        for place, (answer, cuts) in enumerate(zip(heard.answers, heard.cuts, strict=True))
    ]
    name = escape(heard.answers[0].recording.name)
    return (
        f'<section class="moments" style="--picture: url(data:image/png;base64,{picture})">'
        f'<header class="player"><div><strong class="playing">{name}</strong>'
        f'<span class="hint">{clock(heard.picture.duration_s)} long. Click a moment to hear it.</span></div>'
        f'<audio controls preload="none" aria-label="the moment that was clicked"></audio></header>'
        f"{''.join(blocks)}</section>"
    )


def message(problem: str, fix: str = "") -> str:
    """What went wrong, for people."""
    remedy = f" <span>{escape(fix)}</span>" if fix else ""
    return f'<p class="message" role="alert"><strong>{escape(problem)}</strong>{remedy}</p>'


def invitation() -> str:
    """What stands where the results will be."""
    return '<p class="invitation">The moments will be shown here, on the recording’s spectrogram.</p>'


def colophon(description: str) -> str:
    """Which model answers."""
    return f'<p class="colophon">{escape(description)}</p>'


def clock(time_s: Seconds) -> str:
    """Minutes and seconds, with hours where there are any: 4:05, 1:02:03; a tenth only if there is one."""
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{hours}:{minutes:02d}:{seconds}" if hours else f"{minutes}:{seconds}"


def ticks(duration_s: Seconds) -> list[Seconds]:
    """Round times for the axis of a recording, at most a dozen."""
    step_s = next((step for step in TICK_STEPS_S if duration_s / step <= MAX_TICKS), None)
    if step_s is None:
        step_s = 3600 * -(-int(duration_s) // (3600 * MAX_TICKS))
    return [float(at) for at in range(0, int(duration_s) + 1, step_s)]


def _block(answer: Answer, addresses: Sequence[str], colour: str) -> str:
    opening = f'<article style="--colour: {colour}"><h3>{escape(answer.query)}</h3>'
    if not answer.windows:
        return f'{opening}<p class="hint">No moment found.</p></article>'
    moments = list(zip(answer.windows, addresses, strict=True))
    top = max(score for *_, score in answer.windows) or 1.0
    ranked = list(enumerate(moments, start=1))
    # later ones lie on top: a moment inside a longer one, and of two equal ones the better
    on_top = sorted(ranked, key=lambda item: (item[1][0][0] - item[1][0][1], -item[0]))
    marks = "".join(_mark(rank, window, address, answer, top) for rank, (window, address) in on_top)
    rows = "".join(_row(rank, window, address, answer) for rank, (window, address) in ranked)
    return (
        f'{opening}<div class="timeline"><div class="picture" role="group" aria-label="moments">'
        f'{marks}<div class="playhead" hidden></div></div>{_axis(answer.duration_s)}</div>'
        f"<table><thead><tr><th>Rank</th><th>From</th><th>To</th><th>Length</th>"
        f'<th class="score">Score</th><th></th></tr></thead><tbody>{rows}</tbody></table></article>'
    )


def _mark(rank: int, window: RankedWindow, address: str, answer: Answer, top: float) -> str:
    onset_s, offset_s, score = window
    left = 100 * onset_s / answer.duration_s
    width = max(100 * (offset_s - onset_s) / answer.duration_s, NARROWEST)
    return (
        f'<button type="button" class="mark" {_sound(rank, window, address, answer)} '
        f'style="left: {left:.3f}%; width: {width:.3f}%; --strength: {score / top:.3f}; '
        f'--line: {rank - 1}" '
        f'title="{rank}: {clock(onset_s)} to {clock(offset_s)}, score {score:.3f}">'
        f"<span>{rank}</span></button>"
    )


def _row(rank: int, window: RankedWindow, address: str, answer: Answer) -> str:
    onset_s, offset_s, score = window
    return (
        f"<tr {_sound(rank, window, address, answer)}><td>{rank}</td>"
        f"<td>{clock(onset_s)}</td><td>{clock(offset_s)}</td><td>{offset_s - onset_s:g} s</td>"
        f'<td class="score"><span style="--share: {100 * score:.1f}%"></span>{score:.3f}</td>'
        f'<td><button type="button" aria-label="play moment {rank}">Play</button></td></tr>'
    )


def _sound(rank: int, window: RankedWindow, address: str, answer: Answer) -> str:
    """What the script needs to play a moment."""
    onset_s, offset_s, _ = window
    title = escape(f"{answer.query}, {rank}: {clock(onset_s)} to {clock(offset_s)}")
    place = f'data-onset="{onset_s / answer.duration_s:.6f}" data-second="{1 / answer.duration_s:.8f}"'
    return f'data-rank="{rank}" data-cut="{escape(address)}" data-title="{title}" {place}'


def _axis(duration_s: Seconds) -> str:
    labels = "".join(
        f'<span style="left: {100 * at / duration_s:.3f}%; --lean: {at / duration_s:.3f}">{clock(at)}</span>'
        for at in ticks(duration_s)
    )
    return f'<div class="axis" aria-hidden="true">{labels}</div>'
