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
    override_answering,
    say,
    set_option,
    set_options,
)
from clotho_long.core.command_line import common_options, set_up_logging

if TYPE_CHECKING:
    from amr_model.data.sets import RetrievalSet
    from amr_model.public.renaming import CrossMask
    from clotho_long.core.predictions import Prediction


@click.command()
@set_options
@click.option("--out", type=FOLDER, help="Write predictions, metrics.json, table.txt and metrics.png here.")
@click.option(
    "--official", is_flag=True, help="Leave unanswered queries out, as the official evaluator does."
)
@cross_mask_option
@set_option
@device_option
@common_options
def evaluate(
    *,
    checkpoint: Path,
    annotations: Path,
    features: Path,
    out: Path | None,
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
    """
    from amr_model.scoring.report import evaluate as score
    from amr_model.scoring.report import plot, table
    from clotho_long.core.files import write_json, write_text
    from clotho_long.core.predictions import write_predictions

    set_up_logging(quiet=quiet)
    data, predictions = _predict(
        checkpoint, annotations, features, overrides, device, jobs, cross_mask=cross_mask, quiet=quiet
    )
    if out is not None:
        # before they are scored: a file without moments can still be predicted
        write_predictions(out / "predictions.jsonl", predictions)
        write_json(out / "made_of.json", _made_of(checkpoint, data))
    report = score(data.queries, predictions, official=official)
    click.echo(table(report), nl=False)
    if out is not None:
        write_json(out / "metrics.json", report)
        write_text(out / "table.txt", table(report))
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
@click.option("--out", required=True, type=FILE, help="The submission file, JSON lines.")
@cross_mask_option
@set_option
@device_option
@common_options
def submit(
    *,
    checkpoint: Path,
    annotations: Path,
    features: Path,
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
    from amr_model.answer.submission import check_submission
    from clotho_long.core.files import write_json
    from clotho_long.core.predictions import write_predictions

    set_up_logging(quiet=quiet)
    data, predictions = _predict(
        checkpoint,
        annotations,
        features,
        overrides,
        device,
        jobs,
        cross_mask=cross_mask,
        quiet=quiet,
        valid_windows=True,
    )
    check_submission(predictions, data.queries)
    count = write_predictions(out, predictions)
    write_json(out.with_suffix(".made_of.json"), _made_of(checkpoint, data))
    click.echo(f"{out}: {count} queries, {sum(len(p.windows) for p in predictions)} windows, checked")


def _predict(
    checkpoint: Path,
    annotations: Path,
    features: Path,
    overrides: Sequence[str],
    device: str,
    jobs: int,
    *,
    cross_mask: CrossMask | None,
    quiet: bool,
    valid_windows: bool = False,
) -> tuple[RetrievalSet, list[Prediction]]:
    """The queries of an annotation file and what a checkpoint answers to them."""
    from amr_model.answer.run import predict_set
    from amr_model.checkpoint import load_model
    from amr_model.config import InferenceConfig
    from amr_model.data.sets import RetrievalSet

    where = chosen_device(device, jobs)
    network, config = load_model(checkpoint, where, cross_mask=cross_mask)
    if valid_windows and config.inference.procedure == "reference":
        config = dataclasses.replace(config, inference=InferenceConfig())
        say("the reference's procedure is replaced by ours, whose windows are valid", quiet=quiet)
    config = override_answering(config, overrides)
    data = RetrievalSet.load(annotations, features, config, device=where)
    say("; ".join(data.report.lines()), quiet=quiet)
    return data, predict_set(network, data, config)


def _made_of(checkpoint: Path, data: RetrievalSet) -> dict[str, Any]:
    """Which checkpoint answered what, by content; written beside the answers."""
    from amr_model.checkpoint import made_by
    from clotho_long.core.files import fingerprint_file

    return {
        "made_by": made_by(),
        "checkpoint": str(checkpoint),
        "checkpoint_fingerprint": fingerprint_file(checkpoint),
        "asked": [dataclasses.asdict(source) for source in data.sources],
    }


COMMANDS = (evaluate, metrics, submit)
