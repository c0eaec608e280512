"""From raw audio to a corpus with features, on one machine or on a Dask cluster.

    python -m pipelines.regenerate --out corpus --set clotho=clotho_v2.1 --set walking_tours=WalkingTourVideos
    python -m pipelines.regenerate --out corpus --backend dask --scheduler tcp://10.0.0.1:8786

The workers of a cluster need the same paths and the same version of this package, nothing else. One that dies
costs the files that it was making: the scheduler gives them to another one, and the bytes are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import click

from clotho_long.core.command_line import SingleCommand, progress
from clotho_long.core.jsonl import read_records
from clotho_long.core.records import SPLITS
from clotho_long.core.work import Workers
from clotho_long.corpus import Corpus
from clotho_long.sources.records import Skipped
from pipelines.command import pipeline_options, settings_from, speaker
from pipelines.corpora import CorpusSettings, corpus_steps
from pipelines.report import Block, ReportPage, Section, Table, Text, write_report
from pipelines.sections import corpus_section, settings_section
from pipelines.steps import StepRun, run_steps

SHOWN_SKIPPED = 20


@click.command(cls=SingleCommand)
@pipeline_options("corpus")
@click.option(
    "--backend",
    type=click.Choice(["processes", "dask"]),
    default="processes",
    show_default=True,
    help="Where scanning, rendering and extraction run.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Of Dask, such as tcp://10.0.0.1:8786.")
def main(
    out: Path,
    config: Path | None,
    overrides: tuple[str, ...],
    start: str | None,
    until: str | None,
    backend: str,
    scheduler: str | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Regenerate a corpus: scan the sources, draw the recipes, extract the features, check everything.

    \b
    For example:
      python -m pipelines.regenerate --out corpus --set clotho=clotho_v2.1 \\
          --set walking_tours=WalkingTourVideos
    """
    if (backend == "dask") != (scheduler is not None):
        raise click.UsageError("--backend dask and --scheduler ADDRESS belong together; give both or none")
    settings = settings_from(CorpusSettings, __file__, config, overrides)
    say = speaker(quiet=quiet)
    corpus = Corpus(out)
    workers = Workers(jobs=jobs, scheduler=scheduler, watch=functools.partial(progress, quiet=quiet))
    runs = run_steps(
        corpus_steps(settings, corpus, workers), out / "steps", start=start, until=until, say=say
    )
    if until is None:
        say(f"wrote {write_report(_report(settings, corpus, runs), out)}")


def _report(settings: CorpusSettings, corpus: Corpus, runs: Sequence[StepRun]) -> ReportPage:
    """What was made of what, and what could not be used."""
    return ReportPage(
        title="A corpus of long recordings",
        lead=f"Made from {settings.clotho} and {settings.walking_tours}, encoded with {settings.encoder}.",
        sections=(
            corpus_section("What it holds", corpus, name="corpus"),
            _sources_section(corpus),
            settings_section(settings, runs),
        ),
    )


def _sources_section(corpus: Corpus) -> Section:
    """The sources that were used, and those that were not, each with its reason."""
    foregrounds, backgrounds = corpus.foregrounds(), corpus.backgrounds()
    skipped = list(read_records(corpus.skipped_file, Skipped))
    splits = [split for split in SPLITS if any(item.split == split for item in foregrounds)]
    blocks: list[Block] = [
        Table(
            header=("split", "events", "long recordings", "hours of them"),
            rows=tuple(
                (
                    split,
                    f"{sum(item.split == split for item in foregrounds):,}",
                    f"{sum(item.split == split for item in backgrounds):,}",
                    f"{sum(item.length_s for item in backgrounds if item.split == split) / 3600:.1f}",
                )
                for split in splits
            ),
        )
    ]
    if not skipped:
        blocks.append(Text(text="Every file was used."))
    else:
        blocks.append(
            Table(
                header=("not used", "why"),
                rows=tuple((item.file, item.reason) for item in skipped[:SHOWN_SKIPPED]),
                note=f"{len(skipped)} in all; {corpus.skipped_file} lists them.",
            )
        )
    return Section(title="Sources", blocks=tuple(blocks))


if __name__ == "__main__":
    main()
