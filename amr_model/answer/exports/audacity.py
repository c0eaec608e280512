"""`--audacity`: a label track for each recording, as Audacity's File > Import > Labels reads it.

A line is `START<tab>END<tab>LABEL` in seconds. (A line that begins with a backslash would add frequencies to
the label before; none of ours does.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from amr_model.answer.exports.labels import heard_in_order, label

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer

SUFFIX = ".txt"


def label_track(answers: Sequence[Answer]) -> str:
    """The moments of one recording's answers, in the order in which they are heard."""
    return "".join(
        f"{moment.onset_s:.6f}\t{moment.offset_s:.6f}\t{label(query, moment.score)}\n"
        for query, moment in heard_in_order(answers)
    )
