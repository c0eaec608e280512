"""The whole way on sounds made up for it: `make demo`.

    python -m pipelines.demo --out demo

Needs no data set, no download and no GPU. Its figures show that the parts work together, nothing else.
"""

from __future__ import annotations

import functools
from pathlib import Path

import click

from clotho_long.build.check import check
from clotho_long.build.crew import Crew
from clotho_long.build.extract import extract_corpus
from clotho_long.build.plan import plan
from clotho_long.build.scan import scan
from clotho_long.build.stats import of_corpus, plot_distributions, table_of
from clotho_long.core.command_line import SingleCommand, common_options, progress
from clotho_long.core.config import override
from clotho_long.core.errors import ClothoLongError
from clotho_long.corpus import Corpus
from clotho_long.features.extract import EncoderChoice, WindowChoice
from clotho_long.recipe.spec import CLOTHO_MOMENT_LONG
from pipelines.synthetic import SyntheticSize, synthesise_sources

SEED = 2023
# clips so much shorter than the published ones that some minutes of sound give hundreds of queries
SETTINGS = ("clip_duration=60", "clip_interval=5", "gap.mean=6")


@click.command(cls=SingleCommand)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"), show_default=True
)
@common_options
def main(out: Path, jobs: int, quiet: bool) -> None:
    """Synthesise sources, build a corpus from them, check it and draw its distributions."""
    watch = functools.partial(progress, quiet=quiet)
    click.echo("synthesising sources")
    clotho, tours = synthesise_sources(out / "sources", size=SyntheticSize(), seed=SEED)
    corpus = Corpus(out / "corpus")
    counts = scan(corpus, clotho, tours, split_rule="ratio:3,1,1", jobs=jobs, watch=watch)
    click.echo(
        f"scanned {sum(counts.foregrounds.values())} events and {counts.background_s / 60:.0f} min of tours"
    )
    plan(corpus, override(CLOTHO_MOMENT_LONG, SETTINGS), preset="clotho-moment-long", seed=SEED)
    extract_corpus(
        corpus,
        encoder=EncoderChoice(name="logmel"),
        windows=WindowChoice(),
        crew=Crew(jobs=jobs, watch=watch),
    )
    problems = list(check(corpus))
    if problems:
        raise ClothoLongError(f"{len(problems)} problems, the first: {problems[0]}", corpus.root)
    values_of = of_corpus(corpus)
    click.echo(table_of(values_of))
    plot_distributions(values_of, out / "corpus.png", title="demonstration")
    click.echo(f"wrote {corpus.root} and {out / 'corpus.png'}")


if __name__ == "__main__":
    main()
