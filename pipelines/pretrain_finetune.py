"""From corpora to a pretrained model, fine-tuned, evaluated, and a submission.

    python -m pipelines.pretrain_finetune --out retrieval

The settings name the annotations and features; `pretrain_finetune.yml` has those of Clotho-Moment-Long and
CASTELLA where the documentation puts them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from amr_model.answer.ranking import ANSWERING_VERSION
from amr_model.answer.submission import check_submission
from amr_model.config import ExperimentConfig
from amr_model.learn.train import BEST
from clotho_long.core.command_line import SingleCommand
from clotho_long.core.devices import check_device_name, find_device
from clotho_long.core.predictions import write_predictions
from clotho_long.core.seeds import MAX_SEED
from clotho_long.core.settings import require_range
from pipelines.command import pipeline_options, settings_from, speaker
from pipelines.examples import choose_examples
from pipelines.report import ReportPage, write_report
from pipelines.runs import (
    MAX_THREADS,
    LabelledSet,
    PretrainLabels,
    ask,
    pretraining_of,
    refuse_overrides,
    settings_of,
)
from pipelines.sections import (
    annotations_section,
    curves_section,
    examples_section,
    lengths_section,
    published_section,
    results_section,
    settings_section,
)
from pipelines.steps import Step, StepRun, run_steps
from pipelines.tables import results_frame, write_frame
from pipelines.training import score_step, shaping, shaping_of_today, train_step

SUBMISSION = "submission.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSets:
    """What a training learns from, and what it is selected by."""

    train: LabelledSet
    valid: LabelledSet


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSettings:
    """What `pretrain_finetune.yml` sets."""

    system: str
    pretrain: TrainingSets
    finetune: TrainingSets
    test: LabelledSet  # scored, never trained on or selected by
    submission: LabelledSet | None = None  # queries whose moments are not known
    settings: tuple[str, ...] = ()  # section.key=value over the system, for both trainings
    # all: dense labels in pretraining too, for the systems that have them
    pretrain_labels: PretrainLabels = "first"
    pretrain_settings: tuple[str, ...] = ()
    finetune_settings: tuple[str, ...] = ()
    device: str = "auto"
    threads: int | None = None  # of the CPU
    processes: PositiveInt = 1  # of each training, sharing its batches as under `torchrun`
    examples: int = 4  # of each kind, right and wrong
    seed: int = 2023

    def __post_init__(self) -> None:
        check_device_name(self.device, where="")
        require_range(self, ("seed",), high=MAX_SEED)
        require_range(self, ("threads",), low=1, high=MAX_THREADS)
        overrides = (*self.settings, *self.pretrain_settings, *self.finetune_settings)
        refuse_overrides(overrides, {"train.seed": "seed", "system": "system"})


@click.command(cls=SingleCommand)
@pipeline_options("retrieval")
def main(
    out: Path,
    config: Path | None,
    overrides: tuple[str, ...],
    start: str | None,
    until: str | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Pretrain a system, fine-tune it, score it, and write the submission.

    \b
    For example:
      python -m pipelines.pretrain_finetune --out retrieval --set system=S4 --from finetune
    """
    settings = settings_from(RetrievalSettings, __file__, config, overrides)
    say = speaker(quiet=quiet)
    steps = retrieval_steps(settings, out)
    runs = run_steps(steps, out / "steps", start=start, until=until, jobs=jobs, say=say)
    if until is None:
        for path in write_frame(results_frame(_scored(out)), out / "results"):
            say(f"wrote {path}")
        say(f"wrote {write_report(_report(settings, out, runs), out)}")


def retrieval_steps(settings: RetrievalSettings, out: Path) -> list[Step]:
    """Everything but the page of results, in order.

    Raises:
        ConfigError: the device that is set is not here.
    """
    find_device(settings.device)
    seeded = [*settings.settings, f"train.seed={settings.seed}"]
    pretrain = pretraining_of(
        settings.system, [*seeded, *settings.pretrain_settings], settings.pretrain_labels
    )
    finetune = settings_of(settings.system, [*seeded, *settings.finetune_settings])
    pretrained, finetuned = out / "pretrained", out / "finetuned"
    train = functools.partial(
        train_step,
        device=settings.device,
        threads=settings.threads,
        processes=settings.processes,
        after=(),
    )
    score = functools.partial(score_step, device=settings.device, threads=settings.threads, after=())
    steps = [
        train("pretrain", pretrain, settings.pretrain.train, settings.pretrain.valid, pretrained),
        train(
            "finetune",
            finetune,
            settings.finetune.train,
            settings.finetune.valid,
            finetuned,
            init=("pretrain", pretrained),
        ),
        score(
            "score-pretrained",
            pretrain,
            settings.test,
            out / "pretrained-scored",
            trained=("pretrain", pretrained),
        ),
        score(
            "score-finetuned",
            finetune,
            settings.test,
            out / "finetuned-scored",
            trained=("finetune", finetuned),
        ),
    ]
    if settings.submission is not None:
        asked = settings.submission
        steps.append(
            Step(
                name="submit",
                action=functools.partial(_submit, finetune, finetuned, settings, out / SUBMISSION),
                settings=shaping(finetune),
                versions={"answering": ANSWERING_VERSION},
                after=("finetune",),
                files=(asked.annotations, asked.features),
                outputs=(out / SUBMISSION,),
                today=shaping_of_today,
            )
        )
    return steps


def _submit(config: ExperimentConfig, run: Path, settings: RetrievalSettings, out: Path) -> None:
    """Answer the queries of a submission, checked by the organisers' rules."""
    assert settings.submission is not None, "this step exists only with a submission"
    retrieval = ask(config, settings.submission, run / BEST, device=settings.device, threads=settings.threads)
    predictions = retrieval.answers()
    check_submission(predictions, retrieval.data.queries)
    write_predictions(out, predictions)


def _report(settings: RetrievalSettings, out: Path, runs: Sequence[StepRun]) -> ReportPage:
    """What was learnt, and where it fails."""
    scored = _scored(out)
    examples = choose_examples(
        settings_of(settings.system, [*settings.settings, *settings.finetune_settings]),
        out / "finetuned",
        settings.test,
        scored["fine-tuned"],
        number=settings.examples,
        seed=settings.seed,
        device=settings.device,
    )
    return ReportPage(
        title=f"{settings.system}, pretrained and fine-tuned",
        lead=(
            f"Trained on {settings.pretrain.train.annotations}, then on "
            f"{settings.finetune.train.annotations}; scored on {settings.test.annotations}."
        ),
        sections=(
            results_section(scored, strong="fine-tuned", headline=("pretrained", "fine-tuned")),
            published_section({f"{settings.system}, fine-tuned": scored["fine-tuned"]}),
            lengths_section(scored),
            examples_section(examples),
            curves_section({"pretraining": out / "pretrained", "fine-tuning": out / "finetuned"}),
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


def _scored(out: Path) -> dict[str, Path]:
    return {"pretrained": out / "pretrained-scored", "fine-tuned": out / "finetuned-scored"}


if __name__ == "__main__":
    main()
