"""Looks for everything that is wrong with a corpus, and goes on after each finding."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clotho_long.core.annotations import query_from_json
from clotho_long.core.errors import ManifestError
from clotho_long.core.jsonl import at_line, scan_lines, scan_records
from clotho_long.core.records import SPLITS, Query
from clotho_long.core.work import Workers
from clotho_long.corpus import PLAN_AGAIN, Corpus
from clotho_long.recipe.records import ClipRecipe
from clotho_long.stages.check_files import check_files
from clotho_long.stages.mixtures import MixtureSources, MixtureTask
from clotho_long.stages.plan import plan_fingerprint

# Annotations carry one decimal, so a moment may pass its recording by half of the last one.
ROUNDING_S = 0.05 + 1e-9
# Raised when more is checked than before: pipelines then check anew.
CHECK_VERSION = 1


def check(corpus: Corpus, *, workers: Workers | None = None) -> Iterator[str]:
    """Yield every problem as `FILE[:LINE]: what is wrong; what to do`; nothing means a whole corpus.

    Looks at the annotations (schema, unique qids, windows in order and inside), the recipes (that annotations
    say what they say, that they are what was planned for these sources), rendered audio (rate, length) and
    features (present, shape, finite, one encoder). Audio and features say what they were made of: what was
    made of another plan, other sources or another query is a problem. Each file is read once.
    """
    seen: dict[str, str] = {}
    plans: list[_Plan] = []
    for split in SPLITS:
        if corpus.annotations_file(split).is_file() or corpus.recipes_file(split).is_file():
            plans.append(_Plan(split=split))
            yield from _annotations(corpus.annotations_file(split), seen, plans[-1].queries)
            yield from _recipes(corpus, plans[-1])
    if not plans:
        yield f"{corpus.root / 'text'}: holds no annotations; run `clotho-long plan`"
    of_page = list(_page(corpus, plans))
    yield from of_page
    tasks: dict[str, MixtureTask] = {}
    yield from (problem for problem in _sources(corpus, plans, tasks) if problem not in of_page)
    yield from check_files(
        corpus,
        {plan.split: plan.recipes for plan in plans},
        [query for plan in plans for _, query in plan.queries],
        tasks,
        workers=workers or Workers(),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What could be read of one split."""

    split: str
    queries: list[tuple[str, Query]] = dataclasses.field(default_factory=list)  # with `FILE:LINE`
    recipes: list[ClipRecipe] = dataclasses.field(default_factory=list)


def _page(corpus: Corpus, plans: list[_Plan]) -> Iterator[str]:
    """Whether `corpus.json` tells of this plan and these sources."""
    try:
        planned, stale = corpus.section("plan"), corpus.stale_plan()
    except ManifestError as error:
        yield str(error)
        return
    if stale is not None:
        yield f"{corpus.page_file}: {stale}; {PLAN_AGAIN}"
    if not plans:
        return
    if not planned:
        yield f"{corpus.page_file}: does not tell of the plan that is there; {PLAN_AGAIN}"
    elif "fingerprint" in planned and planned["fingerprint"] != plan_fingerprint(
        recipe for plan in plans for recipe in plan.recipes
    ):
        yield f"{corpus.root / 'recipes'}: are not the recipes that were planned; {PLAN_AGAIN}"


def _sources(corpus: Corpus, plans: list[_Plan], tasks: dict[str, MixtureTask]) -> Iterator[str]:
    """Problems of the recipes with the sources; the tasks of those that have none are added to `tasks`.

    Recipes that were imported without audio have no sources, and no problem with them.
    """
    if not corpus.foregrounds_file.is_file() and not corpus.backgrounds_file.is_file():
        return
    try:
        sources = MixtureSources(corpus)
    except ManifestError as error:
        yield str(error)
        return
    said: set[str] = set()
    for recipe in (recipe for plan in plans for recipe in plan.recipes):
        try:
            tasks[recipe.recording_id] = sources.task(recipe)
        except ManifestError as error:
            if str(error) not in said:
                yield str(error)
            said.add(str(error))


def _annotations(path: Path, seen: dict[str, str], queries: list[tuple[str, Query]]) -> Iterator[str]:
    """Problems of one annotation file; what can be read is appended to `queries` with its place."""
    try:
        for where, value in scan_lines(path):
            try:
                query: Query = at_line(where, lambda value=value: query_from_json(_read(value)))
            except ManifestError as error:
                yield str(error)
                continue
            if query.qid in seen:
                yield f"{where}: qid {query.qid} is used before, at {seen[query.qid]}; {PLAN_AGAIN}"
            seen.setdefault(query.qid, where)
            queries.append((where, query))
            yield from (f"{where}: {problem}; {PLAN_AGAIN}" for problem in _moments(query))
    except ManifestError as error:
        yield str(error)


def _read(value: object) -> object:
    if isinstance(value, ManifestError):
        raise value
    return value


def _moments(query: Query) -> Iterator[str]:
    if not query.query.strip():
        yield "the query is empty"
    if not query.moments:
        yield "no window answers the query"
    previous_s = 0.0
    for moment in query.moments:
        window = f"window [{moment.onset_s:g}, {moment.offset_s:g}]"
        if moment.duration_s == 0:
            yield f"{window} is empty"
        if moment.offset_s > query.duration_s + ROUNDING_S:
            yield f"{window} is past duration {query.duration_s:g}"
        if moment.onset_s < previous_s - 2 * ROUNDING_S:
            yield f"{window} starts before the one before it ends"
        previous_s = moment.offset_s


def _recipes(corpus: Corpus, plan: _Plan) -> Iterator[str]:
    """Problems of one recipe file, also against its annotations; what can be read is added to the plan."""
    path = corpus.recipes_file(plan.split)
    where = corpus.annotations_file(plan.split)
    if not path.is_file():
        yield f"{path}: no such file, but there are annotations; {PLAN_AGAIN}"
        return
    try:
        for found in scan_records(path, ClipRecipe):
            if isinstance(found, ManifestError):
                yield str(found)
            elif found.split != plan.split:
                yield f"{path}: recording {found.recording_id} is of split {found.split}; {PLAN_AGAIN}"
            else:
                plan.recipes.append(found)
    except ManifestError as error:
        yield str(error)
    by_qid = {query.qid: query for _, query in plan.queries}
    ids: set[str] = set()
    for recipe in plan.recipes:
        if recipe.recording_id in ids:
            yield f"{path}: recording {recipe.recording_id} has two recipes; {PLAN_AGAIN}"
        ids.add(recipe.recording_id)
        for event in recipe.events:
            query = by_qid.pop(event.qid, None)
            if query is None:
                yield f"{path}: qid {event.qid} of {recipe.recording_id} has no annotation; {PLAN_AGAIN}"
            elif (problem := _disagreement(query, recipe, event.starts_s)) is not None:
                yield f"{where}: qid {event.qid} {problem}; {PLAN_AGAIN}"
    for qid in by_qid:
        yield f"{where}: qid {qid} is in no recipe; {PLAN_AGAIN}"


def _disagreement(query: Query, recipe: ClipRecipe, starts_s: tuple[float, ...]) -> str | None:
    if query.recording_id != recipe.recording_id:
        return f"is asked of {query.recording_id}, its recipe is {recipe.recording_id}"
    onsets_s = [moment.onset_s for moment in query.moments]
    if len(onsets_s) != len(starts_s) or not np.allclose(onsets_s, starts_s, rtol=0, atol=ROUNDING_S):
        return "has windows that are not where its recipe puts the event"
    return None
