r"""Plans a full-size corpus from the facts that Clotho-Moment publishes, without any audio.

    python -m pipelines.make_manifest PUBLISHED --out manifests/clotho-moment-long
    python -m pipelines.make_manifest PUBLISHED --preset clotho-moment-short \
        --out manifests/clotho-moment-short

PUBLISHED holds `foregrounds_{train,valid,test}.json` (name -> trimmed duration of every Clotho file) and
`backgrounds.csv` (length of the ten Walking Tours). The manifest gives event names, captions by number,
levels and times: whoever has the two data sets makes exactly this corpus of it (`plan --manifest`).
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from pathlib import Path

import click

from clotho_long import __version__
from clotho_long.core.command_line import SingleCommand
from clotho_long.core.errors import ManifestError
from clotho_long.core.files import atomic_path, write_json, write_text
from clotho_long.core.jsonl import write_records
from clotho_long.core.records import SPLITS
from clotho_long.core.settings import to_plain
from clotho_long.recipe.lengths import castella_lengths
from clotho_long.recipe.records import ClipRecipe
from clotho_long.recipe.sample import Candidate
from clotho_long.recipe.spec import PRESETS
from clotho_long.stages.plan import Tour, number_queries, sample_split
from clotho_long.stages.stats import (
    Distributions,
    distributions,
    lengths_comparison,
    plot_distributions,
    table_of,
)


def published_events(folder: Path, split: str) -> list[Candidate]:
    """The events of a split with their trimmed durations."""
    path = folder / f"foregrounds_{split}.json"
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
        return [
            Candidate(
                event_id=name,
                trim_onset_s=None,
                duration_s=event["duration"],
                caption_indices=tuple(range(len(event["captions"]))),
            )
            for name, event in events.items()
        ]
    except (OSError, ValueError, KeyError) as error:
        raise ManifestError(
            f"cannot be read ({error!r})", path, "give the folder of the published facts"
        ) from None


def published_tours(folder: Path, split: str) -> list[Tour]:
    """The tours of a split, as long as their last published clip says."""
    path = folder / "backgrounds.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Tour(background_id=row["recording"], length_s=float(row["last_clip_end_s"]))
                for row in csv.DictReader(file)
                if row["split"] == split
            ]
    except (OSError, ValueError, KeyError) as error:
        raise ManifestError(
            f"cannot be read ({error!r})", path, "give the folder of the published facts"
        ) from None


def write_manifest(folder: Path, recipes_of: dict[str, list[ClipRecipe]], *, preset: str, seed: int) -> None:
    """Write recipes, a page of settings and counts, the picture, and the check sums."""
    for split, recipes in recipes_of.items():
        write_records(folder / "recipes" / f"{split}.jsonl.gz", recipes, ClipRecipe)
    values = {split: distributions(recipes) for split, recipes in recipes_of.items()}
    write_json(
        folder / "manifest.json",
        {
            "preset": preset,
            "seed": seed,
            "version": __version__,
            "settings": to_plain(PRESETS[preset]),
            "clips": {split: len(recipes) for split, recipes in recipes_of.items()},
            "queries": {split: sum(len(r.events) for r in recipes) for split, recipes in recipes_of.items()},
        },
    )
    plot_distributions(values, folder / "distributions.png", title=f"{preset}, seed {seed}")
    if PRESETS[preset].event_lengths is not None:
        plot_lengths(values, folder / "lengths.png")
    names = ["manifest.json", *(f"recipes/{split}.jsonl.gz" for split in recipes_of)]
    sums = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    write_text(folder / "SHA256SUMS", "".join(sums))


def plot_lengths(values_of: dict[str, Distributions], path: Path) -> None:
    """Draw how many moments are at most how long, beside CASTELLA's training split."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for split, values in values_of.items():
        axes.ecdf(values.moment_s, label=f"{split}, {len(values.moment_s):,} moments")
    real = castella_lengths()
    axes.ecdf(
        real.values_s,
        real.counts,
        color="black",
        linestyle="--",
        label=f"CASTELLA, train, {real.counts.sum():,} moments",
    )
    axes.set(xscale="log", xlim=(0.9, 320), xlabel="length of a moment (s)", ylabel="share at most so long")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120)


@click.command(cls=SingleCommand)
@click.argument("published", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="clotho-moment-long", show_default=True)
@click.option("--seed", type=int, default=2023, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write the manifest there.")
def main(published: Path, preset: str, seed: int, out: Path | None) -> None:
    """Plan a full-size corpus from published durations; print its counts and how long planning took."""
    spec = PRESETS[preset]
    events = {split: published_events(published, split) for split in SPLITS}
    tours = {split: published_tours(published, split) for split in SPLITS}
    started_s = time.perf_counter()
    drawn = {
        split: sample_split(spec, events[split], tours[split], split=split, seed=seed) for split in SPLITS
    }
    kept = {
        split: [r for r in recipes if r.events or spec.keep_empty_clips] for split, recipes in drawn.items()
    }
    recipes_of = number_queries(kept)
    took_s = time.perf_counter() - started_s
    values_of = {split: distributions(recipes) for split, recipes in recipes_of.items()}
    for line in [table_of(values_of), *lengths_comparison(values_of)]:
        click.echo(line)
    num_drawn = sum(len(recipes) for recipes in drawn.values())
    click.echo(f"planned {num_drawn:,} candidate clips in {took_s:.1f} s")
    if out is not None:
        write_manifest(out, recipes_of, preset=preset, seed=seed)


if __name__ == "__main__":
    main()
