"""Answers to export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from amr_model.answer.answers import Answer

LONGEST_S = 100_000.0  # more than a day

# What breaks a format that does not look: separators, quotes, line breaks of every kind, formulas, no UTF-8.
HARD_TEXTS = (
    "a dog barks", "a\tb", "a\nb", "a\r\nb", "a\rb", 'he says "yes"', '"', '""', "a, b; c", "=cmd()", "+1",
    "-1", "@x", "-->", "a --> b", "--->", "00:00:01,000 --> 00:00:02,000", "é 日本語 🎧", "\u2028\u2029\x85",
    "\x00x", "\udcff.wav", "\\", "\\n", "'", "1", "nan", "NULL", "<b>x</b>", "{\\an8}", "# a", "item [1]:",
    " x ",
)  # fmt: skip


def make_answer(
    moments: Sequence[tuple[float, float, float]] = ((61.0, 63.5, 0.75),),
    *,
    recording: str = "walks/street.wav",
    query: str = "a dog barks",
    duration_s: float = 90.0,
    **others: object,
) -> Answer:
    values = {"recording": Path(recording), "query": query, "duration_s": duration_s, "moments": moments}
    return Answer(**{**values, **others})  # type: ignore[arg-type]


def hard_texts() -> st.SearchStrategy[str]:
    """Sentences as a query may be: never blank."""
    pieces = st.lists(st.sampled_from(HARD_TEXTS) | st.text(max_size=5), min_size=1, max_size=3)
    return pieces.map("".join).filter(lambda text: bool(text.strip()))


@st.composite
def answers_for_one_recording(draw: st.DrawFn) -> list[Answer]:
    """Some queries, the moments of each, which may overlap; times in milliseconds."""
    duration_ms = draw(st.integers(1, int(1000 * LONGEST_S)))
    edges = st.tuples(st.integers(0, duration_ms), st.integers(0, duration_ms)).filter(lambda e: e[0] != e[1])
    found = st.tuples(edges, st.floats(0, 1)).map(
        lambda pair: (min(pair[0]) / 1000, max(pair[0]) / 1000, pair[1])
    )
    return [
        make_answer(tuple(moments), query=query, duration_s=duration_ms / 1000)
        for query, moments in draw(
            st.lists(st.tuples(hard_texts(), st.lists(found, max_size=5)), min_size=1, max_size=3)
        )
    ]
