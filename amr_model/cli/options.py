"""Options and small helpers that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clotho_long.core.errors import ConfigError

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
        help="auto (a GPU if there is one), cpu, cuda, or one GPU such as cuda:1.",
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


def once_option(*names: str, required: bool = False, **settings: Any) -> Callable[[Command], Command]:
    """An option of which a second is an error: click would take the last and say nothing."""

    def only(context: click.Context, option: click.Parameter, values: tuple[Any, ...]) -> Any:
        if len(values) > 1:
            raise click.BadParameter(f"is given {len(values)} times; give it once", context, option)
        return values[0] if values else None

    return click.option(*names, multiple=True, required=required, callback=only, **settings)


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
    import torch

    torch.set_num_threads(jobs)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no device is called {name!r}", "--device", "take auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no NVIDIA GPU can be used here", "--device", "take auto or cpu")
    return device


def say(message: str, *, quiet: bool) -> None:
    if not quiet:
        click.echo(message, err=True)
