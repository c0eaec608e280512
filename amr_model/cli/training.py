"""The commands that make checkpoints."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amr_model.cli.options import (
    EXISTING_FILE,
    EXISTING_FOLDER,
    FILE,
    FOLDER,
    chosen_device,
    device_option,
    say,
    set_option,
)
from clotho_long.core.command_line import common_options, set_up_logging
from clotho_long.core.errors import ConfigError

if TYPE_CHECKING:
    from amr_model.config import ExperimentConfig


@click.command()
@click.option("--system", help="One of the report's systems S1 to S8, or S9.")
@click.option("--config", "config_file", type=EXISTING_FILE, help="Settings in YAML, such as RUN/config.yml.")
@click.option("--train", "train_file", required=True, type=FILE, help="Annotations to train on.")
@click.option("--valid", "valid_file", required=True, type=FILE, help="Annotations to select by.")
@click.option("--features", required=True, type=EXISTING_FOLDER, help="Folder with clap/ and clap_text/.")
@click.option("--out", "run", required=True, type=FOLDER, help="RUN folder.")
@click.option("--init", type=FILE, help="Start from the weights of this checkpoint (fine-tuning).")
@click.option("--resume", is_flag=True, help="Go on where the run stopped.")
@click.option("--epochs", type=click.IntRange(min=1), help="Overrides train.epochs.")
@click.option("--seed", type=int, help="Overrides train.seed.")
@click.option(
    "--precision", type=click.Choice(["float32", "tf32", "bf16"]), help="Overrides train.precision."
)
@set_option
@device_option
@common_options
def train(
    *,
    system: str | None,
    config_file: Path | None,
    train_file: Path,
    valid_file: Path,
    features: Path,
    run: Path,
    init: Path | None,
    resume: bool,
    epochs: int | None,
    seed: int | None,
    precision: str | None,
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

    On several GPUs, start it with `torchrun --nproc-per-node N -m amr_model.cli train ...`.
    """
    from amr_model.data.sets import RetrievalSet
    from amr_model.learn.distributed import local_device
    from amr_model.learn.train import train as run_training
    from clotho_long.core.settings import override

    is_first = os.environ.get("RANK", "0") == "0"  # of the processes of `torchrun`; the others keep quiet
    quiet = quiet or not is_first
    set_up_logging(quiet=quiet)
    config = _settings(system, config_file, run if resume else None)
    named = {"train.epochs": epochs, "train.seed": seed, "train.precision": precision}
    short = [f"{key}={value}" for key, value in named.items() if value is not None]
    config = _reading(override(config, [*overrides, *short]), train_file, features)
    where = local_device(chosen_device(device, jobs))
    sets = {
        name: RetrievalSet.load(path, features, config, device=where)
        for name, path in (("train", train_file), ("valid", valid_file))
    }
    for name, data in sets.items():
        say(f"{name}: {'; '.join(data.report.lines())}", quiet=quiet)
    with _training_bar(config, len(sets["train"]), quiet=quiet) as on_step:
        trained = run_training(
            config, sets["train"], sets["valid"], run, init=init, resume=resume, on_step=on_step
        )
    figures = ", ".join(f"{name} {value:.2f}" for name, value in trained.figures.items())
    if is_first:
        click.echo(f"{trained.best}: best after epoch {trained.best_epoch}, on validation {figures}")


@click.command()
@click.argument("source", type=FILE)
@click.option("--out", required=True, type=FILE, help="The checkpoint to write.")
@common_options
def convert(*, source: Path, out: Path, jobs: int, quiet: bool) -> None:
    """Turn a public checkpoint (Lighthouse, DCASE baseline) into one of ours.

    Not necessary: public files can be given as --checkpoint and --init as they are.

    \b
    For example:
      amr convert lighthouse/best.ckpt --out qd_detr.pt
    """
    from amr_model.checkpoint import convert as convert_checkpoint

    set_up_logging(quiet=quiet)
    config = convert_checkpoint(source, out)
    model = config.model
    click.echo(
        f"{out}: {config.system}, width {model.hidden_dim}, {model.encoder_layers} encoder and "
        f"{model.decoder_layers} decoder layers, {model.num_queries} queries"
    )


def _settings(system: str | None, config_file: Path | None, resumed: Path | None) -> ExperimentConfig:
    """The settings that a command names: a system, a file, or those of the run that goes on."""
    from amr_model.config import ExperimentConfig
    from amr_model.config import system as system_named
    from clotho_long.core.settings import load_config

    if system is not None and config_file is not None:
        raise ConfigError("--system and --config exclude each other", "amr train", "give one of them")
    if system is not None:
        return system_named(system)
    if config_file is None and resumed is not None:
        config_file = resumed / "config.yml"
    if config_file is None:
        raise ConfigError(
            "no settings are named", "amr train", "give --system S1 to S9, or --config FILE.yml"
        )
    return load_config(ExperimentConfig, config_file)


def _reading(config: ExperimentConfig, annotations: Path, features: Path) -> ExperimentConfig:
    """The settings with the encoder that made the training features, for prediction on new recordings."""
    from amr_model.data.sets import features_made_by, read_annotations
    from clotho_long.core.settings import override

    facts = features_made_by(features, read_annotations(annotations))
    return override(config, [f"targets.{fact}={value}" for fact, value in facts.items()])


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
