"""How much of an answer on a long recording hangs on where the borders of its chunks fall.

    python -m pipelines.demo --out demo
    python -m benchmarks.chunk_borders demo/S8-finetune/checkpoint-best.pt --out borders

Synthesises recordings of 20 minutes with the events of the demonstration's test split and asks for each of
them, as `amr predict` does. Then it leaves out the first seconds of the recording, which moves every border,
and asks again: away from both ends, the answer should be the same. The demonstration's networks learnt on
recordings of 60 s, so that is the length of a chunk here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, permutations
from pathlib import Path

import click
import numpy as np
import torch

import pipelines.demo
from amr_model.answer.retriever import answer_rows
from amr_model.answer.stretches import iou, stretch_starts
from amr_model.checkpoint import load_model
from amr_model.data.sets import read_annotations
from clotho_long.core.command_line import progress
from clotho_long.core.records import ScoredMoment
from clotho_long.core.settings import override
from clotho_long.core.units import Seconds
from clotho_long.core.work import Workers
from clotho_long.corpus import Corpus
from clotho_long.features.store import FeatureStore
from pipelines.command import settings_from
from pipelines.corpora import CorpusSettings, corpus_steps
from pipelines.steps import run_steps
from pipelines.synthetic import SyntheticSize, synthesise_sources

SAME_EDGES_S = 1.0  # both edges at most so far apart: found again
FOUND_IOU = 0.7  # the same, and a true moment found
PHASES = 4
RANKS = (1, 5, 10)
EVERYTHING = 10**6

Windows = tuple[ScoredMoment, ...]


@dataclass(frozen=True)
class Asked:
    """One query with the borders in one place."""

    windows: Windows  # inside the region, best first
    moments: tuple[ScoredMoment, ...]  # true ones inside the region
    phases: tuple[float, ...]  # of the moments: where their middle lies between the starts of two chunks


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--minutes", type=float, default=20.0, show_default=True, help="Length of a recording.")
@click.option("--chunk", type=int, default=60, show_default=True, help="Rows of a chunk.")
@click.option("--places", type=int, default=4, show_default=True, help="Of the borders.")
@click.option("--jobs", type=int, default=1, show_default=True)
def main(checkpoint: Path, out: Path, minutes: float, chunk: int, places: int, jobs: int) -> None:
    torch.set_num_threads(jobs)
    corpus = long_recordings(out, minutes * 60, jobs)
    network, config = load_model(checkpoint, torch.device("cpu"))
    config = override(config, [f"features.stretch_rows={chunk}"])
    queries = read_annotations(corpus.annotations_file("test"))
    audio = FeatureStore.open(corpus.features_dir, kind="audio")
    text = FeatureStore.open(corpus.features_dir, kind="text")
    asked: list[list[Asked]] = []
    for query in progress(queries, total=len(queries), label="asking", unit="query", quiet=False):
        rows = audio[query.recording_id]
        starts = stretch_starts(len(rows), chunk)
        # away from both ends: chunks begin where the recording does, and the last ends with it
        region = (3 * chunk, len(rows) - 3 * chunk)
        moments = tuple(
            ScoredMoment(moment.onset_s, moment.offset_s, 1.0)
            for moment in query.moments
            if region[0] <= (moment.onset_s + moment.offset_s) / 2 < region[1]
        )
        of_query = []
        # the last place is the first one again, with other chunks at the ends: nothing may change
        for shift in [round(starts[1] * place / places) for place in range(places + 1)]:
            windows = answer_rows(
                rows[shift:],
                query.duration_s - shift,
                text[query.qid],
                network,
                config,
                num_moments=EVERYTHING,
            )
            moved = (ScoredMoment(a + shift, b + shift, score) for a, b, score in windows)
            middles_s = [(onset_s + offset_s) / 2 - shift for onset_s, offset_s, _ in moments]
            of_query.append(
                Asked(
                    windows=tuple(w for w in moved if region[0] <= (w[0] + w[1]) / 2 < region[1]),
                    moments=moments,
                    phases=tuple(middle_s / starts[1] % 1 for middle_s in middles_s),
                )
            )
        asked.append(of_query)
    same = sum(of_query[0].windows == of_query[-1].windows for of_query in asked)
    click.echo(f"{len(asked)} queries, {places} places of the borders")
    click.echo(f"moved by a whole step, the same answer: {100 * same / len(asked):.1f} %")
    for line in [*agreement([q[:-1] for q in asked]), *recall([q[:-1] for q in asked])]:
        click.echo(line)


def long_recordings(out: Path, length_s: Seconds, jobs: int) -> Corpus:
    """Three recordings with the demonstration's test events, as a corpus with features; made once."""
    target = settings_from(pipelines.demo.DemoSettings, pipelines.demo.__file__, None, ()).target
    sources = out / "sources"
    if not (sources / "made").exists():
        size = SyntheticSize(events_per_sound=target.size.events_per_sound, num_tours=5, tour_s=length_s)
        synthesise_sources(sources, size=size, seed=target.seed)
        (sources / "made").touch()
    settings = CorpusSettings(
        clotho=sources / "clotho",
        walking_tours=sources / "tours",
        split="ratio:1,1,3",
        mixture=(*target.mixture, f"clip_duration={length_s - 1:g}"),  # AAC moves the end
        max_clips=3,
        seed=target.seed,
        encoder="logmel",
    )
    corpus = Corpus(out / "corpus")
    workers = Workers(jobs=jobs, watch=functools.partial(progress, quiet=True))
    run_steps(corpus_steps(settings, corpus, workers), out / "steps", say=click.echo)
    return corpus


def agreement(asked: Sequence[Sequence[Asked]]) -> Iterator[str]:
    """How much two places of the borders agree about the best windows, over all pairs of places."""
    for rank in RANKS:
        again, overlapping, kept_rank, changes = [], [], [], []
        for one, other in pairs(asked):
            for window in one.windows[:rank]:
                distances = [edge_distance_s(window, candidate) for candidate in other.windows]
                again.append(min(distances, default=np.inf) <= SAME_EDGES_S)
                kept_rank.append(min(distances[:rank], default=np.inf) <= SAME_EDGES_S)
                overlapping.append(max((iou(window, w) for w in other.windows), default=0.0) >= FOUND_IOU)
                if again[-1]:
                    changes.append(abs(window[2] - other.windows[int(np.argmin(distances))][2]))
        yield (
            f"first {rank}: found again {share(again)} (both edges within {SAME_EDGES_S:g} s), "
            f"{share(overlapping)} (IoU {FOUND_IOU:g}), among the first {rank} again {share(kept_rank)}; "
            f"change of score: median {np.median(changes):.3f}, nine of ten below "
            f"{np.quantile(changes, 0.9):.3f}"
        )


def recall(asked: Sequence[Sequence[Asked]]) -> Iterator[str]:
    """Which true moments are found, and whether that hangs on where they lie in the chunks."""
    for rank in RANKS:
        by_phase: list[list[bool]] = [[] for _ in range(PHASES)]
        steady = []
        for of_query in asked:
            for place, moment in enumerate(of_query[0].moments):
                fates = []
                for one in of_query:
                    fates.append(any(iou(moment, w) >= FOUND_IOU for w in one.windows[:rank]))
                    by_phase[int(one.phases[place] * PHASES)].append(fates[-1])
                steady.append(all(fates) or not any(fates))
        shares = " / ".join(share(found) for found in by_phase)
        yield (
            f"true moments among the first {rank} (IoU {FOUND_IOU:g}): {share(list(chain(*by_phase)))}; "
            f"by place between the starts of two chunks: {shares}; the same in every place of the borders: "
            f"{share(steady)} of {len(steady)}"
        )


def pairs(asked: Sequence[Sequence[Asked]]) -> Iterator[tuple[Asked, Asked]]:
    """Two places of the borders for one query, each of them once as the first."""
    for of_query in asked:
        yield from permutations(of_query, 2)


def edge_distance_s(a: Sequence[float], b: Sequence[float]) -> Seconds:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1]))


def share(values: Sequence[bool]) -> str:
    return f"{100 * float(np.mean(values)):.1f} %"


if __name__ == "__main__":
    main()
