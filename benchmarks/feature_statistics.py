"""What a folder of features looks like, beside what real MS-CLAP features look like.

    python -m benchmarks.feature_statistics corpus/features
    python -m benchmarks.feature_statistics A/features B/features

A folder holds `clap/*.npz` and, if there are queries, `clap_text/*.npz`. Long recordings vary more around
their mean, and a participation ratio grows with the number of rows: to compare like with like, `--rows` takes
the start of each recording, and `--group` means over groups of so many recordings.
"""

from __future__ import annotations

from pathlib import Path

import click

from clotho_long.core.command_line import SingleCommand
from clotho_long.features.statistics import (
    DIRECTIONS,
    LAGS_S,
    audio_statistics,
    mean_statistics,
    read_folder,
    text_statistics,
)


@click.command(cls=SingleCommand)
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    metavar="FOLDER...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--rows", type=click.IntRange(min=1), help="Only so many rows of each recording.")
@click.option("--group", type=click.IntRange(min=2), help="Mean over groups of so many recordings.")
def main(folders: tuple[Path, ...], rows: int | None, group: int | None) -> None:
    """Print a table of the statistics of each folder."""
    columns = [described(folder, rows, group) for folder in folders]
    click.echo(f"| | {' | '.join(map(str, folders))} |")
    click.echo(f"| --- |{' --- |' * len(folders)}")
    for fact in columns[0]:
        click.echo(f"| {fact} | {' | '.join(column.get(fact, '') for column in columns)} |")


def described(folder: Path, num_rows: int | None, group: int | None) -> dict[str, str]:
    """The statistics of one folder, fact by fact."""
    audio, text = read_folder(folder)
    audio = [rows[:num_rows] for rows in audio]
    size = group or len(audio)
    starts = range(0, len(audio) - size + 1, size)
    sound = mean_statistics([audio_statistics(audio[start : start + size]) for start in starts])
    lags, directions = (", ".join(map(str, values)) for values in (LAGS_S, DIRECTIONS))
    facts = {
        "recordings; rows": f"{sound.recordings}; {sound.rows}",
        "squared length of the mean over all rows": f"{sound.mean_squared:.3f}",
        "variance between recordings; within": f"{sound.variance_between:.3f}; {sound.variance_within:.3f}",
        f"autocorrelation within a recording at {lags} s": " ".join(
            f"{value:.2f}" for value in sound.autocorrelation
        ),
        "participation ratio of the variance within": f"{sound.participation:.1f}",
        f"its share in the first {directions} directions, %": ", ".join(
            f"{100 * share:.0f}" for share in sound.direction_shares
        ),
        "norm of a row before scaling": f"{sound.row_norm:.2f} +- {sound.row_norm_spread:.2f}",
    }
    if len(text) > 1:
        states = text_statistics(text)
        facts |= {
            "queries; tokens": f"{states.queries}; {states.tokens}",
            "text states: squared length of the mean": f"{states.mean_squared:.2f}",
            "cosine of last tokens of different queries; of first tokens": (
                f"{states.last_cosine:.2f}; {states.first_cosine:.2f}"
            ),
        }
    return facts


if __name__ == "__main__":
    main()
