"""The commands that make, check and describe a corpus."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clotho_long.cli.features import encoder_options, extract_and_report, window_options, work_options
from clotho_long.core.command_line import (
    FiniteRange,
    common_options,
    progress,
    set_up_logging,
    together,
)
from clotho_long.core.errors import ClothoLongError, ConfigError, ManifestError
from clotho_long.core.records import SPLITS
from clotho_long.core.seeds import MAX_SEED

if TYPE_CHECKING:
    from clotho_long.corpus import Corpus
    from clotho_long.stages.plan import PlanCounts
    from clotho_long.stages.scan import ScanCounts

FOLDER = click.Path(file_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
DEFAULT_SEED = 2023
NUM_REASONS_SHOWN = 10


def split_option(command: Any) -> Any:
    """`--split`, which may be given several times."""
    return click.option(
        "--split",
        "splits",
        multiple=True,
        type=click.Choice(SPLITS),
        help="Only this split; may be repeated.",
    )(command)


def _check_split_rule(context: click.Context, parameter: click.Parameter, rule: str) -> str:
    from clotho_long.sources.walking_tours import parse_ratio

    if rule != "published":
        try:
            parse_ratio(rule)
        except ConfigError as error:
            raise click.BadParameter(f"{error.problem}; {error.fix}") from None
    return rule


# Where the raw audio lies, and how it is split and trimmed.
source_options = together(
    click.option(
        "--clotho", required=True, type=EXISTING_FOLDER, help="Folder of Clotho's csv files and audio."
    ),
    click.option(
        "--walking-tours",
        required=True,
        type=EXISTING_FOLDER,
        help="Folder of the tours (mp4 or any audio).",
    ),
    click.option(
        "--split",
        "split_rule",
        callback=_check_split_rule,
        default="published",
        show_default=True,
        help="Split of the tours: `published`, or `ratio:7,1,2` over the sorted names.",
    ),
    click.option(
        "--trim-db",
        type=FiniteRange(0, 200),
        default=5.0,
        show_default=True,
        help="A second of an event sounds if it is less than this below the file's mean power.",
    ),
)


# What is drawn.
plan_options = together(
    click.option(
        "--preset",
        type=click.Choice(["clotho-moment-long", "clotho-moment-short", "clotho-moment"]),
        default="clotho-moment-long",
        show_default=True,
        help="Which published corpus to follow.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, MAX_SEED),
        default=DEFAULT_SEED,
        show_default=True,
        help="Seed of the recipes.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one setting of the preset, for example clip_duration=120 or gap_s.mean=30.",
    ),
    click.option(
        "--max-clips",
        type=click.IntRange(min=1),
        help="At most this many clips of each split, spread evenly.",
    ),
)


@click.command()
@source_options
@click.option("--out", "corpus_dir", required=True, type=FOLDER, help="The corpus to make or go on with.")
@common_options
def scan(
    clotho: Path,
    walking_tours: Path,
    corpus_dir: Path,
    split_rule: str,
    trim_db: float,
    jobs: int,
    quiet: bool,
) -> None:
    """Find and measure the sources, trim the events, decode the tours once.

    \b
    Example:
      clotho-long scan --clotho clotho_v2.1 --walking-tours WalkingTourVideos --out corpus
    """
    set_up_logging(quiet=quiet)
    _scan(_corpus(corpus_dir), clotho, walking_tours, split_rule, trim_db, jobs, quiet)


@click.command()
@click.argument("corpus_dir", metavar="CORPUS", type=EXISTING_FOLDER)
@plan_options
@click.option(
    "--manifest", type=EXISTING_FOLDER, help="Take the recipes of this manifest instead of drawing."
)
@click.option(
    "--allow-differences",
    is_flag=True,
    help="With --manifest: leave out clips whose sources differ from its.",
)
def plan(
    corpus_dir: Path,
    preset: str,
    seed: int,
    overrides: tuple[str, ...],
    max_clips: int | None,
    manifest: Path | None,
    allow_differences: bool,
) -> None:
    """Decide what every clip holds: draw recipes, or take published ones; write the annotations.

    \b
    Examples:
      clotho-long plan corpus --preset clotho-moment-long --seed 2023
      clotho-long plan corpus --set clip_duration=120 --max-clips 50
      clotho-long plan corpus --manifest manifests/clotho-moment-long
    """
    _make_plan(
        _corpus(corpus_dir), preset, seed, overrides, max_clips, manifest, allow_differences=allow_differences
    )


@click.command()
@source_options
@plan_options
@encoder_options
@window_options
@click.option(
    "--manifest", type=EXISTING_FOLDER, help="Take the recipes of this manifest instead of drawing."
)
@click.option("--keep-audio", is_flag=True, help="Also write the mixtures as wav files.")
@click.option("--out", "corpus_dir", required=True, type=FOLDER, help="The corpus to make or go on with.")
@work_options
def build(
    clotho: Path,
    walking_tours: Path,
    corpus_dir: Path,
    split_rule: str,
    trim_db: float,
    preset: str,
    seed: int,
    overrides: tuple[str, ...],
    max_clips: int | None,
    manifest: Path | None,
    keep_audio: bool,
    **options: Any,
) -> None:
    """From raw audio to features: scan, plan and extract.

    \b
    Examples:
      clotho-long build --clotho clotho_v2.1 --walking-tours WalkingTourVideos --out corpus
      clotho-long build --clotho clotho_v2.1 --walking-tours WalkingTourVideos --out corpus \\
          --manifest manifests/clotho-moment-long --weights CLAP_weights_2023.pth
    """
    set_up_logging(quiet=options["quiet"])
    corpus = _corpus(corpus_dir)
    _scan(corpus, clotho, walking_tours, split_rule, trim_db, options["jobs"], options["quiet"])
    _make_plan(corpus, preset, seed, overrides, max_clips, manifest, allow_differences=False)
    if keep_audio:
        _render(corpus, (), "wav", None, (), options["overwrite"], options["jobs"], options["quiet"])
    extract_and_report(corpus, **options)


@click.command("import-recipe")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("--out", "corpus_dir", required=True, type=FOLDER, help="The corpus to make.")
@click.option("--clotho", type=EXISTING_FOLDER, help="Folder of Clotho, if the audio is at hand.")
@click.option("--walking-tours", type=EXISTING_FOLDER, help="Folder of the tours, if the audio is at hand.")
@common_options
def import_recipe(
    files: tuple[Path, ...],
    corpus_dir: Path,
    clotho: Path | None,
    walking_tours: Path | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Turn Clotho-Moment's published recipe files into recipes and annotations.

    \b
    Example:
      clotho-long import-recipe recipe_train.json recipe_valid.json recipe_test.json --out corpus
    """
    from clotho_long.stages.adopt import import_recipes

    if (clotho is None) != (walking_tours is None):
        raise click.UsageError("--clotho and --walking-tours go together")
    set_up_logging(quiet=quiet)
    corpus = _corpus(corpus_dir)
    if clotho is not None and walking_tours is not None:
        _scan(corpus, clotho, walking_tours, "published", 5.0, jobs, quiet)
    _report_plan(import_recipes(corpus, files))


@click.command()
@click.argument("corpus_dir", metavar="CORPUS", type=EXISTING_FOLDER)
@split_option
@click.option(
    "--format", "audio_format", type=click.Choice(["wav", "flac"]), default="wav", show_default=True
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N clips of each split.")
@click.option("--only", multiple=True, metavar="VID", help="Only this recording; may be repeated.")
@click.option("--overwrite", is_flag=True, help="Replace files that were made from another recipe.")
@common_options
def render(
    corpus_dir: Path,
    splits: tuple[str, ...],
    audio_format: str,
    limit: int | None,
    only: tuple[str, ...],
    overwrite: bool,
    jobs: int,
    quiet: bool,
) -> None:
    """Write the mixtures as audio files. Training does not need them: `extract` mixes in memory.

    \b
    Example:
      clotho-long render corpus --split valid --format flac
    """
    set_up_logging(quiet=quiet)
    _render(_corpus(corpus_dir), splits, audio_format, limit, only, overwrite, jobs, quiet)


@click.command()
@click.argument("corpus_dir", metavar="CORPUS", type=EXISTING_FOLDER)
@common_options
def check(corpus_dir: Path, jobs: int, quiet: bool) -> None:
    """Validate a corpus and print every problem; exit status 1 if there is any.

    \b
    Example:
      clotho-long check corpus
    """
    from clotho_long.core.work import Workers
    from clotho_long.stages.check import check as problems_of

    workers = Workers(jobs=jobs, watch=functools.partial(progress, quiet=quiet))
    num_problems = 0
    for problem in problems_of(_corpus(corpus_dir), workers=workers):
        click.echo(problem)
        num_problems += 1
    if num_problems:
        raise ClothoLongError(f"{num_problems} problems", corpus_dir, "see the lines above")
    click.echo(f"{corpus_dir}: no problems found")


@click.command()
@click.argument("corpus_dir", metavar="CORPUS", type=EXISTING_FOLDER)
@click.option("--plot", "plot_file", type=FILE, help="Draw the distributions into this picture.")
def stats(corpus_dir: Path, plot_file: Path | None) -> None:
    """Count clips, queries and moments, and describe their lengths, gaps and levels.

    \b
    Example:
      clotho-long stats corpus --plot corpus.png
    """
    from clotho_long.core.figures import check_plot_suffix
    from clotho_long.stages.stats import (
        lengths_comparison,
        of_corpus,
        plot_distributions,
        report_comparison,
        table_of,
    )

    if plot_file is not None:
        check_plot_suffix(plot_file)
    corpus = _corpus(corpus_dir)
    values_of = of_corpus(corpus)
    if not values_of:
        raise ManifestError("holds no recipes", corpus_dir / "recipes", "run `clotho-long plan` first")
    click.echo(table_of(values_of))
    for line in [*lengths_comparison(values_of), *report_comparison(corpus)]:
        click.echo(line)
    if plot_file is not None:
        plot_distributions(values_of, plot_file, title=corpus_dir.resolve().name)
        click.echo(f"drew {plot_file}")


def _corpus(root: Path) -> Corpus:
    from clotho_long.corpus import Corpus

    return Corpus(root)


def _scan(
    corpus: Corpus, clotho: Path, walking_tours: Path, split_rule: str, trim_db: float, jobs: int, quiet: bool
) -> None:
    from clotho_long.stages.scan import scan

    watch = functools.partial(progress, quiet=quiet)
    counts: ScanCounts = scan(
        corpus, clotho, walking_tours, split_rule=split_rule, trim_db=trim_db, jobs=jobs, watch=watch
    )
    click.echo(
        f"events: {_by_split(counts.foregrounds)}; tours: {_by_split(counts.backgrounds)}, "
        f"{counts.background_s / 3600:.1f} h; skipped: {len(counts.skipped)}"
    )
    for item in counts.skipped[:NUM_REASONS_SHOWN]:
        click.echo(f"  skipped {item.file}: {item.reason}", err=True)
    if len(counts.skipped) > NUM_REASONS_SHOWN:
        click.echo(
            f"  and {len(counts.skipped) - NUM_REASONS_SHOWN} more, see {corpus.skipped_file}", err=True
        )


def _make_plan(
    corpus: Corpus,
    preset: str,
    seed: int,
    overrides: tuple[str, ...],
    max_clips: int | None,
    manifest: Path | None,
    *,
    allow_differences: bool,
) -> None:
    """Draw recipes, or take those of a manifest."""
    from clotho_long.core.settings import override
    from clotho_long.recipe.spec import PRESETS
    from clotho_long.stages.adopt import plan_from_manifest
    from clotho_long.stages.plan import plan

    if manifest is None:
        spec = override(PRESETS[preset], overrides)
        _report_plan(plan(corpus, spec, preset=preset, seed=seed, max_clips=max_clips))
        return
    if overrides or max_clips is not None:
        raise click.UsageError("--set and --max-clips draw recipes; with --manifest nothing is drawn")
    _report_plan(plan_from_manifest(corpus, manifest, allow_differences=allow_differences))


def _report_plan(counts: PlanCounts) -> None:
    click.echo(
        f"clips: {_by_split(counts.clips)}; queries: {_by_split(counts.queries)}; "
        f"drawn without an event: {_by_split(counts.empty_clips)}"
    )
    for note in counts.notes:
        click.echo(f"  {note}", err=True)


def _render(
    corpus: Corpus,
    splits: tuple[str, ...],
    audio_format: Any,
    limit: int | None,
    only: tuple[str, ...],
    overwrite: bool,
    jobs: int,
    quiet: bool,
) -> None:
    from clotho_long.stages.render import render

    counts = render(
        corpus,
        splits=splits or corpus.planned_splits,
        audio_format=audio_format,
        limit=limit,
        only=only,
        overwrite=overwrite,
        jobs=jobs,
        watch=functools.partial(progress, quiet=quiet),
    )
    click.echo(
        f"rendered: {counts.written}; done before: {counts.done_before}; failed: {len(counts.problems)}"
    )
    for problem in counts.problems:
        click.echo(f"  {problem}", err=True)
    if counts.problems:
        raise ClothoLongError(
            f"{len(counts.problems)} clips could not be rendered", corpus.root, "see the lines above"
        )


def _by_split(counts: dict[str, int]) -> str:
    return " + ".join(f"{counts[split]:,} {split}" for split in SPLITS if counts.get(split)) or "none"


COMMANDS = (build, scan, plan, import_recipe, render, check, stats)
