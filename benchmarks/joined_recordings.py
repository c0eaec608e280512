"""Moments in an hour of simulated recordings put end to end: found, ranked, stable, and absent ones refused.

    python -m benchmarks.simulated_castella --labels castella/ --out DIR --reduced --systems S8 --seeds 1
    python -m benchmarks.joined_recordings DIR --run DIR/runs/S8-seed1 --minutes 20 --minutes 60 --minutes 180

The test recordings of DIR are put end to end; each query is asked of the whole, unless its caption also
stands elsewhere in it, and as many captions that stand nowhere in it. Then the start of the whole is cut by
half a stretch, which moves every border between stretches, and the queries are asked again. A stretch is as
long as the longest recording that was trained on. Prints a table for each length.
"""

from __future__ import annotations

import dataclasses
import itertools
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch

from amr_model.data.sets import read_annotations
from amr_model.scoring.metrics import QueryScores, recall_at, score_queries
from amr_model.spans import pairwise_iou
from benchmarks.answerers import ANSWERERS
from clotho_long.core.command_line import SingleCommand, progress
from clotho_long.core.predictions import MAX_RANKED, Prediction
from clotho_long.core.records import Query
from clotho_long.features.files import Features
from clotho_long.features.store import FeatureStore
from pipelines.simulation.joined import (
    Answer,
    Answerer,
    JoinedRecording,
    area_under_roc,
    found_again,
    is_false,
    join_recordings,
)
from pipelines.simulation.labels import LONGEST_S

FOUND_IOU = 0.7
# (low, high] seconds of a moment
LENGTHS = {
    "at most 3 s": (0.0, 3.0),
    "3 to 10 s": (3.0, 10.0),
    "10 to 30 s": (10.0, 30.0),
    "above 30 s": (30.0, 1e9),
}


@dataclasses.dataclass(frozen=True)
class Asked:
    """One query asked of one whole."""

    query: Query  # its qid is unique over all wholes
    answer: Answer
    found_again: (
        bool | None
    )  # the first answer, with the start cut; None for absent captions and in that start
    took_s: float


@click.command(cls=SingleCommand)
@click.argument("corpus", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--run", "runs", multiple=True, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--minutes", multiple=True, type=float, default=(20.0, 60.0, 180.0), show_default=True)
@click.option(
    "--answer", "names", multiple=True, type=click.Choice(sorted(ANSWERERS)), default=sorted(ANSWERERS)
)
@click.option("--queries", type=click.IntRange(min=1), help="At most so many of each whole, and absent ones.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Of the network's settings.")
@click.option("--threads", type=int, default=1, show_default=True)
def main(
    corpus: Path,
    runs: tuple[Path, ...],
    minutes: tuple[float, ...],
    names: tuple[str, ...],
    queries: int | None,
    overrides: tuple[str, ...],
    threads: int,
) -> None:
    """Ask every query of simulated recordings put end to end, and print what was found."""
    torch.set_num_threads(threads)
    asked = read_annotations(corpus / "text" / "test.jsonl")
    stretch = min(
        LONGEST_S, int(max(query.duration_s for query in read_annotations(corpus / "text" / "train.jsonl")))
    )
    audio = FeatureStore.open(corpus / "features", kind="audio", ids={query.recording_id for query in asked})
    text = FeatureStore.open(corpus / "features", kind="text", ids={query.qid for query in asked})
    num_rows = {query.recording_id: len(audio[query.recording_id]) for query in asked}
    for length in minutes:
        wholes = [_limited(whole, queries) for whole in join_recordings(asked, num_rows, 60 * length)]
        click.echo(
            f"\n{length:g} minutes: {len(wholes)} wholes, {sum(len(w.present) for w in wholes)} queries\n"
        )
        columns = {}
        for run, name in itertools.product(runs, names):
            answerer = ANSWERERS[name](run / "checkpoint-best.pt", stretch, overrides)
            answers = ask_all(wholes, answerer, audio, text, stretch // 2)
            if any(one.query.moments for one in answers):
                columns[f"{run.name}, {name}"] = figures_of(answers, answerer.min_score)
        click.echo(table_of(columns))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    click.echo(f"\npeak memory of all of it: {peak:.0f} MB")


def ask_all(
    wholes: Sequence[JoinedRecording], answerer: Answerer, audio: FeatureStore, text: FeatureStore, cut: int
) -> list[Asked]:
    """Every query of every whole, asked of it, and of what is left after the first `cut` rows."""
    asked = []
    for place, whole in enumerate(wholes):
        rows: Features = np.concatenate([audio[part] for part in whole.parts])
        queries = (*whole.present, *whole.absent)
        for query in progress(
            queries, total=len(queries), label=f"whole {place + 1}", unit="query", quiet=False
        ):
            words = text[query.qid]
            started = time.perf_counter()
            answer = answerer(rows, whole.duration_s, words)
            took_s = time.perf_counter() - started
            again = None
            if query.moments:
                shortened = answerer(rows[cut:], whole.duration_s - cut, words)
                again = found_again(answer, shortened, cut)
            unique = dataclasses.replace(query, qid=f"{place}-{query.qid}")
            asked.append(Asked(query=unique, answer=answer, found_again=again, took_s=took_s))
    return asked


def figures_of(asked: Sequence[Asked], min_score: float | None) -> dict[str, str]:
    """What the table says of one answerer and one length."""
    present = [one for one in asked if one.query.moments]
    absent = [one for one in asked if not one.query.moments]
    scores = score_queries(
        [one.query for one in present],
        [
            Prediction(
                qid=one.query.qid,
                query=one.query.query,
                recording_id=one.query.recording_id,
                moments=one.answer.moments[:MAX_RANKED],
            )
            for one in present
        ],
    )
    figures = {
        "R1@0.5 / R1@0.7": _recalls(scores.first_iou),
        "R5@0.5 / R5@0.7": _recalls(scores.best_of_five),
        "mAP": f"{100 * scores.average_precision.mean():.1f} %",
        "moments among the first ten (IoU 0.7)": _among_ten(scores, 0.0, np.inf),
    }
    for name, (low_s, high_s) in LENGTHS.items():
        figures[f"the same, {name}"] = _among_ten(scores, low_s, high_s)
    fates = [one.found_again for one in present if one.found_again is not None]
    figures["first answer again, with the start cut"] = f"{100 * np.mean(fates):.1f} % of {len(fates)}"
    if absent:
        area = area_under_roc(*([one.answer.presence for one in side] for side in (present, absent)))
        figures["present or absent: area under the ROC curve"] = f"{area:.3f}"
    if min_score is not None:
        figures |= _above(min_score, present, absent)
    hours = sum(one.query.duration_s for one in asked) / 3600
    figures["seconds a query and hour"] = f"{sum(one.took_s for one in asked) / hours:.2f}"
    return figures


def _above(min_score: float, present: Sequence[Asked], absent: Sequence[Asked]) -> dict[str, str]:
    """What is answered from the answerer's own least score on."""
    figures: dict[str, str] = {}
    found: list[bool] = []
    for name, side in (("present", present), ("absent", absent)):
        number, hours = 0, sum(one.query.duration_s for one in side) / 3600
        for one in side:
            answers = [moment for moment in one.answer.moments if moment[2] >= min_score]
            number += sum(is_false(moment, one.query.moments) for moment in answers)
            spans = torch.tensor([(true.onset_s, true.offset_s) for true in one.query.moments]).reshape(-1, 2)
            answered = torch.tensor([moment[:2] for moment in answers]).reshape(-1, 2)
            found += (pairwise_iou(spans, answered) >= 0.5).any(dim=1).tolist()
        if side:
            figures[f"false answers a query and hour, {name}"] = f"{number / hours:.2f}"
    return {f"moments found (IoU 0.5, score {min_score:.2f})": f"{100 * np.mean(found):.1f} %", **figures}


def _recalls(ious: npt.NDArray[np.float64]) -> str:
    return " / ".join(f"{recall_at(ious, threshold):.1f}" for threshold in (0.5, 0.7)) + " %"


def _among_ten(scores: QueryScores, low_s: float, high_s: float) -> str:
    """Of the true moments of such lengths, how many one of ten answers meets."""
    inside = (scores.moment_length_s > low_s) & (scores.moment_length_s <= high_s)
    if not inside.any():
        return "none"
    return f"{100 * np.mean(scores.moment_ious[inside] >= FOUND_IOU):.1f} % of {inside.sum()}"


def _limited(whole: JoinedRecording, limit: int | None) -> JoinedRecording:
    return dataclasses.replace(whole, present=whole.present[:limit], absent=whole.absent[:limit])


def table_of(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Facts as rows, answerers as columns."""
    facts = dict.fromkeys(fact for column in columns.values() for fact in column)
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    lines += [
        f"| {fact} | {' | '.join(column.get(fact, '') for column in columns.values())} |" for fact in facts
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
