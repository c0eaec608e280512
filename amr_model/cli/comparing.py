"""The command that compares two evaluations."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amr_model.cli.exporting import table_file
from amr_model.cli.options import EXISTING_PATH, FILE
from clotho_long.core.command_line import set_up_logging
from clotho_long.core.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from clotho_long.core.predictions import Prediction
    from clotho_long.core.records import Query


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What a system answered, and what it was asked where the run says so."""

    place: Path
    predictions: list[Prediction]
    annotations: Path | None = None
    fingerprint: str = ""  # of the queries


@click.command()
@click.argument("run_a", type=EXISTING_PATH)
@click.argument("run_b", type=EXISTING_PATH)
@click.option(
    "--annotations", type=FILE, help="Queries, one JSON line each.  [default: those that the runs name]"
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="List so many queries that differ most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--csv", "csv_file", type=FILE, callback=table_file, help="Write a table, a row each query.")
def compare(
    *, run_a: Path, run_b: Path, annotations: Path | None, top: int, as_json: bool, csv_file: Path | None
) -> None:
    """Compare two evaluations on the same queries: differences with intervals, and where they come from.

    A run is a folder that `amr evaluate --out` wrote, or a Lighthouse-format prediction file, which needs
    --annotations. A query that one of them does not answer is a miss of that one.

    \b
    For example:
      amr compare evaluation-s8 evaluation-s9 --csv queries.csv
      amr compare baseline.jsonl ours.jsonl --annotations castella_test_release.jsonl
    """
    from amr_model.scoring import compare as scoring
    from clotho_long.core.files import write_text

    set_up_logging(quiet=False)
    runs = _read_run(run_a), _read_run(run_b)
    file = _asked_file(runs, annotations)
    queries = _read_queries(file, runs)
    for run in runs:
        scoring.check_asked(queries, run.predictions, run.place)
    comparison = scoring.compare(queries, runs[0].predictions, runs[1].predictions)
    if as_json:
        plain = dataclasses.asdict(comparison)
        differ = plain.pop("queries")
        told = {"a": str(run_a), "b": str(run_b), "annotations": str(file), "queries": len(differ), **plain}
        click.echo(json.dumps({**told, "most_different": differ[:top]}, indent=2))
    else:
        names = [f"A: {run_a}", f"B: {run_b}"]
        click.echo("\n".join([*names, *scoring.as_lines(comparison, top=top)]))
    if csv_file is not None:
        from amr_model.answer.exports.table import as_csv

        write_text(csv_file, as_csv(scoring.as_table(comparison)))


def _read_run(place: Path) -> _Run:
    """A folder of `amr evaluate --out`, or a prediction file.

    Raises:
        ManifestError: it is neither.
    """
    from clotho_long.core.predictions import read_predictions

    if not place.is_dir():
        return _Run(place=place, predictions=read_predictions(place))
    predictions = read_predictions(place / "predictions.jsonl")
    note = place / "made_of.json"
    if not note.exists():  # of an earlier version, or put there by others
        return _Run(place=place, predictions=predictions)
    try:
        (source,) = json.loads(note.read_bytes())["asked"]
        return _Run(
            place=place,
            predictions=predictions,
            annotations=Path(source["annotations"]) if source["annotations"] else None,
            fingerprint=str(source["queries_fingerprint"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ManifestError(
            "does not say what was asked", note, "write the run again with `amr evaluate --out`"
        ) from None


def _asked_file(runs: tuple[_Run, _Run], given: Path | None) -> Path:
    """The annotations that both runs answer.

    Raises:
        ManifestError: they were asked different queries.
        ConfigError: nobody says what they were asked.
    """
    a, b = runs
    if a.fingerprint and b.fingerprint and a.fingerprint != b.fingerprint:
        raise ManifestError(
            f"was asked other queries than {a.place}", b.place, "evaluate both on the same annotations"
        )
    named = [given] if given is not None else [run.annotations for run in runs if run.annotations is not None]
    if not named:
        raise ConfigError("the runs do not name what they were asked", "--annotations", "give the file")
    return next((file for file in named if file is not None and file.exists()), named[0])


def _read_queries(file: Path, runs: tuple[_Run, _Run]) -> list[Query]:
    """The queries of a file, which are those that the runs were asked.

    Raises:
        ManifestError: the file is missing or malformed, or holds other queries.
    """
    from amr_model.data.sources import fingerprint_queries
    from clotho_long.core.annotations import read_annotations

    queries = read_annotations(file)
    fingerprint = fingerprint_queries(queries)
    for run in runs:
        if run.fingerprint not in ("", fingerprint):
            raise ManifestError(
                f"holds other queries than {run.place} was asked", file, "give the file that it was asked"
            )
    return queries


COMMANDS = (compare,)
