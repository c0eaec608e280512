"""The report's table: S1 to S8, over seeds, with intervals, the published figures beside ours.

    python -m pipelines.ablation --out ablation

A row costs one training of what differs. Pretraining is shared by all systems with the same trunk, and
systems that differ in inference alone (S4, S5) share their weights. One that is stopped goes on; after a
change of one setting only the trainings that it concerns run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from amr_model.config import REPORT_SYSTEMS, SYSTEMS, ExperimentConfig
from amr_model.data.sets import read_annotations
from amr_model.scoring.metrics import Floats, score_queries
from amr_model.scoring.report import bootstrap, headline_values
from clotho_long.core.command_line import SingleCommand
from clotho_long.core.devices import check_device_name
from clotho_long.core.errors import ConfigError
from clotho_long.core.files import fingerprint
from clotho_long.core.predictions import read_predictions
from clotho_long.core.seeds import MAX_SEED
from clotho_long.core.settings import require_range, to_plain
from pipelines import charts
from pipelines.command import pipeline_options, settings_from, speaker
from pipelines.pretrain_finetune import TrainingSets
from pipelines.report import Picture, ReportPage, Section, Table, write_report
from pipelines.sections import (
    HEADLINES,
    annotations_section,
    curves_section,
    lengths_section,
    settings_section,
)
from pipelines.steps import Step, StepRun, run_steps
from pipelines.training import MAX_THREADS, PREDICTIONS, LabelledSet, score_step, settings_of, train_step

# What the report publishes of its systems (CASTELLA test, one run each), where the figures are at hand.
PUBLISHED = {"S4": {"R1@0.5": 33.33, "R1@0.7": 21.31}, "S5": {"R1@0.5": 33.33, "R1@0.7": 21.31}}
# Of the official baseline, which S1 follows: mean of five seeds with Clotho-Moment pretraining.
PUBLISHED_BASELINE = {"R1@0.5": 25.86, "R1@0.7": 13.85, "mAP": 11.74}
# Pretraining without the parts that have losses or labels of their own: what is left is the trunk.
TRUNK = {name: "S1" if name == "S1" else "S2" for name in SYSTEMS}

PerQuery = dict[str, Floats]  # [query] percentages by headline figure


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationSettings:
    """What `ablation.yml` sets."""

    pretrain: TrainingSets
    finetune: TrainingSets
    test: LabelledSet
    systems: tuple[str, ...] = REPORT_SYSTEMS
    seeds: tuple[int, ...] = (1, 2, 3)
    # shared: S2 to S8 start from one pretraining of S2's network, quality heads fresh; own: each from its own
    pretraining: Literal["shared", "own"] = "shared"
    settings: tuple[str, ...] = ()  # section.key=value over every system
    pretrain_settings: tuple[str, ...] = ()
    finetune_settings: tuple[str, ...] = ()
    device: str = "auto"
    threads: int | None = 1  # of the CPU; with one, `--jobs` trainings run side by side
    processes: PositiveInt = 1  # of each training, sharing its batches as under `torchrun`

    def __post_init__(self) -> None:
        for name in self.systems:
            if name not in SYSTEMS:
                raise ConfigError(f"no system {name!r}", fix=f"take some of {', '.join(SYSTEMS)}")
        if not (self.systems and self.seeds):
            raise ConfigError("systems and seeds must name at least one each")
        for name, values in (("systems", self.systems), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ConfigError(f"{name} names one of them twice", fix="name each once")
        if not all(0 <= seed <= MAX_SEED for seed in self.seeds):
            raise ConfigError(f"seeds must be whole numbers from 0 to {MAX_SEED}")
        check_device_name(self.device, where="")
        require_range(self, ("threads",), low=1, high=MAX_THREADS)


@click.command(cls=SingleCommand)
@pipeline_options("ablation")
def main(
    out: Path,
    config: Path | None,
    overrides: tuple[str, ...],
    start: str | None,
    until: str | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Train and score S1 to S8 over several seeds, and write the report's table with ours beside it.

    \b
    For example:
      python -m pipelines.ablation --out ablation --set 'seeds=[1, 2]' --set 'systems=[S1, S8]'
    """
    settings = settings_from(AblationSettings, __file__, config, overrides)
    run_ablation(settings, out, start=start, until=until, jobs=jobs, quiet=quiet)


def run_ablation(
    settings: AblationSettings,
    out: Path,
    *,
    start: str | None = None,
    until: str | None = None,
    jobs: int = 1,
    quiet: bool = False,
) -> None:
    """Run what is due, and write the report."""
    say = speaker(quiet=quiet)
    steps = ablation_steps(settings, out)
    runs = run_steps(steps, out / "steps", start=start, until=until, jobs=jobs, say=say)
    if until is None:
        say(f"wrote {write_report(_report(settings, out, runs), out)}")


def ablation_steps(settings: AblationSettings, out: Path) -> list[Step]:
    """All trainings and scores, one seed after the other, so that early figures are of all systems."""
    steps: list[Step] = []
    for seed in settings.seeds:
        trainings = _Trainings(settings, out, steps)
        seeded = [*settings.settings, f"train.seed={seed}"]
        for system in settings.systems:
            trunk = TRUNK[system] if settings.pretraining == "shared" else system
            pretrain = settings_of(trunk, [*seeded, *settings.pretrain_settings])
            finetune = settings_of(system, [*seeded, *settings.finetune_settings])
            start = trainings.once(f"{trunk}-seed{seed}-pretrain", pretrain, settings.pretrain)
            trained = trainings.once(f"{system}-seed{seed}-finetune", finetune, settings.finetune, start)
            steps.append(
                score_step(
                    f"{system}-seed{seed}-score",
                    finetune,
                    settings.test,
                    _scored(out, system, seed),
                    device=settings.device,
                    threads=settings.threads,
                    after=(),
                    trained=trained,
                )
            )
    return steps


class _Trainings:
    """The trainings of one seed, each of them once, whoever needs it."""

    def __init__(self, settings: AblationSettings, out: Path, steps: list[Step]) -> None:
        self._settings, self._out, self._steps = settings, out, steps
        self._made: dict[str, tuple[str, Path]] = {}

    def once(
        self, name: str, config: ExperimentConfig, sets: TrainingSets, init: tuple[str, Path] | None = None
    ) -> tuple[str, Path]:
        """The step and the folder of this training, which is added if nobody asked for it before."""
        key = fingerprint([what_shapes_weights(config), to_plain(sets), init and init[0]])
        if key not in self._made:
            run = self._out / "runs" / name
            step = train_step(
                name,
                config,
                sets.train,
                sets.valid,
                run,
                device=self._settings.device,
                threads=self._settings.threads,
                processes=self._settings.processes,
                after=(),
                init=init,
            )
            self._steps.append(step)
            self._made[key] = (name, run)
        return self._made[key]


def what_shapes_weights(config: ExperimentConfig) -> dict[str, Any]:
    """The settings that two trainings must share to end in the same best checkpoint.

    Inference matters only where it selects: proposals and NMS never displace the first window, so R1 does not
    see them, and mAP does.
    """
    plain = to_plain(config)
    by_first_window = config.train.select_by.startswith("R1")
    return {
        key: value
        for key, value in plain.items()
        if key != "system" and not (key == "inference" and by_first_window)
    }


def per_query(settings: AblationSettings, out: Path) -> dict[str, dict[int, PerQuery]]:
    """The headline figures of each query, by system and seed."""
    queries = read_annotations(settings.test.annotations)
    return {
        system: {
            seed: headline_values(
                score_queries(queries, read_predictions(_scored(out, system, seed) / PREDICTIONS))
            )
            for seed in settings.seeds
        }
        for system in settings.systems
    }


def _report(settings: AblationSettings, out: Path, runs: Sequence[StepRun]) -> ReportPage:
    values = per_query(settings, out)
    last, seed = settings.systems[-1], settings.seeds[0]
    finetuned = {s: out / "runs" / f"{s}-seed{seed}-finetune" for s in settings.systems}
    return ReportPage(
        title="What each part of the system is worth",
        lead=(
            f"Systems {', '.join(settings.systems)} trained on {settings.pretrain.train.annotations} and "
            f"{settings.finetune.train.annotations}, scored on {settings.test.annotations}, with "
            f"{len(settings.seeds)} seeds. Published figures are of CASTELLA's test set: compare the order "
            "and the differences, unless ours are of that set too."
        ),
        sections=(
            _table_section(settings, values),
            lengths_section({name: _scored(out, name, seed) for name in (settings.systems[0], last)}),
            curves_section({name: run for name, run in finetuned.items() if run.is_dir()}),
            annotations_section(
                {
                    "pretrain, train": settings.pretrain.train.annotations,
                    "fine-tune, train": settings.finetune.train.annotations,
                    "fine-tune, valid": settings.finetune.valid.annotations,
                    "test": settings.test.annotations,
                }
            ),
            settings_section(settings, runs),
        ),
    )


def _table_section(settings: AblationSettings, values: Mapping[str, dict[int, PerQuery]]) -> Section:
    """The report's table, and a chart of each headline figure."""
    first = settings.systems[0]
    rows, charted = [], dict[str, dict[str, tuple[float, tuple[float, float]]]]()
    at_hand = {figure for system in settings.systems for figure in PUBLISHED.get(system, {})}
    for system, of_seed in values.items():
        cells = []
        mean = _over_seeds(of_seed)
        for figure, interval in bootstrap(mean, seed=0).items():
            at_seeds = [float(run[figure].mean()) for run in of_seed.values()]
            value = float(mean[figure].mean())
            charted.setdefault(figure, {})[system] = (value, interval)
            cells += [
                f"{value:.2f} ({interval[0]:.1f}-{interval[1]:.1f})",
                f"{min(at_seeds):.1f}-{max(at_seeds):.1f}",
            ]
            if figure in at_hand:
                published = PUBLISHED.get(system, {}).get(figure)
                cells.append("" if published is None else f"{published:.2f}")
        rows.append((system, ", ".join(SYSTEMS[system]).replace("_", " ") or "baseline", *cells))
    header = ["system", "parts"]
    for figure in HEADLINES:
        header += [figure, "seeds", *(["published"] if figure in at_hand else [])]
    baseline = ", ".join(f"{figure} {value}" for figure, value in PUBLISHED_BASELINE.items())
    table = Table(
        header=tuple(header),
        rows=tuple(rows),
        words=(1,),
        note=(
            "Mean over seeds, in brackets its 95 % interval by bootstrap over queries; seeds: lowest and "
            "highest single run. Where nothing is published here, the report's figure is not at hand. The "
            f"official baseline, pretrained on Clotho-Moment, mean of five seeds: {baseline}."
        ),
    )
    pictures = tuple(
        Picture(
            name=f"table-{figure.replace('@', '-')}",
            content=charts.intervals(
                charted[figure],
                title=figure,
                label="%",
                beside={s: row[figure] for s, row in PUBLISHED.items() if figure in row and s in values},
                beside_label="published",
            ),
            caption=f"{figure}: mean over seeds with its 95 % interval over queries.",
        )
        for figure in HEADLINES
    )
    return Section(title="Systems", blocks=(table, *pictures, _differences(values, first)))


def _differences(values: Mapping[str, dict[int, PerQuery]], first: str) -> Table:
    """Each system against the first one, on the same queries: what of it is more than luck."""
    reference = _over_seeds(values[first])
    rows = []
    for system, of_seed in values.items():
        if system == first:
            continue
        difference = {figure: mean - reference[figure] for figure, mean in _over_seeds(of_seed).items()}
        rows.append(
            (
                system,
                *(
                    f"{difference[figure].mean():+.2f} ({low:+.1f} to {high:+.1f})"
                    for figure, (low, high) in bootstrap(difference, seed=0).items()
                ),
            )
        )
    return Table(
        header=(f"against {first}", *HEADLINES),
        rows=tuple(rows),
        note=(
            "Differences on the same queries with 95 % intervals over queries: one that spans 0 may be "
            "chance. What other seeds would change is not in them: compare the lowest and highest runs above."
        ),
    )


def _over_seeds(of_seed: Mapping[int, PerQuery]) -> PerQuery:
    """The mean over seeds for each query."""
    return {figure: np.mean([run[figure] for run in of_seed.values()], axis=0) for figure in HEADLINES}


def _scored(out: Path, system: str, seed: int) -> Path:
    return out / "scored" / f"{system}-seed{seed}"


if __name__ == "__main__":
    main()
