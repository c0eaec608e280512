"""`amr`: training, evaluation and retrieval. Commands parse, call one function, report."""

from __future__ import annotations

from importlib import metadata

import click

from amr_model.cli import comparing, retrieval, scoring, searching, serving, training
from clotho_long import __version__
from clotho_long.core.command_line import CommandGroup


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="audio-moment-retrieval")
def main() -> None:
    """Train, evaluate and use models that find the moments of a recording that a sentence describes.

    \b
    For example:
      amr train --system S8 --train train.jsonl --valid valid.jsonl --features features --out run
      amr predict street.wav --query "a dog barks twice" --checkpoint run/checkpoint-best.pt
    """


# `ablate` belongs to the pipelines, which use this package and not the reverse: they announce it so.
COMMANDS_OF_OTHERS = "amr.commands"

for command in (
    *training.COMMANDS,
    *scoring.COMMANDS,
    *comparing.COMMANDS,
    *retrieval.COMMANDS,
    *searching.COMMANDS,
    *serving.COMMANDS,
):
    main.add_command(command)
for entry_point in metadata.entry_points(group=COMMANDS_OF_OTHERS):
    main.add_command(entry_point.load())
