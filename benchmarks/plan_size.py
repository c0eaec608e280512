"""Does the sampler give the published sizes? Counts over several seeds, beside what was published.

python benchmarks/plan_size.py PUBLISHED --seeds 10
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from clotho_long.core.records import SPLITS
from clotho_long.recipe.spec import PRESETS
from clotho_long.stages.plan import sample_split
from pipelines.make_manifest import published_events, published_tours

PUBLISHED_SIZES = {
    "clotho-moment": {"train": (37_930, 32_694), "valid": (5_741, 4_918), "test": (7_569, 6_649)},
    "clotho-moment-long": {"train": (6_274, 14_714)},  # the report counts its training corpus
}


@click.command()
@click.argument("published", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seeds", type=click.IntRange(min=2), default=10, show_default=True)
def main(published: Path, seeds: int) -> None:
    """Print, for each preset and split, the published counts and ours: seed 2023, and mean and deviation."""
    click.echo("preset              split  what     published  seed 2023  mean over seeds     published is")
    for preset, sizes in PUBLISHED_SIZES.items():
        spec = PRESETS[preset]
        for split in (s for s in SPLITS if s in sizes):
            events, tours = published_events(published, split), published_tours(published, split)
            counts = []
            for seed in range(2023, 2023 + seeds):
                drawn = sample_split(spec, events, tours, split=split, seed=seed)
                kept = [recipe for recipe in drawn if recipe.events or spec.keep_empty_clips]
                counts.append((len(kept), sum(len(recipe.events) for recipe in kept)))
            for what, target, values in zip(
                ("clips", "queries"), sizes[split], np.array(counts).T, strict=True
            ):
                deviation = values.std(ddof=1)
                share = target / values.mean() - 1
                distance = f"{(target - values.mean()) / deviation:+.1f} deviations" if deviation else "equal"
                click.echo(
                    f"{preset:18}  {split:5}  {what:7}  {target:>9,}  {values[0]:>9,}  "
                    f"{values.mean():>9,.0f} +- {deviation:<4,.0f}  {distance}, {share:+.1%}"
                )


if __name__ == "__main__":
    main()
