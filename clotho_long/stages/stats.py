"""What a corpus is made of: the figures and the picture to look at before trusting it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ConfigError
from clotho_long.core.files import atomic_path
from clotho_long.core.settings import to_plain
from clotho_long.corpus import Corpus
from clotho_long.recipe.lengths import castella_lengths
from clotho_long.recipe.records import ClipRecipe
from clotho_long.recipe.spec import CLOTHO_MOMENT_LONG

# The report on Clotho-Moment-Long, for its training corpus.
REPORTED_CLIPS = 6274
REPORTED_QUERIES = 14714
# Evaluation breaks its figures down by these lengths of a moment, too.
LENGTH_BINS_S = ((0.0, 3.0), (3.0, 10.0), (10.0, 30.0), (30.0, float("inf")))


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
    """Draw the distributions of all splits into a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ConfigError(f"is no picture's name; suffixes are .{', .'.join(sorted(formats))}", path)
    axes = figure.subplots(2, 3)
    panels = (
        ("queries_per_clip", "queries per clip", True),
        ("moments_per_query", "moments per query", True),
        ("moment_s", "length of a moment (s)", False),
        ("gap_s", "gap before a moment (s)", False),
        ("foreground_db", "level of an event (dB)", False),
        ("background_db", "level of the background (dB)", False),
    )
    for axis, (name, label, whole) in zip(axes.flat, panels, strict=True):
        shown = {split: getattr(v, name) for split, v in values_of.items() if getattr(v, name)}
        everything = [value for part in shown.values() for value in part]
        if everything:
            low, high = min(everything), max(everything)
            bins = np.arange(low - 0.5, high + 1.5) if whole else np.linspace(low, high + 1e-9, 31)
            axis.hist(
                list(shown.values()),
                bins=bins,
                density=True,
                histtype="bar" if whole else "step",
                label=[f"{split} (mean {_mean(part):.2f})" for split, part in shown.items()],
            )
            axis.legend(fontsize=8, frameon=False)
        axis.set_xlabel(label)
        axis.set_ylabel("share" if whole else "density")
        axis.spines[["top", "right"]].set_visible(False)
    counts = (
        f"{split} {len(v.queries_per_clip):,} clips, {len(v.moments_per_query):,} queries"
        for split, v in values_of.items()
    )
    figure.suptitle(f"{title}: {', '.join(counts)}")
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120)


def _gaps(recipe: ClipRecipe) -> list[float]:
    occurrences = sorted(
        (start, start + event.duration_s) for event in recipe.events for start in event.starts_s
    )
    ends = [0.0, *(end for _, end in occurrences)]
    return [start - end for (start, _), end in zip(occurrences, ends, strict=False)]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
