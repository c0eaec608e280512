"""`--csv`: a row for each moment, for pandas, R and spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clotho_long.core.texts import cell
from clotho_long.core.wall_clock import clock_time

if TYPE_CHECKING:
    import pandas as pd

    from amr_model.answer.answers import Answer

COLUMNS = ("recording", "query", "rank", "start", "end", "score", "presence")
CLOCK_COLUMNS = ("clock_start", "clock_end")


def moments_table(
    answers: Sequence[Answer], *, with_clock: bool = False, one_ranking: bool = False
) -> pd.DataFrame:
    """A row for each moment: COLUMNS, in seconds from the recording's start, as the answers hold them.

    Args:
        with_clock: CLOCK_COLUMNS too, empty where it is not known when a recording began.
        one_ranking: ranks count over all recordings of a query and order its rows; else within an answer.
    """
    import pandas as pd

    rows = [
        (
            *(str(answer.recording), answer.query),
            *(rank, moment.onset_s, moment.offset_s, moment.score, answer.presence),
            *((None, None) if answer.began is None else (clock_time(answer.began, at) for at in moment[:2])),
        )
        for answer in answers
        for rank, moment in enumerate(answer.moments, start=1)
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *CLOCK_COLUMNS]).astype({"presence": "float64"})
    if one_ranking:
        by_query = table.groupby("query", sort=False)
        table["rank"] = by_query["score"].rank(method="first", ascending=False).astype("int64")
        order = by_query.ngroup().to_frame("query").assign(rank=table["rank"]).sort_values(["query", "rank"])
        table = table.loc[order.index]
    return table if with_clock else table.drop(columns=list(CLOCK_COLUMNS))


def as_csv(table: pd.DataFrame) -> str:
    """The table with its header, even without rows: a line for each, texts quoted and safe (`cell`)."""
    safe = table.map(lambda value: cell(value) if isinstance(value, str) else value)
    text: str = safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text
