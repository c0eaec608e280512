"""The command that finds moments in new recordings."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amr_model.cli.options import EXISTING_PATH, FILE, FOLDER, chosen_device, device_option, set_option
from clotho_long.core.command_line import common_options, progress, set_up_logging
from clotho_long.core.errors import AudioError, ClothoLongError
from clotho_long.core.figures import check_plot_suffix

if TYPE_CHECKING:
    from amr_model.answer.retriever import Answer


@click.command()
@click.argument("paths", metavar="RECORDING...", nargs=-1, required=True, type=EXISTING_PATH)
@click.option("--query", "queries", required=True, multiple=True, help="A sentence; may be repeated.")
@click.option("--checkpoint", required=True, type=FILE, help="Ours, or a public one.")
@click.option("--encoder", help="Encoder of the features.  [default: the checkpoint's]")
@click.option("--weights", type=FILE, help="Weights of the encoder.  [default: those found or downloaded]")
@click.option(
    "--features",
    "features_dir",
    type=FOLDER,
    help="Keep the recordings' features here; what is there is not made again.",
)
@click.option("--top", type=click.IntRange(1, 10), default=5, show_default=True, help="Moments to report.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object for each recording and query.")
@click.option("--plot", "plot_file", type=FILE, help="Draw the moments into this picture.")
@click.option("--cut", "cut_folder", type=FOLDER, help="Write the moments as wav files into this folder.")
@set_option
@device_option
@common_options
def predict(
    *,
    paths: Sequence[Path],
    queries: Sequence[str],
    checkpoint: Path,
    encoder: str | None,
    weights: Path | None,
    features_dir: Path | None,
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

    A folder stands for the recordings in it. With --features a second question about the same recordings is
    answered without encoding them again, and the first one uses all cores for them.

    \b
    For example:
      amr predict street.mp3 --query "a dog barks" --query "a tram passes" \\
          --checkpoint run/checkpoint-best.pt --plot street.png --cut moments
      amr predict walks/ --features heard --query "a bell rings" --checkpoint run/checkpoint-best.pt
    """
    from amr_model.answer.retriever import Retriever, encode_into, listener_for, plot_answers, read_encoded
    from amr_model.checkpoint import load_model
    from clotho_long.core.settings import override
    from clotho_long.core.work import Workers
    from clotho_long.features.recordings import audio_files, find_recordings

    if plot_file is not None:
        check_plot_suffix(plot_file)
    set_up_logging(quiet=quiet)
    watch = functools.partial(progress, quiet=quiet)
    where = chosen_device(device, jobs)
    network, config = load_model(checkpoint, where)
    config = override(config, overrides)
    ears = listener_for(config, name=encoder, weights=weights, device=where)
    retriever = Retriever(network=network, config=config, encoder=ears.load(), device=where)
    recordings, problems = audio_files(paths)
    hear = retriever.hear
    if features_dir is not None:
        found, problems = find_recordings(paths)
        workers = Workers(jobs=jobs, watch=watch)
        failed = encode_into(features_dir, found, ears, config.targets.windows, workers)
        problems += failed
        there = {item.recording_id for item in found} - {problem.item for problem in failed}
        recordings = [path for path in dict.fromkeys(recordings) if path.stem in there]
        hear = functools.partial(read_encoded, features_dir)
    lines = [str(problem) for problem in problems]
    answers: list[Answer] = []
    for recording in watch(recordings, total=len(recordings), label="listening", unit="recording"):
        try:
            answers += retriever.answer(recording, hear(recording), queries, num_windows=top)
        except AudioError as error:  # the others are answered all the same
            lines.append(str(error))
    for answer in answers:
        click.echo(json.dumps(answer.to_json()) if as_json else answer.to_text(), nl=as_json)
    if cut_folder is not None:
        _cut(answers, cut_folder, num_queries=len(queries))
    if plot_file is not None and answers:
        plot_answers(answers, plot_file)
    _refuse(lines)


def _cut(answers: Sequence[Answer], folder: Path, *, num_queries: int) -> None:
    """Write the moments of all answers, which come recording by recording; no cut replaces another one."""
    from amr_model.answer.retriever import cut_moments

    recordings = list(dict.fromkeys(answer.recording for answer in answers))
    same_names = len({path.stem for path in recordings}) < len(recordings)
    for number, answer in enumerate(answers):
        prefix = f"r{recordings.index(answer.recording) + 1}-" if same_names else ""
        prefix += f"q{number % num_queries + 1}-" if num_queries > 1 else ""
        cut_moments(answer, folder, prefix=prefix)


def _refuse(problems: Sequence[str]) -> None:
    """End with status 1 if any recording was left out, a line for each."""
    if len(problems) == 1:
        raise ClothoLongError(problems[0])
    for problem in problems:
        click.echo(f"  {problem}", err=True)
    if problems:
        raise ClothoLongError(f"{len(problems)} recordings were left out", fix="see the lines above")


COMMANDS = (predict,)
