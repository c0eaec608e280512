"""What the commands `python -m pipelines.NAME` share: settings from YAML, where to start, what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from clotho_long.core.command_line import common_options, set_up_logging
from clotho_long.core.settings import load_config

Settings = TypeVar("Settings")
Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def pipeline_options(out: str) -> Callable[[Command], Command]:
    """`--out`, `--config`, `--set`, `--from`, `--until`, `--jobs`, `--quiet`."""

    def decorate(command: Command) -> Command:
        for option in (
            common_options,
            click.option("--until", metavar="STEP", callback=_named, help="Stop after this step."),
            click.option(
                "--from",
                "start",
                metavar="STEP",
                callback=_named,
                help="Begin with this step and run it anew; what earlier steps made is taken as it is. "
                "Steps are named as they run; a name that does not exist lists them.",
            ),
            click.option(
                "--set",
                "overrides",
                multiple=True,
                metavar="KEY=VALUE",
                help="Override one setting of the file; may be repeated.",
            ),
            click.option(
                "--config", type=FILE, help="Settings in YAML.  [default: pipelines/NAME.yml of this package]"
            ),
            click.option(
                "--out", type=FOLDER, default=Path(out), show_default=True, help="Folder of everything."
            ),
        ):
            command = option(command)
        return command

    return decorate


def _named(_: click.Context, parameter: click.Parameter, step: str | None) -> str | None:
    """The name of a step; an empty one, as of a variable that is not set, would mean all of them."""
    if step is not None and not step.strip():
        raise click.BadParameter("a step is not named")
    return step


def settings_from(
    kind: type[Settings], module: str, config: Path | None, overrides: tuple[str, ...]
) -> Settings:
    """The settings of a pipeline: a file (by default NAME.yml beside the module), then overrides."""
    return load_config(kind, config or Path(module).with_suffix(".yml"), overrides)


def speaker(*, quiet: bool) -> Callable[[str], None]:
    """Sets logging up, and says what a pipeline does on stdout unless it is to be quiet."""
    set_up_logging(quiet=quiet)
    return (lambda _: None) if quiet else click.echo
