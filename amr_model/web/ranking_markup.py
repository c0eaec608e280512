"""The results of a collection as HTML: moments of all recordings by rank, each on a spectrogram of its own.

Pure functions from values to text, as `markup`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from amr_model.index.search import Ranking
from amr_model.web.excerpts import Excerpt, Shown
from amr_model.web.markup import colour_of, links, to_play
from amr_model.web.searcher import Question, Results
from amr_model.web.timeline import Lane, Mark, environment, outline, timeline
from clotho_long.core.clock import clock
from clotho_long.core.units import Seconds


def results(
    found: Results,
    question: Question,
    address_of: Callable[[Path], str],
    downloads: Mapping[str, Path],
    *,
    search: str = "",
) -> str:
    """Everything below the form; arguments as `markup.results`."""
    queries = [
        {"text": ranking.query, "colour": colour_of(place), "hits": _hits(ranking, shown, address_of)}
        for place, (ranking, shown) in enumerate(zip(found.rankings, found.shown, strict=True))
    ]
    recordings = {hit.recording for ranking in found.rankings for hit in ranking.hits}
    moments = sum(len(ranking.hits) for ranking in found.rankings)
    return (
        environment()
        .get_template("ranking.html.j2")
        .render(
            name=f"{_count(moments, 'moment')} in {_count(len(recordings), 'recording')}",
            hint=f"Searched: {in_words(*found.searched)}."
            + (f" A moment plays with {question.pad_s:g} s around it." if recordings else ""),
            downloads=links(downloads, address_of),
            search=search,
            queries=queries,
            nothing=f"No moment in {_count(found.searched[0], 'recording')} reaches a score of "
            f"{question.min_score:g}. A lower one, or another sentence, may find something.",
        )
    )


def in_words(recordings: int, duration_s: Seconds) -> str:
    """How large a collection is: `20 recordings, 13:20 of sound`."""
    return f"{_count(recordings, 'recording')}, {clock(round(duration_s))} of sound"


def _hits(
    ranking: Ranking, shown: Sequence[Shown], address_of: Callable[[Path], str]
) -> list[dict[str, Any]]:
    hits = []
    for rank, one in enumerate(shown, start=1):
        onset_s, offset_s, score = one.hit.moment
        title = f"{one.name}, {rank}: {clock(onset_s)} to {clock(offset_s)}"
        data, drawn = {}, ""
        if one.excerpt is not None:
            second = 1 / (one.excerpt.end_s - one.excerpt.start_s)
            data = to_play(rank, address_of(one.excerpt.sound), title, starts=0.0, second=second)
            drawn = _timeline(one, one.excerpt, address_of(one.excerpt.picture), title, data)
        hits.append(
            {
                "name": one.name,
                "onset_s": onset_s,
                "offset_s": offset_s,
                "duration_s": one.hit.duration_s,
                "score": score,
                "data": data,
                "timeline": drawn,
                "remark": one.remark,
            }
        )
    return hits


def _timeline(shown: Shown, excerpt: Excerpt, picture: str, title: str, data: Mapping[str, str]) -> str:
    """The excerpt's spectrogram with the moment on it, and the curve that it was read off."""
    onset_s, offset_s, score = shown.hit.moment
    mark = Mark(
        onset_s=onset_s, offset_s=offset_s, title=f"{title}, score {score:.3f}", strength=1.0, data=data
    )
    lanes = [Lane(name="moment", kind="picture", marks=[mark], picture=picture)]
    if excerpt.curve:
        lanes.append(Lane(name="curve", kind="curve", outline=outline(excerpt.curve, excerpt.edges)))
    length_s = excerpt.end_s - excerpt.start_s
    return Markup(timeline(lanes, length_s, labelled=False, start_s=excerpt.start_s))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
