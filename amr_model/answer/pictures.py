"""Answers drawn for people: the moments of each on the recording's spectrogram."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clotho_long.audio.spectrogram import spectrogram, to_png
from clotho_long.core.figures import families, save_figure, show_times, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from amr_model.answer.answers import Answer

WIDTH_IN = 10.0
MAX_HEIGHT_IN = 60.0  # 7,200 pixels: what lies beyond is left out, and the picture says so
MAX_ROWS = 20  # windows drawn of an answer
TITLE_LETTERS = 120  # of a line above a panel
LINE_IN, ROW_IN, MARGIN_IN = 0.18, 0.25, 1.0
LABEL_SHARE = 0.03  # half of a score's width, as a share of the panel's


def plot_answers(answers: Sequence[Answer], path: Path) -> None:
    """A panel for each answer: its windows on the recording's spectrogram, best on top, with their scores.

    The picture is at most 60 inches high: when there are more answers than that, it ends with a line that
    says how many are not drawn.

    Raises:
        AudioError: a recording cannot be read any more.
    """
    from matplotlib import rc_context

    with rc_context({"font.family": list(families())}):
        save_figure(_drawn(answers), path)


def _drawn(answers: Sequence[Answer]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    drawn = _that_fit(answers)
    heights = [_height(answer) for answer in drawn]
    left_out = len(answers) - len(drawn)
    recordings = dict.fromkeys(answer.recording for answer in drawn)
    pictures = {recording: imread(io.BytesIO(to_png(spectrogram(recording)))) for recording in recordings}
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + LINE_IN * (left_out > 0)), layout="constrained")
    panels = figure.subplots(len(drawn), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, answer in zip(panels, drawn, strict=True):
        _draw(axes, answer, pictures[answer.recording])
    if left_out:
        figure.supxlabel(f"{left_out} more answers are not drawn", fontsize=9)
    return figure


def _that_fit(answers: Sequence[Answer]) -> Sequence[Answer]:
    """The first answers, one at least, as many as the picture has room for."""
    used, number = 0.0, 0
    for answer in answers:
        used += _height(answer)
        if used > MAX_HEIGHT_IN and number > 0:
            break
        number += 1
    return answers[:number]


def _height(answer: Answer) -> float:
    """Of a panel, in inches."""
    rows = max(1, min(len(answer.moments), MAX_ROWS))
    return MARGIN_IN + ROW_IN * rows + LINE_IN * len(_title(answer).splitlines())


def _title(answer: Answer) -> str:
    """What was asked, of which recording, and how much of the answer is not shown."""
    hidden = len(answer.moments) - MAX_ROWS
    name = wrapped(answer.recording.name, TITLE_LETTERS - 30, max_lines=1)
    note = f"  ({name}; {hidden} more moments are not drawn)" if hidden > 0 else f"  ({name})"
    return wrapped(answer.query, TITLE_LETTERS) + "\n" + note.strip()


def _draw(axes: Axes, answer: Answer, picture: object) -> None:
    from matplotlib.patheffects import withStroke

    windows = answer.moments[:MAX_ROWS]
    whole = (0.0, answer.duration_s, max(1, len(windows)) + 0.5, 0.5)
    axes.imshow(picture, extent=whole, aspect="auto", cmap="gray")  # type: ignore[arg-type]
    margin_s = LABEL_SHARE * answer.duration_s
    for rank, (onset_s, offset_s, score) in enumerate(windows, start=1):
        axes.barh(rank, offset_s - onset_s, left=onset_s, height=0.6, alpha=0.75)
        # in the middle of the bar, but never over the edge of the panel
        middle_s = min(max((onset_s + offset_s) / 2, margin_s), answer.duration_s - margin_s)
        label = axes.text(middle_s, rank, f"{score:.3f}", ha="center", va="center", fontsize=8)
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    if not windows:
        axes.text(answer.duration_s / 2, 1, "no moment found", ha="center", va="center", fontsize=9)
    axes.set_yticks(range(1, len(windows) + 1))
    axes.tick_params(labelsize=8)
    show_times(axes, answer.duration_s)
    axes.set_title(_title(answer), loc="left", fontsize=9, parse_math=False)
