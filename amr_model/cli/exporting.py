"""The options that make files of answers: one decorator for every command that answers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from amr_model.answer.exports.choice import Exports, check_place, check_table
from amr_model.cli.options import FILE, FOLDER, Command, picture_file
from clotho_long.core.command_line import FiniteRange, together
from clotho_long.core.errors import ConfigError
from clotho_long.core.wall_clock import ClockPattern


def _folder(_: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """A folder that can be written to, said before any work."""
    if path is not None:
        check_place(path, parameter.opts[0])
    return path


def table_file(_: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """A file that a table can be written to, said before any work."""
    if path is not None:
        check_table(path, parameter.opts[0])
    return path


def _picture(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    return _folder(context, parameter, picture_file(context, parameter, path))


def _clock(_: click.Context, parameter: click.Parameter, text: str | None) -> ClockPattern | None:
    return None if text is None else ClockPattern(text)


def _file(name: str, help_text: str) -> Callable[[Command], Command]:
    return click.option(f"--{name}", f"export_{name}", type=FILE, callback=table_file, help=help_text)


def _files(name: str, help_text: str) -> Callable[[Command], Command]:
    return click.option(
        f"--{name}", f"export_{name}", type=FOLDER, callback=_folder, help=f"{help_text} into this folder."
    )


OPTIONS = (
    _file("csv", "Write a table of the moments, a row each."),
    _files("audacity", "Write a label track for each recording"),
    _file("raven", "Write one Raven selection table for all recordings."),
    _files("textgrid", "Write a Praat TextGrid for each recording"),
    _file("reaper", "Write regions for Reaper's Region/Marker Manager."),
    _files("srt", "Write subtitles for each recording"),
    _files("cut", "Write the moments as wav files"),
    click.option(
        "--pad",
        "export_pad",
        type=FiniteRange(min=0),
        help="Seconds to cut before and after each moment of --cut.  [default: 0]",
    ),
    click.option(
        "--plot",
        "export_plot",
        type=FILE,
        callback=_picture,
        help="Draw the moments into this picture.",
    ),
    click.option(
        "--clock",
        "export_clock",
        metavar="PATTERN",
        callback=_clock,
        help="How the names of recordings say when they began, such as %Y%m%d_%H%M%S: "
        "the text, --json and --csv then say when each moment was.",
    ),
)


def export_options(command: Command) -> Command:
    """The export options, which reach the command as one value: `exports`, an `Exports`."""

    @functools.wraps(command)
    def with_exports(
        *,
        export_csv: Path | None,
        export_audacity: Path | None,
        export_raven: Path | None,
        export_textgrid: Path | None,
        export_reaper: Path | None,
        export_srt: Path | None,
        export_cut: Path | None,
        export_pad: float | None,
        export_plot: Path | None,
        export_clock: ClockPattern | None,
        **others: Any,
    ) -> Any:
        if export_pad is not None and export_cut is None:
            raise ConfigError("pads what --cut writes", "--pad", "give --cut too")
        tables = [file.absolute() for file in (export_csv, export_raven, export_reaper) if file is not None]
        if len(set(tables)) < len(tables):
            raise ConfigError(
                "two tables are to be one file", "--csv, --raven, --reaper", "name a file for each"
            )
        exports = Exports(
            csv=export_csv,
            raven=export_raven,
            reaper=export_reaper,
            plot=export_plot,
            audacity=export_audacity,
            textgrid=export_textgrid,
            srt=export_srt,
            cut=export_cut,
            pad_s=export_pad or 0.0,
            clock=export_clock,
        )
        return command(exports=exports, **others)

    return together(*OPTIONS)(with_exports)
