"""The whole way on sounds made up for it: `make demo`.

    python -m pipelines.demo --out demo

Needs no data set, no download and no GPU. Its figures show that the parts work together, nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic.dataclasses import dataclass

from clotho_long.core.command_line import SingleCommand, progress
from clotho_long.core.settings import to_plain
from clotho_long.core.work import Workers
from clotho_long.corpus import Corpus
from pipelines.command import pipeline_options, settings_from, speaker
from pipelines.corpora import CorpusSettings, corpus_steps
from pipelines.examples import choose_examples
from pipelines.report import ReportPage, write_report
from pipelines.runs import LabelledSet, pretraining_of, settings_of
from pipelines.sections import (
    corpus_section,
    curves_section,
    examples_section,
    lengths_section,
    results_section,
    settings_section,
)
from pipelines.steps import Step, StepRun, run_steps
from pipelines.synthetic import SYNTHESIS_VERSION, SyntheticSize, synthesise_sources
from pipelines.tables import results_frame, write_frame
from pipelines.training import score_step, train_step


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisedCorpus:
    """One corpus of the demonstration."""

    seed: int
    size: SyntheticSize
    split: str  # of its tours
    mixture: tuple[str, ...]  # over the preset clotho-moment-long


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """What `demo.yml` sets."""

    seed: int
    mixtures: SynthesisedCorpus
    target: SynthesisedCorpus
    systems: tuple[str, ...]
    settings: tuple[str, ...]  # section.key=value, over each system
    pretrain_epochs: int
    finetune_epochs: int
    examples: int  # of each kind, right and wrong


@click.command(cls=SingleCommand)
@pipeline_options("demo")
def main(
    out: Path,
    config: Path | None,
    overrides: tuple[str, ...],
    start: str | None,
    until: str | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Synthesise sources, build two corpora, pretrain, fine-tune, evaluate, and write a report.

    \b
    For example:
      python -m pipelines.demo --out demo --set finetune_epochs=20
    """
    settings = settings_from(DemoSettings, __file__, config, overrides)
    say = speaker(quiet=quiet)
    workers = Workers(jobs=jobs, watch=functools.partial(progress, quiet=quiet))
    steps = demo_steps(settings, out, workers)
    runs = run_steps(steps, out / "steps", start=start, until=until, jobs=jobs, say=say)
    if until is None:
        for path in write_frame(results_frame(_rows(settings, out)), out / "results"):
            say(f"wrote {path}")
        say(f"wrote {write_report(_report(settings, out, runs), out)}")


def demo_steps(settings: DemoSettings, out: Path, workers: Workers) -> list[Step]:
    """Everything but the report, in order."""
    steps: list[Step] = []
    for name, made in (("mixtures", settings.mixtures), ("target", settings.target)):
        steps += _corpus_steps(name, made, out, workers)
    for system in settings.systems:
        steps += _system_steps(system, settings, out)
    return steps


def _corpus_steps(name: str, made: SynthesisedCorpus, out: Path, workers: Workers) -> Sequence[Step]:
    sources = out / name / "sources"
    synthesise = Step(
        name=f"{name}-sources",
        action=functools.partial(_synthesise, sources, made),
        settings={"seed": made.seed, "size": to_plain(made.size)},
        outputs=(sources,),
        versions={"synthesis": SYNTHESIS_VERSION},
    )
    corpus_settings = CorpusSettings(
        clotho=sources / "clotho",
        walking_tours=sources / "tours",
        split=made.split,
        mixture=made.mixture,
        seed=made.seed,
        encoder="logmel",
    )
    steps = corpus_steps(
        corpus_settings, _corpus(out, name), workers, prefix=f"{name}-", after=[synthesise.name]
    )
    return [synthesise, *steps]


def _synthesise(sources: Path, made: SynthesisedCorpus) -> None:
    synthesise_sources(sources, size=made.size, seed=made.seed)


def _system_steps(system: str, settings: DemoSettings, out: Path) -> Sequence[Step]:
    """Pretraining, fine-tuning, and a score on the target's test split after each, and before both."""
    overrides = [*settings.settings, f"train.seed={settings.seed}"]
    pretrain = pretraining_of(system, [*overrides, f"train.epochs={settings.pretrain_epochs}"])
    finetune = settings_of(system, [*overrides, f"train.epochs={settings.finetune_epochs}"])
    first, second = f"{system}-pretrain", f"{system}-finetune"
    mixtures, target = ["mixtures-check"], ["target-check"]
    test = _labelled(out, "target", "test")
    score = functools.partial(score_step, device="cpu", threads=1, after=target)
    return [
        train_step(
            first,
            pretrain,
            _labelled(out, "mixtures", "train"),
            _labelled(out, "mixtures", "valid"),
            out / first,
            device="cpu",
            threads=1,
            after=mixtures,
        ),
        train_step(
            second,
            finetune,
            _labelled(out, "target", "train"),
            _labelled(out, "target", "valid"),
            out / second,
            device="cpu",
            threads=1,
            after=target,
            init=(first, out / first),
        ),
        score(f"{system}-score-untrained", finetune, test, out / f"{system}-untrained", trained=None),
        score(
            f"{system}-score-pretrained", pretrain, test, _scored(out, first), trained=(first, out / first)
        ),
        score(
            f"{system}-score-finetuned", finetune, test, _scored(out, second), trained=(second, out / second)
        ),
    ]


def _report(settings: DemoSettings, out: Path, runs: Sequence[StepRun]) -> ReportPage:
    """Everything that the demonstration showed, failures included."""
    best = settings.systems[-1]
    scored = _rows(settings, out)
    finetuned = f"{best}-finetune"
    examples = choose_examples(
        settings_of(best, settings.settings),
        out / finetuned,
        _labelled(out, "target", "test"),
        _scored(out, finetuned),
        corpus=_corpus(out, "target"),
        split="test",
        number=settings.examples,
        seed=settings.seed,
    )
    last, first = f"{best}, fine-tuned", f"{best}, untrained"
    return ReportPage(
        title="Finding moments in made-up sound",
        lead=(
            "Synthesised sounds are mixed into synthesised city noise; a network learns from one corpus of "
            "such mixtures, is fine-tuned on a smaller one of other sounds in other places, and answers "
            "queries on recordings of the latter that it has not seen. This shows that the parts work "
            "together. It says nothing about real sound, and, with one short training of each, nothing about "
            "which system is better: another seed may turn their order round."
        ),
        sections=(
            results_section(scored, strong=last, headline=(first, last)),
            lengths_section({name: scored[name] for name in scored if "untrained" not in name}),
            examples_section(examples),
            curves_section(
                {
                    f"{system}, {label}": out / f"{system}-{step}"
                    for system in settings.systems
                    for label, step in (("pretraining", "pretrain"), ("fine-tuning", "finetune"))
                }
            ),
            corpus_section("Corpus to pretrain on", _corpus(out, "mixtures"), name="mixtures"),
            corpus_section("Corpus that counts", _corpus(out, "target"), name="target"),
            settings_section(settings, runs),
        ),
    )


def _rows(settings: DemoSettings, out: Path) -> dict[str, Path]:
    """The rows of the table, each with the folder of its scores."""
    return {
        f"{system}, {label}": out / name
        for system in settings.systems
        for label, name in (
            ("untrained", f"{system}-untrained"),
            ("pretrained", f"{system}-pretrain-scored"),
            ("fine-tuned", f"{system}-finetune-scored"),
        )
    }


def _corpus(out: Path, name: str) -> Corpus:
    return Corpus(out / name / "corpus")


def _labelled(out: Path, name: str, split: str) -> LabelledSet:
    corpus = _corpus(out, name)
    return LabelledSet(annotations=corpus.annotations_file(split), features=corpus.features_dir)


def _scored(out: Path, run: str) -> Path:
    return out / f"{run}-scored"


if __name__ == "__main__":
    main()
