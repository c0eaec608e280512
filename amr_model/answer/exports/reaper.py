"""`--reaper`: regions for Reaper's Region/Marker Manager, which imports and exports such a csv.

All recordings are on one time axis, each from where the one before ends: as Reaper lays them out when they
are inserted on one track, in the order in which they were answered. Times have colons, because a bare number
may be read in the unit of the project's ruler, which may be bars.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from amr_model.answer.exports.labels import by_recording, end_to_end, heard_in_order, label
from clotho_long.core.clock import clock_fields
from clotho_long.core.texts import cell

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer

COLUMNS = ("#", "Name", "Start", "End", "Length")


def region_table(answers: Sequence[Answer]) -> str:
    """A region for each moment; with several recordings its name ends in the file's."""
    several = len(by_recording(answers)) > 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    number = 0
    for start_s, recording, own in end_to_end(answers):
        for query, moment in heard_in_order(own):
            number += 1
            name = label(query, moment.score) + (f" {recording.name}" if several else "")
            # of the rounded edges, so that the three agree
            onset_ms, offset_ms = (round(1000 * (start_s + edge)) for edge in moment[:2])
            times = (_time(at) for at in (onset_ms, offset_ms, offset_ms - onset_ms))
            writer.writerow([f"R{number}", cell(name), *times])
    return text.getvalue()


def _time(time_ms: int) -> str:
    hours, minutes, seconds, milliseconds = clock_fields(time_ms)
    return f"{hours}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
