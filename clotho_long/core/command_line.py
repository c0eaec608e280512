"""What the commands of both packages share: errors as one line, exit statuses, progress bars, options."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeVar

import click

from clotho_long.core.errors import ClothoLongError
from clotho_long.core.extras import describe_missing

Item = TypeVar("Item")
Command = TypeVar("Command", bound=Callable[..., Any])


MAX_MESSAGE = 1000  # characters
MAX_JOBS = 4096

EXIT_DATA = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

# Set to anything, this shows where in the program an error arose that nobody foresaw.
TRACEBACK_SWITCH = "CLOTHO_LONG_TRACEBACK"
NO_MEMORY = "can't allocate memory"


class _OneLineErrors(click.Command):
    """Ends as the contract says: 0 done, 1 bad data, 2 bad usage, 130 interrupted."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            with _terminated_as_interrupted():
                result = super().main(*args, **kwargs)
        except ClothoLongError as error:
            _fail(str(error), EXIT_USAGE if error.is_usage else EXIT_DATA)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output, such as `head`, has read enough
                _end_of_readers()
            _fail(_describe_os_error(error), EXIT_DATA)
        except (KeyboardInterrupt, click.Abort):
            _fail(
                "interrupted; what was finished is kept, run the same command again to continue",
                EXIT_INTERRUPTED,
            )
        except click.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 and later
                error.show()
                sys.exit(EXIT_USAGE)
            help_of = f"; see {error.ctx.command_path} --help" if error.ctx else ""
            _fail(f"{error.format_message().rstrip('.')}{help_of}", EXIT_USAGE)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except Exception as error:
            _fail(_describe_unforeseen(error), EXIT_DATA)
        # without standalone mode click returns the status of an early exit (--help) instead of exiting
        sys.exit(result if isinstance(result, int) else 0)


class CommandGroup(_OneLineErrors, click.Group):
    """A program of several commands, such as `clotho-long`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            _refuse_repeats(command, click.Context(command, info_name=name, parent=ctx), rest)
        return name, command, rest


class SingleCommand(_OneLineErrors):
    """A program that is one command, such as `python -m pipelines.NAME`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"context_settings": {"help_option_names": ["-h", "--help"]}, **kwargs})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _refuse_repeats(self, ctx, args)
        return super().parse_args(ctx, args)


def _refuse_repeats(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Of an option that is given twice, click takes the last and drops the others without a word."""
    *_, given = command.make_parser(ctx).parse_args(args=list(args))
    for option in given:
        once = isinstance(option, click.Option) and not (option.multiple or option.is_flag)
        if once and given.count(option) > 1:
            raise click.UsageError(f"{option.opts[0]} is given {given.count(option)} times", ctx)


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
        type=click.IntRange(1, MAX_JOBS),
        default=lambda: (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        ),
        show_default="all cores",
        help="Cores to use. The result does not depend on it.",
    )(command)


class FiniteRange(click.FloatRange):
    """A number in a range; `nan` and `inf`, which click lets pass, are none."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


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


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, with which batch systems end a job, does what Ctrl-C does: files are tidied, workers ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def interrupt(number: int, frame: object) -> None:
        if os.getpid() == owner:
            raise KeyboardInterrupt
        # a process that was forked from this one just ends
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _describe_os_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    remedy = {
        errno.ENOSPC: "; free some space and run the same command again, finished files are kept",
        errno.EACCES: "; check the permissions",
        errno.ENOENT: "; check the path",
    }.get(error.errno or 0, "")
    return f"{place}{(error.strerror or str(error)).lower()}{remedy}"


def _describe_unforeseen(error: Exception) -> str:
    """One line on what no module names: no memory, a missing extra, or a fault of ours.

    Raises:
        Exception: the error itself, where `TRACEBACK_SWITCH` is set and it would be called a fault of ours.
    """
    reason = next(iter(str(error).splitlines()), "")
    if isinstance(error, ModuleNotFoundError) and (needed := describe_missing(error.name or "")):
        return needed
    # torch's allocators raise a RuntimeError of their own; torch itself is not imported for it here
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or NO_MEMORY in str(error)
    ):
        return f"out of memory ({reason})" if reason else "out of memory"
    if os.environ.get(TRACEBACK_SWITCH):
        raise error
    return (
        f"{type(error).__name__} ({reason}), which this program should not end in; "
        f"please report it with what {TRACEBACK_SWITCH}=1 shows"
    )


def _end_of_readers() -> NoReturn:
    # the interpreter flushes on its way out, and would complain about the closed pipe
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(EXIT_DATA)


def _fail(message: str, status: int) -> NoReturn:
    line = " ".join(message.split())
    if len(line) > MAX_MESSAGE:  # somebody typed or stored a value of thousands of characters
        line = f"{line[: MAX_MESSAGE // 2]} ... {line[-MAX_MESSAGE // 2 :]}"
    click.echo(f"error: {line}", err=True)
    sys.exit(status)
