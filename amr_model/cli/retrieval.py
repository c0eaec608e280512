"""The command that finds moments in new recordings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from amr_model.cli.options import EXISTING_FILE, FILE, FOLDER, chosen_device, device_option, set_option
from clotho_long.core.command_line import common_options, progress, set_up_logging


@click.command()
@click.argument("recordings", nargs=-1, required=True, type=EXISTING_FILE)
@click.option("--query", "queries", required=True, multiple=True, help="A sentence; may be repeated.")
@click.option("--checkpoint", required=True, type=FILE, help="Ours, or a public one.")
@click.option("--encoder", help="Encoder of the features.  [default: the checkpoint's]")
@click.option("--weights", type=FILE, help="Weights of the encoder.  [default: those found or downloaded]")
@click.option("--top", type=click.IntRange(1, 10), default=5, show_default=True, help="Moments to report.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object for each recording and query.")
@click.option("--plot", "plot_file", type=FILE, help="Draw the moments into this picture.")
@click.option("--cut", "cut_folder", type=FOLDER, help="Write the moments as wav files into this folder.")
@set_option
@device_option
@common_options
def predict(
    *,
    recordings: Sequence[Path],
    queries: Sequence[str],
    checkpoint: Path,
    encoder: str | None,
    weights: Path | None,
    top: int,
    as_json: bool,
    plot_file: Path | None,
    cut_folder: Path | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Find the moments of recordings that sentences describe. Any length, any audio or video format.

    \b
    For example:
      amr predict street.mp3 --query "a dog barks" --query "a tram passes" \\
          --checkpoint run/checkpoint-best.pt --plot street.png --cut moments
    """
    from amr_model.checkpoint import load_model
    from amr_model.predict import cut_moments, find_moments, load_listener, plot_answers
    from clotho_long.core.config import override

    set_up_logging(quiet=quiet)
    where = chosen_device(device, jobs)
    network, config = load_model(checkpoint, where)
    config = override(config, overrides)
    listener = load_listener(config, name=encoder, weights=weights, device=where)
    answers = []
    for recording in progress(
        recordings, total=len(recordings), label="listening", unit="recording", quiet=quiet
    ):
        answers += find_moments(recording, queries, network, config, listener, num_windows=top, device=where)
    for number, answer in enumerate(answers):
        click.echo(json.dumps(answer.to_json()) if as_json else answer.to_text(), nl=as_json)
        if cut_folder is not None:
            of_recording, of_query = divmod(number, len(queries))
            # no cut replaces another one: two folders may hold a recording of the same name
            prefix = (
                f"r{of_recording + 1}-" if len({path.stem for path in recordings}) < len(recordings) else ""
            )
            prefix += f"q{of_query + 1}-" if len(queries) > 1 else ""
            cut_moments(answer, cut_folder, prefix=prefix)
    if plot_file is not None:
        plot_answers(answers, plot_file)


COMMANDS = (predict,)
