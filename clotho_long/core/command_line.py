"""What the commands of both packages share: errors as one line, exit statuses, progress bars, options."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

from clotho_long.core.errors import ClothoLongError

Item = TypeVar("Item")
Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_DATA = 1
EXIT_INTERRUPTED = 130


class _OneLineErrors(click.Command):
    """Ends as the contract says: 0 done, 1 bad data, 2 bad usage, 130 interrupted."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            result = super().main(*args, **kwargs)
        except ClothoLongError as error:
            _fail(str(error), EXIT_DATA)
        except OSError as error:
            _fail(_describe_os_error(error), EXIT_DATA)
        except (KeyboardInterrupt, click.Abort):
            _fail(
                "interrupted; what was finished is kept, run the same command again to continue",
                EXIT_INTERRUPTED,
            )
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        # without standalone mode click returns the status of an early exit (--help) instead of exiting
        sys.exit(result if isinstance(result, int) else 0)


class CommandGroup(_OneLineErrors, click.Group):
    """A program of several commands, such as `clotho-long`."""


class SingleCommand(_OneLineErrors):
    """A program that is one command, such as `python -m pipelines.NAME`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"context_settings": {"help_option_names": ["-h", "--help"]}, **kwargs})


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator, listed by `--help` in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def common_options(command: Command) -> Command:
    """`--jobs`, `--quiet`: on every command that works for long."""
    command = click.option("-q", "--quiet", is_flag=True, help="No progress bar, warnings only.")(command)
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        default=lambda: (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        ),
        show_default="all cores",
        help="Cores to use. The result does not depend on it.",
    )(command)


class _Channels(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`mean`, `first`, or the number of a channel from 1 on."""

    name = "mean|first|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("mean", "first"):
            return value
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} is neither mean, nor first, nor a number from 1 on", param, ctx)
        return number


def sound_options(command: Command) -> Command:
    """`--channels`, `--track`: on every command that reads recordings."""
    command = click.option(
        "--track",
        type=click.IntRange(min=1),
        help="Which sound track of a file with several, from 1 on.  [default: the first]",
    )(command)
    return click.option(
        "--channels",
        type=_Channels(),
        default="mean",
        show_default=True,
        help="How a recording becomes mono: the mean, the first (as published extractors), or number N.",
    )(command)


def set_up_logging(*, quiet: bool) -> None:
    """Messages of our packages to stderr; called by commands, never on import."""
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(message)s", stream=sys.stderr
    )


def progress(items: Iterable[Item], *, total: int, label: str, unit: str, quiet: bool) -> Iterator[Item]:
    """Pass items through, with a bar on stderr if it is a terminal and `quiet` is off."""
    from tqdm import tqdm

    yield from tqdm(
        items,
        total=total,
        desc=label,
        unit=unit,
        disable=quiet or not sys.stderr.isatty(),
        dynamic_ncols=True,
    )


def _describe_os_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    remedy = {
        errno.ENOSPC: "; free some space and run the same command again, finished files are kept",
        errno.EACCES: "; check the permissions",
        errno.ENOENT: "; check the path",
    }.get(error.errno or 0, "")
    return f"{place}{(error.strerror or str(error)).lower()}{remedy}"


def _fail(message: str, status: int) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(status)
