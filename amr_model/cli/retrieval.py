"""The command that finds moments in new recordings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amr_model.cli.exporting import export_options
from amr_model.cli.options import (
    CHECKPOINT,
    CHECKPOINT_HELP,
    EXISTING_PATH,
    FOLDER,
    WEIGHTS,
    chosen_device,
    cross_mask_option,
    device_option,
    lines_of,
    made_by_of,
    query_options,
    refuse,
    set_option,
)
from clotho_long.core.command_line import common_options, progress, set_up_logging, sound_options
from clotho_long.core.errors import AudioError, ConfigError

if TYPE_CHECKING:
    import torch

    from amr_model.answer.answers import Answer
    from amr_model.answer.exports.choice import Exports
    from amr_model.answer.finder import Finder
    from amr_model.answer.hearing import Encoded
    from amr_model.public.renaming import CrossMask
    from clotho_long.audio.choice import SoundChoice
    from clotho_long.features.extract import EncoderChoice

DEFAULT_ENCODER = "msclap-2023"


@click.command()
@click.argument("paths", metavar="RECORDING...", nargs=-1, required=True, type=EXISTING_PATH)
@query_options
@click.option(
    "--checkpoint",
    type=CHECKPOINT,
    help=f"{CHECKPOINT_HELP}  [default: none, the encoder's own similarity answers (S0)]",
)
@click.option("--encoder", help="Encoder of the features.  [default: the checkpoint's, else msclap-2023]")
@click.option("--weights", type=WEIGHTS, help="Weights of the encoder.  [default: those found or downloaded]")
@click.option(
    "--features",
    "features_dir",
    type=FOLDER,
    help="Keep the recordings' features here; what is there is not made again.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, help="Moments to report, at most."
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Leave out moments below.  [default: the calibrated one if the checkpoint has it, else 0; S0: 0.1]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line, recording by query.")
@click.option("--curve", "curve_folder", type=FOLDER, help="Write the curves as npz into this folder.")
@export_options
@cross_mask_option
@sound_options
@set_option
@device_option
@common_options
def predict(
    *,
    paths: Sequence[Path],
    spoken: Sequence[str],
    query_file: Path | None,
    checkpoint: str | None,
    encoder: str | None,
    weights: Path | None,
    features_dir: Path | None,
    top: int,
    min_score: float | None,
    as_json: bool,
    curve_folder: Path | None,
    exports: Exports,
    cross_mask: CrossMask | None,
    channels: Any,
    track: int | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Find the moments of recordings that sentences describe. Any length, any audio or video format.

    A folder stands for the recordings in it. With --features a second question about the same recordings is
    answered without encoding them again, and the first one uses all cores for them. Answers are printed as
    each recording is done; what was exported until Ctrl-C is kept. "nothing found" is an answer: no moment
    reaches --min-score.

    Without --checkpoint nothing was trained for the task: moments are read off the similarity of sound and
    sentence in the encoder's shared space (S0). docs/search.md says what that can do and what not.

    \b
    For example:
      amr predict street.mp3 --query "a dog barks" --query "a tram passes" \\
          --checkpoint run/checkpoint-best.pt --plot street.png --cut moments
      amr predict walks/ --features heard --queries sounds.txt --checkpoint run/checkpoint-best.pt \\
          --top 100 --min-score 0.4 --json --csv found.csv --clock %Y%m%d_%H%M%S
    """
    from amr_model.answer.answers import each_query
    from amr_model.answer.exports.naming import named_after, prefixes
    from amr_model.answer.exports.writing import exporting
    from amr_model.answer.hearing import encode_into, read_encoded
    from clotho_long.audio.choice import SoundChoice
    from clotho_long.core.jsonl import dump_line
    from clotho_long.core.work import Workers
    from clotho_long.features.recordings import audio_files, search

    set_up_logging(quiet=quiet)
    queries = each_query([*spoken, *lines_of(query_file)])
    watch = functools.partial(progress, quiet=quiet)
    where = chosen_device(device, jobs)
    sound = SoundChoice(channels=channels, track=track)
    retriever, chosen = finder_for(
        checkpoint,
        where,
        encoder=encoder,
        weights=weights,
        sound=sound,
        cross_mask=cross_mask,
        overrides=overrides,
    )
    made_by = made_by_of(retriever, checkpoint)
    recordings, problems = audio_files(paths)
    hear: Callable[[Path], Encoded] = retriever.hear
    if features_dir is not None:
        there = search(paths, sound=sound)
        workers = Workers(jobs=jobs, watch=watch)
        failed = encode_into(features_dir, there.recordings, chosen, retriever.windows, workers)
        problems = [*there.problems, *failed]
        left_out = {problem.item for problem in failed}
        ids = {path: name for path, name in there.ids.items() if name not in left_out}
        recordings = [path for path in recordings if path in ids]

        def hear_kept(path: Path) -> Encoded:
            return read_encoded(features_dir, path, ids[path])

        hear = hear_kept
    lines = [str(problem) for problem in problems]
    prefix_of = prefixes(recordings)
    with exporting(exports, recordings, sound=sound) as export:
        for recording in watch(recordings, total=len(recordings), label="listening", unit="recording"):
            try:
                answers = retriever.answer(
                    recording, hear(recording), queries, num_moments=top, min_score=min_score
                )
            except AudioError as error:  # the others are answered all the same
                lines.append(str(error))
                continue
            answers = exports.on_the_clock(answers)
            # now, not at the end: what was answered is not lost to Ctrl-C or to a later recording
            for answer in answers:
                click.echo(dump_line(answer.to_json(made_by)) if as_json else answer.to_text(), nl=False)
            export(answers)
            if curve_folder is not None:
                _write_curves(answers, curve_folder / named_after(recording, prefix_of, ".npz"), retriever)
    refuse(lines)


def finder_for(
    checkpoint: str | None,
    device: torch.device,
    *,
    encoder: str | None,
    weights: Path | None,
    sound: SoundChoice,
    cross_mask: CrossMask | None = None,
    overrides: tuple[str, ...] = (),
) -> tuple[Finder, EncoderChoice]:
    """Who answers, and the encoder that it hears with: a checkpoint's network, or without one S0.

    Raises:
        ConfigError: an override or an encoder that cannot be; an option that needs a checkpoint.
        TrainingError: the checkpoint cannot be read.
    """
    from amr_model.answer.retriever import Retriever, listener_for
    from amr_model.answer.similarity import SimilarityRetriever
    from amr_model.checkpoint import load_calibrated
    from amr_model.config import override_answering
    from clotho_long.features.encoder import encoder_device
    from clotho_long.features.extract import EncoderChoice

    if checkpoint is None:
        for option, value in (("--cross-mask", cross_mask), ("--set", overrides)):
            if value:
                raise ConfigError("concerns a checkpoint, and none is given", option, "give --checkpoint")
        name = encoder or DEFAULT_ENCODER
        chosen = EncoderChoice(name=name, weights=weights, device=encoder_device(name, str(device)))
        return SimilarityRetriever(encoder=chosen.load(), sound=sound), chosen
    network, config, calibration = load_calibrated(checkpoint, device, cross_mask=cross_mask)
    config = override_answering(config, overrides)
    chosen = listener_for(config, name=encoder, weights=weights, device=device)
    retriever = Retriever(
        network=network,
        config=config,
        encoder=chosen.load(),
        device=device,
        sound=sound,
        calibration=calibration,
    )
    return retriever, chosen


def _write_curves(answers: Sequence[Answer], file: Path, retriever: Finder) -> None:
    from amr_model.answer.curves import write_curves

    write_curves(
        file,
        [answer.query for answer in answers],
        [answer.curve for answer in answers if answer.curve is not None],
        readout=retriever.readout,
        row_s=retriever.asker.row_s,
    )


COMMANDS = (predict,)
