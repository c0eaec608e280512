"""Options and small helpers that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clotho_long.core.devices import DEVICE_HELP, find_device
from clotho_long.core.figures import check_plot_suffix

if TYPE_CHECKING:
    import torch


FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING_PATH = click.Path(exists=True, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

Command = Callable[..., Any]


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
        click.option("--checkpoint", required=True, type=FILE, help="Ours, or a public one."),
    ):
        command = option(command)
    return command


def chosen_device(name: str, jobs: int) -> torch.device:
    """Where to compute, with `jobs` threads on the CPU."""
    device = find_device(name)
    import torch

    torch.set_num_threads(jobs)
    return device


def say(message: str, *, quiet: bool) -> None:
    if not quiet:
        click.echo(message, err=True)
