"""The commands that make checkpoints."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amr_model.cli.options import (
    CHECKPOINT,
    CHECKPOINT_HELP,
    EXISTING_FILE,
    EXISTING_FOLDER,
    FILE,
    FOLDER,
    chosen_device,
    cross_mask_option,
    device_option,
    say,
    set_option,
)
from clotho_long.core.command_line import EXIT_INTERRUPTED, common_options, set_up_logging
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.core.seeds import MAX_SEED

if TYPE_CHECKING:
    from amr_model.config import ExperimentConfig
    from amr_model.data.corpora import CorpusFiles
    from amr_model.public.renaming import CrossMask

# Settings that training takes from the files of features, and not from who names them.
READ_FROM_FEATURES = ("features.encoder", "features.windows")


@click.command()
@click.option(
    "--system",
    help="One of the report's systems S1 to S8, S9, or a public baseline as it was trained: "
    "lighthouse-qd_detr, lighthouse-uvcom, dcase-baseline.  [default: the settings of --init]",
)
@click.option("--config", "config_file", type=EXISTING_FILE, help="Settings in YAML, such as RUN/config.yml.")
@click.option(
    "--train",
    "train_files",
    required=True,
    multiple=True,
    type=FILE,
    help="Annotations to train on; may be repeated, to train on several corpora at once.",
)
@click.option("--valid", "valid_file", required=True, type=FILE, help="Annotations to select by.")
@click.option(
    "--features",
    "folders",
    required=True,
    multiple=True,
    type=EXISTING_FOLDER,
    help="Folder with clap/ and clap_text/: one for each --train, in their order, or one for all.",
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    type=click.FloatRange(min=0, min_open=True, max=1000),
    help="How often an epoch draws each query of a --train: one for each, in their order.  [default: once]",
)
@click.option(
    "--valid-features",
    type=EXISTING_FOLDER,
    help="Features of --valid, where they lie elsewhere.",
)
@click.option("--out", "run", required=True, type=FOLDER, help="RUN folder.")
@click.option("--init", type=CHECKPOINT, help=f"Start from these weights (fine-tuning). {CHECKPOINT_HELP}")
@click.option("--resume", is_flag=True, help="Go on where the run stopped.")
@click.option("--epochs", type=click.IntRange(min=1), help="Overrides train.epochs.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), help="Overrides train.seed.")
@click.option(
    "--precision", type=click.Choice(["float32", "tf32", "bf16"]), help="Overrides train.precision."
)
@cross_mask_option
@set_option
@device_option
@common_options
def train(
    *,
    system: str | None,
    config_file: Path | None,
    train_files: tuple[Path, ...],
    valid_file: Path,
    folders: tuple[Path, ...],
    weights: tuple[float, ...],
    valid_features: Path | None,
    run: Path,
    init: str | None,
    resume: bool,
    epochs: int | None,
    seed: int | None,
    precision: str | None,
    cross_mask: CrossMask | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Train a model, and keep the checkpoint that validates best.

    \b
    Pretrain, then fine-tune:
      amr train --system S8 --train corpus/text/train.jsonl --valid corpus/text/valid.jsonl \\
          --features corpus/features --out pretrained
      amr train --system S8 --train castella_train_release.jsonl --valid castella_val_release.jsonl \\
          --features castella/features --init pretrained/checkpoint-best.pt --out finetuned

    \b
    Two corpora at once, a tenth of the first in each epoch:
      amr train --system S8 --train corpus/text/train.jsonl --features corpus/features --weight 0.1 \\
          --train castella_train_release.jsonl --features castella/features --weight 1 \\
          --valid castella_val_release.jsonl --valid-features castella/features --out both

    On several GPUs, start it with `torchrun --nproc-per-node N -m amr_model.cli train ...`.
    """
    from amr_model.data.corpora import CorpusFiles
    from amr_model.data.sets import RetrievalSet, read_annotations, refuse_without_moments
    from amr_model.learn.distributed import local_device
    from amr_model.learn.runs import LAST, earlier
    from amr_model.learn.train import train as run_training
    from clotho_long.core.settings import override

    if resume and init is not None:
        raise click.UsageError("--resume and --init exclude each other: a run goes on from its own weights")
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes of `torchrun`; the others keep quiet
    quiet = quiet or not is_first
    set_up_logging(quiet=quiet)
    where = local_device(chosen_device(device, jobs))
    corpora, answers = _corpora(train_files, folders, weights), _answers(folders, valid_features)
    config = _settings(system, config_file, run if resume else None, init, cross_mask)
    named = {"train.epochs": epochs, "train.seed": seed, "train.precision": precision}
    short = [f"{key}={value}" for key, value in named.items() if value is not None]
    config = override(config, [*overrides, *short])
    # what can be wrong without the features is said before they are read, which takes minutes
    earlier(run, config, resume=resume, unknown=READ_FROM_FEATURES)
    for path in (*train_files, valid_file):
        refuse_without_moments(read_annotations(path), path)
    if init is not None:
        for line in _check_init(config, init, cross_mask):
            say(line, quiet=quiet)
    config = _reading(config, corpora)
    sets = {
        "train": RetrievalSet.load_all(corpora, config, device=where),
        "valid": RetrievalSet.load_all(
            [CorpusFiles(annotations=valid_file, features=answers)], config, device=where
        ),
    }
    for name, data in sets.items():
        say(f"{name}: {'; '.join(data.report.lines())}", quiet=quiet)
    try:
        with _training_bar(config, sets["train"].queries_an_epoch, quiet=quiet) as on_step:
            trained = run_training(
                config, sets["train"], sets["valid"], run, init=init, resume=resume, on_step=on_step
            )
    except KeyboardInterrupt:
        if not (run / LAST).exists():
            raise
        if is_first:
            click.echo(f"error: interrupted; {run / LAST} is kept, go on with --resume", err=True)
        sys.exit(EXIT_INTERRUPTED)
    figures = ", ".join(f"{name} {value:.2f}" for name, value in trained.figures.items())
    if is_first:
        click.echo(f"{trained.best}: best after epoch {trained.best_epoch}, on validation {figures}")


@click.command()
@click.argument("source", type=CHECKPOINT)
@click.option("--out", required=True, type=FILE, help="The checkpoint to write; its settings go beside it.")
@cross_mask_option
@click.option("--valid", "valid_file", type=FILE, help="Choose the --cross-mask that answers these better.")
@click.option("--features", type=EXISTING_FOLDER, help="Of --valid: folder with clap/ and clap_text/.")
@common_options
def convert(
    *,
    source: str,
    out: Path,
    cross_mask: CrossMask | None,
    valid_file: Path | None,
    features: Path | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Turn a public checkpoint (Lighthouse, DCASE baseline) into one of ours, and write its settings as YAML.

    Not necessary: public files can be given as --checkpoint and --init as they are.

    \b
    For example:
      amr convert lighthouse/best.ckpt --out qd_detr.pt
      amr convert best.ckpt --out baseline.pt --valid castella_val_release.jsonl --features castella/features
    """
    from amr_model.checkpoint import convert as convert_checkpoint
    from amr_model.checkpoint import settings_file

    set_up_logging(quiet=quiet)
    if (valid_file is None) != (features is None):
        raise click.UsageError("--valid and --features go together")
    if valid_file is not None and features is not None:
        if cross_mask is not None:
            raise click.UsageError("--valid chooses what --cross-mask names: give one of them")
        cross_mask = _better_mask(source, valid_file, features, jobs, quiet=quiet)
    config = convert_checkpoint(source, out, cross_mask=cross_mask)
    model = config.model
    click.echo(
        f"{out}: {config.system}, width {model.hidden_dim}, {model.encoder_layers} encoder and "
        f"{model.decoder_layers} decoder layers, {model.num_queries} queries, cross mask {model.cross_mask}; "
        f"settings in {settings_file(out)}"
    )


def _better_mask(source: str, annotations: Path, features: Path, jobs: int, *, quiet: bool) -> CrossMask:
    """Of which generation a public checkpoint is, by what it answers to validation queries."""
    from amr_model.answer.run import predict_set
    from amr_model.checkpoint import load_model
    from amr_model.data.sets import RetrievalSet
    from amr_model.scoring.report import evaluate as score

    where = chosen_device("auto", jobs)
    figures: dict[CrossMask, float] = {}
    for mask in ("reference", "item"):
        network, config = load_model(source, where, cross_mask=mask)
        data = RetrievalSet.load(annotations, features, config, device=where)
        figures[mask] = score(data.queries, predict_set(network, data, config))["brief"]["MR-full-mAP"]
    better = max(figures, key=lambda mask: figures[mask])  # the earlier generation, if they are equal
    said = ", ".join(f"{mask} {value:.2f}" for mask, value in figures.items())
    say(f"mAP by cross mask: {said}; taken: {better}", quiet=quiet)
    return better


def _settings(
    system: str | None,
    config_file: Path | None,
    resumed: Path | None,
    init: str | None,
    cross_mask: CrossMask | None,
) -> ExperimentConfig:
    """The settings that a command names: a system, a file, those of the run that goes on, or of `--init`."""
    from amr_model.checkpoint import load_checkpoint
    from amr_model.systems import load_experiment
    from amr_model.systems import system as system_named

    if system is not None and config_file is not None:
        raise click.UsageError("--system and --config exclude each other; give one of them")
    if system is not None:
        return system_named(system)
    if config_file is None and resumed is not None:
        config_file = resumed / "config.yml"
        if not config_file.is_file():
            raise ConfigError("there is no run to go on with", resumed, "check --out, or leave --resume out")
    if config_file is not None:
        return load_experiment(config_file)
    if init is not None:
        return load_checkpoint(init, cross_mask=cross_mask).config
    raise click.UsageError("no settings are named; give --system S1 to S9, or --config FILE.yml")


def _check_init(config: ExperimentConfig, init: str, cross_mask: CrossMask | None) -> list[str]:
    """Refuse weights that do not fit; in a line, in which settings the network goes on otherwise."""
    from amr_model.checkpoint import check_init

    different = check_init(config, init, cross_mask=cross_mask)
    listed = ", ".join(f"{key} {theirs} -> {ours}" for key, (theirs, ours) in different.items())
    return [f"{init} was trained with other settings: {listed}"] if different else []


def _corpora(
    annotations: tuple[Path, ...], folders: tuple[Path, ...], weights: tuple[float, ...]
) -> list[CorpusFiles]:
    """What is trained on; `--features` and `--weight` belong to the `--train` of their place."""
    from amr_model.data.corpora import CorpusFiles

    count = len(annotations)
    if len(folders) not in (1, count):
        raise click.UsageError(
            f"{count} --train and {len(folders)} --features; give one for each, in order, or one for all"
        )
    if weights and len(weights) != count:
        raise click.UsageError(f"{count} --train and {len(weights)} --weight; give one for each, or none")
    if len({path.resolve() for path in annotations}) < count:
        raise click.UsageError("a --train is given twice; to draw its queries more often, give it a --weight")
    each = folders if len(folders) == count else folders * count
    drawn = weights or (1.0,) * count
    return [
        CorpusFiles(annotations=path, features=folder, weight=weight)
        for path, folder, weight in zip(annotations, each, drawn, strict=True)
    ]


def _answers(folders: tuple[Path, ...], valid_features: Path | None) -> Path:
    """Where the features of `--valid` lie."""
    if valid_features is not None:
        return valid_features
    if len({folder.resolve() for folder in folders}) > 1:
        raise click.UsageError("of several --features none is that of --valid; give --valid-features")
    return folders[0]


def _reading(config: ExperimentConfig, corpora: Sequence[CorpusFiles]) -> ExperimentConfig:
    """The settings with the encoder that made the training features, for prediction on new recordings."""
    from amr_model.data.sets import features_made_by, read_annotations
    from clotho_long.core.settings import build_over
    from clotho_long.features.windows import same_places

    facts: dict[str, str] = {}
    for corpus in corpora:
        made_by = features_made_by(corpus.features, read_annotations(corpus.annotations))
        for fact, value in made_by.items():
            earlier = facts.setdefault(fact, value)
            if not (same_places(earlier, value) if fact == "windows" else earlier == value):
                raise FeatureError(
                    f"the features were made with {fact} {value}, those of other --train with {earlier}",
                    corpus.features,
                    "extract one of them anew: a model reads features of one kind",
                )
    return build_over(config, {"features": facts}, where="the features of --train")


@contextlib.contextmanager
def _training_bar(
    config: ExperimentConfig, num_queries: int, *, quiet: bool
) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over all steps of a run; yields what tells it where training stands."""
    from tqdm import tqdm

    steps = -(-num_queries // config.train.batch_size)
    with tqdm(
        total=steps * config.train.epochs,
        desc="training",
        unit="step",
        disable=quiet or not sys.stderr.isatty(),
        dynamic_ncols=True,
    ) as bar:
        yield lambda epoch, done: bar.update(epoch * steps + done - bar.n) and None


COMMANDS = (train, convert)
