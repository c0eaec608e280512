"""What a corpus is made of: the figures and the picture to look at before trusting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.core.figures import families, save_figure, wrapped
from clotho_long.core.settings import to_plain
from clotho_long.corpus import Corpus
from clotho_long.recipe.lengths import castella_lengths
from clotho_long.recipe.records import ClipRecipe
from clotho_long.recipe.spec import CLOTHO_MOMENT_LONG

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The report on Clotho-Moment-Long, for its training corpus.
REPORTED_CLIPS = 6274
REPORTED_QUERIES = 14714
# Evaluation breaks its figures down by these lengths of a moment, too.
LENGTH_BINS_S = ((0.0, 3.0), (3.0, 10.0), (10.0, 30.0), (30.0, float("inf")))


# field of Distributions, what the axis says, whether the values are whole numbers
PANELS = (
    ("queries_per_clip", "queries per clip", True),
    ("moments_per_query", "moments per query", True),
    ("moment_s", "length of a moment (s)", False),
    ("gap_s", "gap before a moment (s)", False),
    ("foreground_db", "level of an event (dB)", False),
    ("background_db", "level of the background (dB)", False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """Values over all clips, queries or moments of some splits."""

    queries_per_clip: tuple[int, ...]
    moments_per_query: tuple[int, ...]
    moment_s: tuple[float, ...]
    gap_s: tuple[float, ...]  # from the end of one occurrence (or the start) to the next
    foreground_db: tuple[float, ...]
    background_db: tuple[float, ...]
    hours: float


def distributions(recipes: Sequence[ClipRecipe]) -> Distributions:
    """The values behind the figures, from recipes."""
    events = [event for recipe in recipes for event in recipe.events]
    return Distributions(
        queries_per_clip=tuple(len(recipe.events) for recipe in recipes),
        moments_per_query=tuple(len(event.starts_s) for event in events),
        moment_s=tuple(event.duration_s for event in events for _ in event.starts_s),
        gap_s=tuple(gap for recipe in recipes for gap in _gaps(recipe)),
        foreground_db=tuple(event.foreground_db for event in events),
        background_db=tuple(recipe.background_db for recipe in recipes),
        hours=sum(recipe.duration_s for recipe in recipes) / 3600,
    )


def of_corpus(corpus: Corpus) -> dict[str, Distributions]:
    """The values of every planned split."""
    return {split: distributions(list(corpus.recipes(split))) for split in corpus.planned_splits}


def table_of(values_of: dict[str, Distributions]) -> str:
    """Counts and means for each split, as text."""
    header = (
        "split",
        "clips",
        "queries",
        "queries/clip",
        "moments/query",
        "recurring",
        "moment s",
        "gap s",
        "hours",
    )
    rows = [header]
    for split, values in values_of.items():
        clips, queries = len(values.queries_per_clip), len(values.moments_per_query)
        rows.append(
            (
                split,
                f"{clips:,}",
                f"{queries:,}",
                f"{_mean(values.queries_per_clip):.2f}",
                f"{_mean(values.moments_per_query):.2f}",
                f"{_mean([count > 1 for count in values.moments_per_query]):.1%}",
                f"{_mean(values.moment_s):.1f}",
                f"{_mean(values.gap_s):.1f}",
                f"{values.hours:,.1f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )


def report_comparison(corpus: Corpus) -> list[str]:
    """How a planned Clotho-Moment-Long compares with the report, which counts its training corpus."""
    page = corpus.section("plan")
    if page.get("settings") != to_plain(CLOTHO_MOMENT_LONG) or page.get("max_clips") is not None:
        return []
    clips, queries = page["clips"].get("train", 0), page["queries"].get("train", 0)
    return [
        f"report, train: {REPORTED_CLIPS:,} clips and {REPORTED_QUERIES:,} queries; "
        f"here {clips / REPORTED_CLIPS:.1%} and {queries / REPORTED_QUERIES:.1%} of them"
    ]


def lengths_comparison(values_of: dict[str, Distributions]) -> list[str]:
    """How many moments are how long, beside real ones: CASTELLA's training split."""
    shares = {
        split: [_mean([low < length <= high for length in values.moment_s]) for low, high in LENGTH_BINS_S]
        for split, values in values_of.items()
    }
    shares["CASTELLA, train"] = [castella_lengths().share_between(low, high) for low, high in LENGTH_BINS_S]
    return ["moments of at most 3 s / of 3 to 10 / of 10 to 30 / longer:"] + [
        f"  {name}: {' / '.join(f'{share:.1%}' for share in of_name)}" for name, of_name in shares.items()
    ]


def plot_distributions(values_of: dict[str, Distributions], path: Path, *, title: str) -> None:
    """Draw the distributions of all splits into a picture; one legend below says which split is which."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    with rc_context({"font.family": list(families())}):
        figure = Figure(figsize=(13, 7.4), layout="constrained")
        axes = figure.subplots(2, 3)
        for axis, (name, label, whole) in zip(axes.flat, PANELS, strict=True):
            shown = {split: getattr(values, name) for split, values in values_of.items()}
            _histogram(axis, shown, whole=whole)
            axis.set(xlabel=label, ylabel="share" if whole else "density")
            means = ", ".join(f"{split} {_mean(part):.2f}" for split, part in shown.items() if part)
            axis.set_title(f"mean: {means or 'no values'}", fontsize=9, loc="left", parse_math=False)
            axis.spines[["top", "right"]].set_visible(False)
            if whole:
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        patches = [Patch(color=f"C{place}", label=split) for place, split in enumerate(values_of)]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches) or 1, frameon=False)
        counts = (
            f"{split} {len(v.queries_per_clip):,} clips, {len(v.moments_per_query):,} queries"
            for split, v in values_of.items()
        )
        figure.suptitle(wrapped(f"{title}: {', '.join(counts)}", 130), parse_math=False)
        save_figure(figure, path)


def _histogram(axis: Axes, values_of: Mapping[str, Sequence[float]], *, whole: bool) -> None:
    """Splits side by side: bars of whole numbers, or outlines; a split without values keeps its colour."""
    shown = {f"C{place}": part for place, part in enumerate(values_of.values()) if len(part)}
    if not shown:
        return
    low, high = (pick([pick(part) for part in shown.values()]) for pick in (min, max))
    if whole:  # two places at least, so that the axis shows whole numbers
        low, high = low - (low == high and low > 0), high + (low == high)
    bins = (np.arange(low - 0.5, high + 1) if whole else np.linspace(low, high + 1e-9, 31)).tolist()
    kind: Literal["bar", "step"] = "bar" if whole else "step"
    axis.hist(list(shown.values()), bins=bins, density=True, histtype=kind, color=list(shown))


def _gaps(recipe: ClipRecipe) -> list[float]:
    occurrences = sorted(
        (start, start + event.duration_s) for event in recipe.events for start in event.starts_s
    )
    ends = [0.0, *(end for _, end in occurrences)]
    return [start - end for (start, _), end in zip(occurrences, ends, strict=False)]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
