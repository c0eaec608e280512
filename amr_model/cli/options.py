"""Options and small helpers that the commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clotho_long.core.devices import DEVICE_HELP, find_device
from clotho_long.core.errors import ClothoLongError, ConfigError
from clotho_long.core.figures import check_plot_suffix

if TYPE_CHECKING:
    import torch

    from amr_model.answer.finder import Finder
    from clotho_long.features.encoder import Encoder

FILE = click.Path(dir_okay=False, path_type=Path)
WEIGHTS = click.Path(path_type=Path)  # of an encoder: a file, or a folder that holds a model
CHECKPOINT = click.Path(dir_okay=False)  # stays text: an address is no path
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING_PATH = click.Path(exists=True, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

Command = Callable[..., Any]

CHECKPOINT_HELP = "A file, ours or a public one, or a name such as hf://OWNER/REPOSITORY/FILE."


def device_option(command: Command) -> Command:
    """`--device`."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        help=DEVICE_HELP,
    )(command)


def set_option(command: Command) -> Command:
    """`--set`, which may be given several times."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one setting, such as inference.nms_iou=0.5; may be repeated.",
    )(command)


def cross_mask_option(command: Command) -> Command:
    """`--cross-mask`, of commands that read public checkpoints."""
    return click.option(
        "--cross-mask",
        type=click.Choice(["reference", "item"]),
        help="Of a public checkpoint: `reference` if it was trained with the baselines' mixed attention "
        "masks, `item` since their correction in October 2026.  [default: reference]",
    )(command)


def one_query(text: str) -> str:
    """A sentence of `--query`.

    Raises:
        click.BadParameter: it is empty.
    """
    if not text.strip():
        raise click.BadParameter("a query is empty; write what you want to hear", param_hint="--query")
    return text


def picture_file(_: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """A file that matplotlib can draw into, said before any work."""
    if path is not None:
        check_plot_suffix(path)
    return path


def set_options(command: Command) -> Command:
    """What is evaluated: a checkpoint on annotated queries with features."""
    for option in (
        click.option(
            "--features", required=True, type=EXISTING_FOLDER, help="Folder with clap/ and clap_text/."
        ),
        click.option("--annotations", required=True, type=FILE, help="Queries, one JSON line each."),
        click.option("--checkpoint", required=True, type=CHECKPOINT, help=CHECKPOINT_HELP),
    ):
        command = option(command)
    return command


def chosen_device(name: str, jobs: int) -> torch.device:
    """Where to compute, with `jobs` threads on the CPU."""
    device = find_device(name)
    import torch

    torch.set_num_threads(jobs)
    return device


def query_options(command: Command) -> Command:
    """`--query`, `--queries`: what is looked for."""
    command = click.option(
        "--queries", "query_file", type=EXISTING_FILE, help="A text file with a sentence on each line."
    )(command)
    return click.option(
        "--query",
        "spoken",
        multiple=True,
        callback=lambda context, option, texts: tuple(one_query(text) for text in texts),
        help="A sentence; may be repeated.",
    )(command)


def lines_of(file: Path | None) -> list[str]:
    """The sentences of a file, one a line; empty lines are none.

    Raises:
        ConfigError: it is not UTF-8 text, or holds no sentence.
    """
    if file is None:
        return []
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file, "save it as UTF-8, a sentence a line") from None
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise ConfigError("holds no sentence", file, "write what you want to hear, a sentence a line")
    return found


def version_of_package() -> str:
    """Which version answers."""
    from importlib import metadata

    try:
        return metadata.version("audio-moment-retrieval")
    except metadata.PackageNotFoundError:  # from a checkout
        return "not installed"


def made_by_of(finder: Finder, checkpoint: str | None) -> dict[str, str | None]:
    """What a result is to be traced back to."""
    from amr_model.checkpoint import checkpoint_fingerprint

    return {
        **finder.made_by,
        "checkpoint": None if checkpoint is None else checkpoint_fingerprint(checkpoint),
        "version": version_of_package(),
    }


def made_by_sound(encoder: Encoder) -> dict[str, str | None]:
    """What a result of `--like` is to be traced back to."""
    return {
        "model": "S0",
        "readout": "similarity",
        "encoder": encoder.name,
        "checkpoint": None,
        "version": version_of_package(),
    }


def need_checkpoint(checkpoint: str | None, options: Mapping[str, object]) -> None:
    """Options that say something of a checkpoint, by their names, want one.

    Raises:
        click.UsageError: one was given without.
    """
    for option, value in options.items():
        if checkpoint is None and value:
            raise click.UsageError(f"{option} concerns a checkpoint: give one with --checkpoint")


def refuse(problems: Sequence[str]) -> None:
    """End with status 1 if any recording was left out, a line for each.

    Raises:
        ClothoLongError: some were.
    """
    if len(problems) == 1:
        raise ClothoLongError(problems[0])
    for problem in problems:
        click.echo(f"  {problem}", err=True)
    if problems:
        raise ClothoLongError(f"{len(problems)} recordings were left out", fix="see the lines above")


def say(message: str, *, quiet: bool) -> None:
    if not quiet:
        click.echo(message, err=True)
