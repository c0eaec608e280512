"""The commands that answer annotated queries and score answers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amr_model.cli.options import (
    FILE,
    FOLDER,
    chosen_device,
    cross_mask_option,
    device_option,
    say,
    set_option,
    set_options,
)
from clotho_long.core.command_line import common_options, set_up_logging
from clotho_long.core.errors import ConfigError
from clotho_long.core.seeds import MAX_SEED

if TYPE_CHECKING:
    from amr_model.answer.run import Asker, Found
    from amr_model.data.sets import RetrievalSet
    from amr_model.public.renaming import CrossMask
    from amr_model.scoring.absent import AbsentReport
    from clotho_long.core.records import Query

ABSENT_SEED = 0  # which other recordings are asked; another set than calibration asks

readout_option = click.option(
    "--readout",
    type=click.Choice(["curve", "decoder", "both"]),
    help="Who answers: moments read off the curve of seconds, the decoder's windows, or both.  "
    "[default: the checkpoint's]",
)


@click.command()
@set_options
@readout_option
@click.option("--out", type=FOLDER, help="Write predictions, metrics.json, table.txt and metrics.png here.")
@click.option(
    "--absent",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Also ask each query of so many other recordings, which do not hold it.",
)
@click.option(
    "--official", is_flag=True, help="Leave unanswered queries out, as the official evaluator does."
)
@cross_mask_option
@set_option
@device_option
@common_options
def evaluate(
    *,
    checkpoint: str,
    annotations: Path,
    features: Path,
    readout: str | None,
    out: Path | None,
    absent: int,
    official: bool,
    cross_mask: CrossMask | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Predict annotated queries and score the predictions: metrics, intervals, breakdowns, calibration.

    \b
    For example:
      amr evaluate --checkpoint run/checkpoint-best.pt --annotations castella_test_release.jsonl \\
          --features castella/features --out evaluation
      amr evaluate --checkpoint run/checkpoint-best.pt --annotations castella_test_release.jsonl \\
          --features castella/features --readout curve --absent 3
    """
    from amr_model.answer.run import as_predictions
    from amr_model.scoring.absent import absent_lines
    from amr_model.scoring.report import evaluate as score
    from amr_model.scoring.report import plot, table
    from clotho_long.core.files import write_json, write_text
    from clotho_long.core.predictions import write_predictions

    set_up_logging(quiet=quiet)
    data, asker = _load(
        checkpoint,
        annotations,
        features,
        _reading(readout, overrides),
        device,
        jobs,
        cross_mask=cross_mask,
        quiet=quiet,
    )
    found = asker.answers(data)
    predictions = as_predictions(data.queries, found)
    if out is not None:
        # before they are scored: a file without moments can still be predicted
        write_predictions(out / "predictions.jsonl", predictions)
        write_json(out / "made_of.json", _made_of(checkpoint, data))
    report = score(data.queries, predictions, official=official)
    text = table(report)
    if absent:
        report["absent"] = _absent(data, asker, found, rounds=absent)
        text += "\n".join(absent_lines(report["absent"])) + "\n"
    click.echo(text, nl=False)
    if out is not None:
        write_json(out / "metrics.json", report)
        write_text(out / "table.txt", text)
        plot(report, out / "metrics.png")
        say(f"wrote {out}", quiet=quiet)


@click.command()
@click.option("--predictions", "prediction_file", required=True, type=FILE, help="Lighthouse-format file.")
@click.option("--annotations", required=True, type=FILE, help="Queries, one JSON line each.")
@click.option(
    "--official", is_flag=True, help="Leave unanswered queries out, as the official evaluator does."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--out", type=FILE, help="Also write everything as JSON to this file.")
@common_options
def metrics(
    *,
    prediction_file: Path,
    annotations: Path,
    official: bool,
    as_json: bool,
    out: Path | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Score any Lighthouse-format prediction file, with the official evaluator's numbers.

    \b
    For example:
      amr metrics --predictions run/predictions-valid.jsonl --annotations castella_val_release.jsonl
    """
    from amr_model.scoring.report import evaluate as score
    from amr_model.scoring.report import table
    from clotho_long.core.annotations import read_annotations
    from clotho_long.core.files import write_json
    from clotho_long.core.predictions import read_predictions

    set_up_logging(quiet=quiet)
    report = score(read_annotations(annotations), read_predictions(prediction_file), official=official)
    click.echo(json.dumps(report, indent=2) + "\n" if as_json else table(report), nl=False)
    if out is not None:
        write_json(out, report)


@click.command()
@set_options
@click.option("--out", required=True, type=FILE, help="The checkpoint to write.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Of the absent queries.")
@cross_mask_option
@set_option
@device_option
@common_options
def calibrate(
    *,
    checkpoint: str,
    annotations: Path,
    features: Path,
    out: Path,
    seed: int,
    cross_mask: CrossMask | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Fit how a checkpoint's curve is read, on a validation set; training S9 does it by itself.

    Any checkpoint can be calibrated, a public one too, and then answers by its curve. Never use the test set.

    \b
    For example:
      amr calibrate --checkpoint run/checkpoint-best.pt --annotations castella_val_release.jsonl \\
          --features castella/features --out calibrated.pt
    """
    from amr_model.answer.calibrate import calibrate as fit
    from amr_model.checkpoint import load_checkpoint, save_checkpoint

    set_up_logging(quiet=quiet)
    chosen = overrides if _names_readout(overrides) else (*overrides, "inference.readout=curve")
    data, asker = _load(
        checkpoint, annotations, features, chosen, device, jobs, cross_mask=cross_mask, quiet=quiet
    )
    calibration = fit(asker, data, seed=seed)
    before = load_checkpoint(checkpoint, cross_mask=cross_mask)
    save_checkpoint(
        out, dataclasses.replace(before, config=asker.config, training=None, calibration=calibration)
    )
    click.echo("\n".join([*calibration.lines(), f"wrote {out}"]))


@click.command()
@set_options
@readout_option
@click.option("--out", required=True, type=FILE, help="The submission file, JSON lines.")
@cross_mask_option
@set_option
@device_option
@common_options
def submit(
    *,
    checkpoint: str,
    annotations: Path,
    features: Path,
    readout: str | None,
    out: Path,
    cross_mask: CrossMask | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Write the submission file of DCASE 2026 Task 6, checked.

    Every qid once, at most ten windows in order of score, each inside its recording. The annotations need no
    moments. A public checkpoint is ranked by our procedure here: the reference's breaks these rules.

    \b
    For example:
      amr submit --checkpoint run/checkpoint-best.pt --annotations evaluation_set.jsonl \\
          --features evaluation/features --out submission.jsonl
    """
    from amr_model.answer.run import as_predictions
    from amr_model.answer.submission import check_submission
    from clotho_long.core.files import write_json
    from clotho_long.core.predictions import write_predictions

    set_up_logging(quiet=quiet)
    data, asker = _load(
        checkpoint,
        annotations,
        features,
        _reading(readout, overrides),
        device,
        jobs,
        cross_mask=cross_mask,
        quiet=quiet,
        valid_windows=True,
    )
    predictions = as_predictions(data.queries, asker.answers(data))
    check_submission(predictions, data.queries)
    count = write_predictions(out, predictions)
    write_json(out.with_suffix(".made_of.json"), _made_of(checkpoint, data))
    click.echo(f"{out}: {count} queries, {sum(len(p.moments) for p in predictions)} windows, checked")


def _load(
    checkpoint: str,
    annotations: Path,
    features: Path,
    overrides: Sequence[str],
    device: str,
    jobs: int,
    *,
    cross_mask: CrossMask | None,
    quiet: bool,
    valid_windows: bool = False,
) -> tuple[RetrievalSet, Asker]:
    """The queries of an annotation file and a checkpoint that is ready to answer them."""
    from amr_model.answer.run import Asker
    from amr_model.checkpoint import load_calibrated
    from amr_model.config import InferenceConfig, override_answering
    from amr_model.data.sets import RetrievalSet

    where = chosen_device(device, jobs)
    network, config, calibration = load_calibrated(checkpoint, where, cross_mask=cross_mask)
    if valid_windows and config.inference.procedure == "reference":
        config = dataclasses.replace(config, inference=InferenceConfig())
        say("the reference's procedure is replaced by ours, whose windows are valid", quiet=quiet)
    config = override_answering(config, overrides)
    if config.inference.readout != "decoder" and calibration is None:
        say(
            f"{checkpoint} is not calibrated: its curve is read by its shape (`amr calibrate` fits it)",
            quiet=quiet,
        )
    data = RetrievalSet.load(annotations, features, config, device=where)
    say("; ".join(data.report.lines()), quiet=quiet)
    asker = Asker(
        network=network,
        config=config,
        device=where,
        calibration=calibration,
        num_moments=config.inference.num_moments,
    )
    return data, asker


def _made_of(checkpoint: str, data: RetrievalSet) -> dict[str, Any]:
    """Which checkpoint answered what, by content; written beside the answers."""
    from amr_model.checkpoint import checkpoint_fingerprint, made_by

    return {
        "made_by": made_by(),
        "checkpoint": checkpoint,
        "checkpoint_fingerprint": checkpoint_fingerprint(checkpoint),
        "asked": [dataclasses.asdict(source) for source in data.sources],
    }


def _absent(data: RetrievalSet, asker: Asker, found: Sequence[Found], *, rounds: int) -> AbsentReport:
    """Every query of a set asked of other recordings of it, beside what it finds in its own."""
    from amr_model.answer.run import as_predictions
    from amr_model.scoring.absent import absent_report
    from clotho_long.core.seeds import generator

    queries: list[Query] = []
    elsewhere: list[Found] = []
    for place in range(rounds):
        other = data.asked_elsewhere(generator(ABSENT_SEED, "absent", str(place)))
        if other is None:
            raise ConfigError(
                "every recording holds every caption", "--absent", "take a set of several recordings"
            )
        queries += other.queries
        elsewhere += asker.answers(other)
    by_curve = asker.calibration is not None and asker.config.inference.readout != "decoder"
    return absent_report(
        as_predictions(data.queries, found),
        as_predictions(queries, elsewhere),
        queries,
        presence=([one.presence for one in found], [one.presence for one in elsewhere]),
        min_score=asker.calibration.min_score if by_curve and asker.calibration is not None else 0.0,
    )


def _reading(readout: str | None, overrides: Sequence[str]) -> Sequence[str]:
    """The overrides with what `--readout` names."""
    return overrides if readout is None else [*overrides, f"inference.readout={readout}"]


def _names_readout(overrides: Sequence[str]) -> bool:
    return any(text.partition("=")[0].strip() == "inference.readout" for text in overrides)


COMMANDS = (evaluate, metrics, submit, calibrate)
