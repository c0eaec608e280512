"""The commands that hear a collection once, and ask it anything."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amr_model.cli.exporting import export_options
from amr_model.cli.options import (
    CHECKPOINT,
    CHECKPOINT_HELP,
    EXISTING_FILE,
    EXISTING_FOLDER,
    EXISTING_PATH,
    FOLDER,
    WEIGHTS,
    chosen_device,
    cross_mask_option,
    device_option,
    lines_of,
    made_by_of,
    made_by_sound,
    need_checkpoint,
    query_options,
    refuse,
    say,
    set_option,
)
from clotho_long.core.command_line import common_options, progress, set_up_logging, sound_options

if TYPE_CHECKING:
    from amr_model.answer.exports.choice import Exports
    from amr_model.index.catalog import Hearing
    from amr_model.index.search import Index, Ranking
    from amr_model.public.renaming import CrossMask
    from clotho_long.features.windows import Convention

MAX_CANDIDATES = 100_000


def _settled(help_text: str) -> str:
    return f"{help_text}  [default: as the index was made]"


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=EXISTING_PATH)
@click.option("--out", "folder", required=True, metavar="INDEX", type=FOLDER, help="The index, a folder.")
@click.option("--check", is_flag=True, help="Change nothing: verify the index, and name every problem.")
@click.option(
    "--forget",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file or folder that the index no longer looks after; may be repeated.",
)
@click.option("--encoder", help=_settled("Encoder of the features; of a new index msclap-2023."))
@click.option("--weights", type=WEIGHTS, help="Weights of the encoder.  [default: those found or downloaded]")
@click.option("--precision", help=_settled("Of the encoder's matrix products; of a new index float32."))
@click.option(
    "--windows",
    type=click.Choice(["aligned", "padded", "centred"]),
    help=_settled("Where the one-second windows lie; of a new index aligned."),
)
@click.option(
    "--float16",
    is_flag=True,
    default=None,
    help=_settled("Keep features in half of the space; docs/search.md says what it changes."),
)
@click.option("--scheduler", metavar="ADDRESS", help="Let the workers of this Dask scheduler hear.")
@sound_options
@device_option
@common_options
@click.pass_context
def index(
    context: click.Context,
    *,
    paths: Sequence[Path],
    folder: Path,
    check: bool,
    forget: Sequence[Path],
    encoder: str | None,
    weights: Path | None,
    precision: str | None,
    windows: Convention | None,
    float16: bool | None,
    scheduler: str | None,
    channels: Any,
    track: int | None,
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Hear files and folders once, so that `amr search` can answer about all of them. Any audio or video.

    Run it again, with or without PATH, after recordings were added, changed, moved or removed: only what is
    new is heard, and a file that was moved or renamed is known again. It may be stopped at any time and goes
    on.

    \b
    For example:
      amr index walks/ interviews/ --out heard
      amr index --out heard                  # after recordings came, went or were changed
      amr index --check --out heard
    """
    set_up_logging(quiet=quiet)
    watch = functools.partial(progress, quiet=quiet)
    if check:
        if paths or forget:
            raise click.UsageError("--check changes nothing: leave PATH and --forget out")
        from amr_model.index.check import check_index

        count, problems = check_index(folder, watch=watch)
        for problem in problems:
            click.echo(str(problem))
        click.echo(f"{folder}: {count} recordings, {len(problems)} problems")
        context.exit(1 if problems else 0)
    from amr_model.index.update import update_index
    from clotho_long.core.work import Workers
    from clotho_long.features.encoder import encoder_device

    given: dict[str, Any] = {
        "encoder": encoder,
        "precision": precision,
        "windows": windows,
        "float16": float16,
    }
    if weights is not None:
        given["weights"] = str(weights.absolute())
    for name, value in (("channels", channels), ("track", track)):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            given[name] = value
    hearing = _hearing(folder, {name: value for name, value in given.items() if value is not None})
    changes = update_index(
        folder,
        paths,
        hearing,
        forget=forget,
        device=encoder_device(hearing.encoder, device),
        workers=Workers(jobs=jobs, scheduler=scheduler, watch=watch),
    )
    for notice in changes.notices:
        say(f"note: {notice}", quiet=quiet)
    click.echo(f"{folder}: {changes}")
    refuse([str(problem) for problem in changes.problems])


@click.command()
@click.argument("folder", metavar="INDEX", type=EXISTING_FOLDER)
@query_options
@click.option("--like", "sound", type=EXISTING_FILE, help="A recording: what sounds like it?")
@click.option(
    "--checkpoint",
    type=CHECKPOINT,
    help=f"{CHECKPOINT_HELP}  [default: none, the encoder's own similarity answers (S0)]",
)
@click.option(
    "--weights", type=WEIGHTS, help="Weights of the encoder.  [default: those the index was made with]"
)
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, help="Moments of a ranking, at most."
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Leave out moments below.  [default: the calibrated one if the checkpoint has it, else 0; S0: 0.1]",
)
@click.option("--exact", is_flag=True, help="Listen to everything, not to the likeliest places alone.")
@click.option(
    "--candidates",
    type=click.IntRange(1, MAX_CANDIDATES),
    default=50,
    show_default=True,
    help="Places that are listened to for each query.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a query.")
@export_options
@cross_mask_option
@set_option
@device_option
@common_options
def search(
    *,
    folder: Path,
    spoken: Sequence[str],
    query_file: Path | None,
    sound: Path | None,
    checkpoint: str | None,
    weights: Path | None,
    top: int,
    min_score: float | None,
    exact: bool,
    candidates: int,
    as_json: bool,
    exports: Exports,
    cross_mask: CrossMask | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Ask all recordings of an index at once: one ranking of moments for each query. Nothing is decoded.

    Without --checkpoint nothing was trained for the task: moments are read off the similarity of sound and
    sentence in the encoder's shared space (S0). --like needs none: it compares sound with sound. "nothing
    found" is an answer: no moment reaches --min-score.

    \b
    For example:
      amr search heard --query "a dog barks" --checkpoint run/checkpoint-best.pt
      amr search heard --queries sounds.txt --min-score 0.4 --json
      amr search heard --like bark.wav --top 20
      amr search heard --query "a dog barks" --checkpoint run/checkpoint-best.pt --raven barks.txt --cut barks
    """
    from amr_model.answer.answers import each_query
    from amr_model.answer.similarity import MIN_SCORE
    from amr_model.config import override_answering
    from amr_model.index.opening import open_index

    set_up_logging(quiet=quiet)
    watch = functools.partial(progress, quiet=quiet)
    where = chosen_device(device, jobs)
    asked = [*spoken, *lines_of(query_file)]
    if sound is not None:
        for option, value in (("--checkpoint", checkpoint), ("--query", asked), ("--set", overrides)):
            if value:
                raise click.UsageError(f"--like compares sound with sound: leave {option} out")
        by_sound = open_index(folder, weights=weights, device=where, watch=watch)
        least = MIN_SCORE if min_score is None else min_score
        answered = by_sound.like(sound, top=top, min_score=least, exact=exact, candidates=candidates)
        _report([answered], made_by_sound(by_sound.encoder), exports, by_sound, as_json=as_json)
        return
    queries = each_query(asked)
    need_checkpoint(checkpoint, {"--cross-mask": cross_mask, "--set": overrides})
    opened = open_index(
        folder,
        checkpoint=checkpoint,
        weights=weights,
        device=where,
        cross_mask=cross_mask,
        adjust=lambda config: override_answering(config, overrides),
        watch=watch,
    )
    rankings = opened.rank(queries, top=top, min_score=min_score, exact=exact, candidates=candidates)
    assert opened.finder is not None, "rank refused it"
    _report(rankings, made_by_of(opened.finder, checkpoint), exports, opened, as_json=as_json)


def _report(
    rankings: Sequence[Ranking],
    made_by: dict[str, str | None],
    exports: Exports,
    index: Index,
    *,
    as_json: bool,
) -> None:
    """Everything that a search gives to people and programs."""
    from amr_model.answer.exports.writing import write_exports
    from amr_model.index.search import as_answers

    for ranking in rankings:
        if as_json:
            click.echo(json.dumps(ranking.to_json(made_by), ensure_ascii=False))
        else:
            click.echo(ranking.to_text(), nl=False)
    answers = exports.on_the_clock(as_answers(rankings))
    write_exports(exports, answers, sound=index.catalog.hearing.sound, one_ranking=True)


def _hearing(folder: Path, given: dict[str, Any]) -> Hearing:
    """How an index hears: as it was made, with what is given laid over it."""
    from amr_model.index.catalog import Hearing, is_index, read_catalog
    from clotho_long.core.settings import build_over

    made = read_catalog(folder).hearing if is_index(folder) else Hearing()
    return build_over(made, given, where="--out")


COMMANDS = (index, search)
