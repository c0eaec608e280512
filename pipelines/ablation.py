"""The report's table: S1 to S8, over seeds, with intervals, the published figures beside ours.

    python -m pipelines.ablation --out ablation

A row costs one training of what differs: systems whose pretraining or fine-tuning is the same share it. A run
that is stopped goes on; after a change of one setting only the trainings that it concerns run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import click
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from amr_model.config import REPORT_SYSTEMS, SYSTEMS, ExperimentConfig
from clotho_long.core.command_line import SingleCommand
from clotho_long.core.devices import check_device_name, find_device
from clotho_long.core.errors import ConfigError
from clotho_long.core.seeds import MAX_SEED
from clotho_long.core.settings import require_range, to_plain
from pipelines.ablation_tables import Scores, read_scores, table_section, write_tables
from pipelines.command import pipeline_options, settings_from, speaker
from pipelines.pretrain_finetune import TrainingSets
from pipelines.report import ReportPage, write_report
from pipelines.runs import (
    MAX_THREADS,
    LabelledSet,
    PretrainLabels,
    pretraining_of,
    refuse_overrides,
    settings_of,
)
from pipelines.sections import annotations_section, curves_section, lengths_section, settings_section
from pipelines.steps import Step, StepRun, run_steps
from pipelines.training import score_step, train_step

# Pretraining without the parts that have losses or heads of their own: what is left is the trunk.
TRUNK = {name: "S1" if name == "S1" else "S2" for name in SYSTEMS}


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationSettings:
    """What `ablation.yml` sets."""

    pretrain: TrainingSets
    finetune: TrainingSets
    test: LabelledSet
    systems: tuple[str, ...] = REPORT_SYSTEMS
    seeds: tuple[int, ...] = (1, 2, 3)
    # own: each system is pretrained as itself; shared: S2 to S8 start from S2's network, other parts fresh
    pretraining: Literal["own", "shared"] = "own"
    # all: dense labels in pretraining too, for the systems that have them
    pretrain_labels: PretrainLabels = "first"
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
            if repeated := [str(value) for value in dict.fromkeys(values) if values.count(value) > 1]:
                raise ConfigError(f"{', '.join(repeated)} is there twice", name, "name each of them once")
        if not all(0 <= seed <= MAX_SEED for seed in self.seeds):
            raise ConfigError(f"seeds must be whole numbers from 0 to {MAX_SEED}")
        check_device_name(self.device, where="")
        require_range(self, ("threads",), low=1, high=MAX_THREADS)
        overrides = (*self.settings, *self.pretrain_settings, *self.finetune_settings)
        refuse_overrides(overrides, {"train.seed": "seeds", "system": "systems"})


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
    """Run what is due, and write the tables and the page of results."""
    say = speaker(quiet=quiet)
    steps = ablation_steps(settings, out)
    runs = run_steps(steps, out / "steps", start=start, until=until, jobs=jobs, say=say)
    if until is None:
        scores = read_scores(settings.test.annotations, _scored_folders(settings, out))
        for path in write_tables(scores, out):
            say(f"wrote {path}")
        say(f"wrote {write_report(_report(settings, scores, out, runs), out)}")


def ablation_steps(settings: AblationSettings, out: Path) -> list[Step]:
    """All trainings and scores, one seed after the other, so that early figures are of all systems.

    Raises:
        ConfigError: the device that is set is not here.
    """
    find_device(settings.device)
    steps: list[Step] = []
    for seed in settings.seeds:
        trainings = _Trainings(settings, out, seed)
        for system in settings.systems:
            trained = trainings.finetuned(system)
            score = score_step(
                f"{system}-seed{seed}-score",
                trainings.finetuning_of(system),
                settings.test,
                _scored(out, system, seed),
                device=settings.device,
                threads=settings.threads,
                after=(),
                trained=trained,
            )
            steps += [*trainings.new_steps(), score]
    return steps


class _Trainings:
    """The trainings of one seed, each of them once, whoever needs it."""

    def __init__(self, settings: AblationSettings, out: Path, seed: int) -> None:
        self._settings, self._out, self._seed = settings, out, seed
        self._seeded = [*settings.settings, f"train.seed={seed}"]
        self._made: set[str] = set()
        self._new: list[Step] = []

    def finetuned(self, system: str) -> tuple[str, Path]:
        """The step and the folder of the fine-tuning of a system, under the first name that shares it."""
        first = _first_alike(system, lambda name: [self.finetuning_of(name), self._pretraining_of(name)])
        return self._once(
            f"{first}-seed{self._seed}-finetune",
            self.finetuning_of(first),
            self._settings.finetune,
            init=self._pretrained(first),
        )

    def finetuning_of(self, system: str) -> ExperimentConfig:
        return settings_of(system, [*self._seeded, *self._settings.finetune_settings])

    def new_steps(self) -> list[Step]:
        """The steps that were added since this was asked last."""
        new, self._new = self._new, []
        return new

    def _pretrained(self, system: str) -> tuple[str, Path]:
        first = _first_alike(system, lambda name: [self._pretraining_of(name)])
        name = f"{first}-seed{self._seed}-pretrain"
        return self._once(name, self._pretraining_of(first), self._settings.pretrain)

    def _pretraining_of(self, system: str) -> ExperimentConfig:
        start = TRUNK[system] if self._settings.pretraining == "shared" else system
        overrides = [*self._seeded, *self._settings.pretrain_settings]
        return pretraining_of(start, overrides, self._settings.pretrain_labels)

    def _once(
        self, name: str, config: ExperimentConfig, sets: TrainingSets, init: tuple[str, Path] | None = None
    ) -> tuple[str, Path]:
        """A training, whose step is added if nobody asked for it before."""
        run = self._out / "runs" / name
        if name not in self._made:
            self._made.add(name)
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
            self._new.append(step)
        return name, run


def _first_alike(system: str, trainings_of: Callable[[str], list[ExperimentConfig]]) -> str:
    """The first system with the same trainings: names do not depend on the rows that are asked for."""
    wanted = [what_shapes_weights(config) for config in trainings_of(system)]
    return next(
        name for name in SYSTEMS if [what_shapes_weights(config) for config in trainings_of(name)] == wanted
    )


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


def _report(settings: AblationSettings, scores: Scores, out: Path, runs: Sequence[StepRun]) -> ReportPage:
    last, seed = settings.systems[-1], settings.seeds[0]
    trainings = _Trainings(settings, out, seed)
    finetuned = {system: trainings.finetuned(system)[1] for system in settings.systems}
    return ReportPage(
        title="What each part of the system is worth",
        lead=(
            f"Systems {', '.join(settings.systems)} trained on {settings.pretrain.train.annotations} and "
            f"{settings.finetune.train.annotations}, scored on {settings.test.annotations}, with "
            f"{len(settings.seeds)} seeds. Published figures are of CASTELLA's test set: compare the order "
            "and the differences, unless ours are of that set too."
        ),
        sections=(
            table_section(scores),
            lengths_section({name: _scored(out, name, seed) for name in (settings.systems[0], last)}),
            curves_section({name: run for name, run in finetuned.items() if run.name.startswith(f"{name}-")}),
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


def _scored_folders(settings: AblationSettings, out: Path) -> dict[str, dict[int, Path]]:
    return {
        system: {seed: _scored(out, system, seed) for seed in settings.seeds} for system in settings.systems
    }


def _scored(out: Path, system: str, seed: int) -> Path:
    return out / "scored" / f"{system}-seed{seed}"


if __name__ == "__main__":
    main()
