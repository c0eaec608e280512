"""Options and small helpers that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clotho_long.core.devices import DEVICE_HELP, find_device

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
