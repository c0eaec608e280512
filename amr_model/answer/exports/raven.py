"""`--raven`: one selection table for all recordings, for Raven Pro and Raven Lite of the Cornell Lab.

Raven opens several files as a sequence, on one time axis. `Begin Time (s)` and `End Time (s)` are places on
that axis: each recording begins where the one before ends, in the order in which they were answered. `Begin
Path`, `Begin File` and `File Offset (s)` say the same place within its file, which is what File > Open Sound
Selection Table and most scripts go by. With one recording the two agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from amr_model.answer.exports.labels import end_to_end, heard_in_order
from clotho_long.audio.io import probe
from clotho_long.core.errors import AudioError
from clotho_long.core.texts import one_line

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer

COLUMNS = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin Path", "Begin File", "File Offset (s)", "Query", "Score"),
)
VIEW, CHANNEL = "Spectrogram 1", "1"
UNKNOWN_TOP_HZ = 22_050.0


def top_of(recording: Path) -> float:
    """Half of a recording's rate, in hertz; that of CD sound if the file cannot be read any more."""
    try:
        return probe(recording).sample_rate_hz / 2
    except AudioError:
        return UNKNOWN_TOP_HZ


def selection_table(
    answers: Sequence[Answer],
    *,
    top_of: Callable[[Path], float] = top_of,
    path_of: Callable[[Path], Path] = Path.absolute,
) -> str:
    """A row for each moment, over the whole band, since a moment says nothing of frequencies.

    Args:
        top_of: the highest frequency of a recording, in hertz.
        path_of: where Raven is to look for a recording.
    """
    rows = [COLUMNS]
    for start_s, recording, own in end_to_end(answers):
        moments = heard_in_order(own)
        top_hz = top_of(recording) if moments else 0.0
        for query, moment in moments:
            rows.append(
                (
                    *(str(len(rows)), VIEW, CHANNEL),
                    *(f"{start_s + moment.onset_s:.6f}", f"{start_s + moment.offset_s:.6f}"),
                    *("0.0", f"{top_hz:.1f}"),
                    *(one_line(str(path_of(recording))), _field(recording.name)),
                    *(f"{moment.onset_s:.6f}", _field(query), f"{moment.score:.4f}"),
                )
            )
    return "".join("\t".join(row) + "\n" for row in rows)


def _field(text: str) -> str:
    """Without double quotes, which Raven takes as they are, and R and pandas for the start of a text."""
    return one_line(text).replace('"', "'")
