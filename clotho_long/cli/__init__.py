"""`clotho-long`: from raw audio to a corpus with features."""

from __future__ import annotations

import click

from clotho_long import __version__
from clotho_long.cli import corpus, features
from clotho_long.core.command_line import CommandGroup


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="audio-moment-retrieval")
def main() -> None:
    """Regenerate Clotho-Moment-Long from raw audio, and extract features of recordings and queries.

    \b
    The whole way in one command:
      clotho-long build --clotho clotho_v2.1 --walking-tours WalkingTourVideos --out corpus
    """


for command in (*corpus.COMMANDS, *features.COMMANDS):
    main.add_command(command)
