"""`amr`: training, evaluation and retrieval. Commands parse, call one function, report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clotho_long import __version__
from clotho_long.core.command_line import CommandGroup, common_options, progress, set_up_logging
from clotho_long.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from amr_model.config import ExperimentConfig
    from amr_model.data import RetrievalSet
    from amr_model.submission import Prediction

FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

Command = Callable[..., Any]


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="audio-moment-retrieval")
def main() -> None:
    """Train, evaluate and use models that find the moments of a recording that a sentence describes.

    \b
    For example:
      amr train --system S8 --train train.jsonl --valid valid.jsonl --features features --out run
      amr predict street.wav --query "a dog barks twice" --checkpoint run/checkpoint-best.pt
    """


def device_option(command: Command) -> Command:
    """`--device`."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto (a GPU if there is one), cpu, cuda, or one GPU such as cuda:1.",
    )(command)


def set_option(command: Command) -> Command:
    """`--set`, which may be given several times."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one setting, such as inference.nms_iou=0.5; may be repeated.",
    )(command)


def set_options(command: Command) -> Command:
    """What is evaluated: a checkpoint on annotated queries with features."""
    for option in (
        click.option(
            "--features", required=True, type=EXISTING_FOLDER, help="Folder with clap/ and clap_text/."
        ),
        click.option("--annotations", required=True, type=FILE, help="Queries, one JSON line each."),
        click.option("--checkpoint", required=True, type=FILE, help="Ours, or a public one."),
    ):
        command = option(command)
    return command


@main.command()
@click.option("--system", help="One of the report's systems, S1 to S8.")
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
    from amr_model.data import RetrievalSet
    from amr_model.train import train as run_training
    from clotho_long.core.config import override

    set_up_logging(quiet=quiet)
    config = _settings(system, config_file, run if resume else None)
    named = {"train.epochs": epochs, "train.seed": seed, "train.precision": precision}
    short = [f"{key}={value}" for key, value in named.items() if value is not None]
    config = _reading(override(config, [*overrides, *short]), train_file, features)
    where = _device(device, jobs)
    sets = {
        name: RetrievalSet.load(path, features, config, device=where)
        for name, path in (("train", train_file), ("valid", valid_file))
    }
    for name, data in sets.items():
        _say(f"{name}: {'; '.join(data.report.lines())}", quiet=quiet)
    with _training_bar(config, len(sets["train"]), quiet=quiet) as on_step:
        trained = run_training(
            config, sets["train"], sets["valid"], run, init=init, resume=resume, on_step=on_step
        )
    figures = ", ".join(f"{name} {value:.2f}" for name, value in trained.figures.items())
    click.echo(f"{trained.best}: best after epoch {trained.best_epoch}, on validation {figures}")


@main.command()
@set_options
@click.option("--out", type=FOLDER, help="Write predictions, metrics.json, table.txt and metrics.png here.")
@click.option(
    "--official", is_flag=True, help="Leave unanswered queries out, as the official evaluator does."
)
@set_option
@device_option
@common_options
def evaluate(
    *,
    checkpoint: Path,
    annotations: Path,
    features: Path,
    out: Path | None,
    official: bool,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Predict annotated queries and score the predictions: metrics, intervals, breakdowns, calibration.

    \b
    For example:
      amr evaluate --checkpoint run/checkpoint-best.pt --annotations castella_test_release.jsonl \\
          --features castella/features --out evaluation
    """
    from amr_model.evaluation import evaluate as score
    from amr_model.evaluation import plot, table
    from amr_model.submission import write_predictions
    from clotho_long.core.files import write_json, write_text

    set_up_logging(quiet=quiet)
    data, predictions = _predict(checkpoint, annotations, features, overrides, device, jobs, quiet=quiet)
    if out is not None:
        # before they are scored: a file without moments can still be predicted
        write_predictions(out / "predictions.jsonl", predictions)
    report = score(data.queries, predictions, official=official)
    click.echo(table(report), nl=False)
    if out is not None:
        write_json(out / "metrics.json", report)
        write_text(out / "table.txt", table(report))
        plot(report, out / "metrics.png")
        _say(f"wrote {out}", quiet=quiet)


@main.command()
@click.option("--predictions", "prediction_file", required=True, type=FILE, help="Lighthouse-format file.")
@click.option("--annotations", required=True, type=FILE, help="Queries, one JSON line each.")
@click.option(
    "--official", is_flag=True, help="Leave unanswered queries out, as the official evaluator does."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--out", type=FILE, help="Also write everything as JSON to this file.")
@common_options
def metrics(
    *,
    prediction_file: Path,
    annotations: Path,
    official: bool,
    as_json: bool,
    out: Path | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Score any Lighthouse-format prediction file, with the official evaluator's numbers.

    \b
    For example:
      amr metrics --predictions run/predictions-valid.jsonl --annotations castella_val_release.jsonl
    """
    from amr_model.data import read_annotations
    from amr_model.evaluation import evaluate as score
    from amr_model.evaluation import table
    from amr_model.submission import read_predictions
    from clotho_long.core.files import write_json

    set_up_logging(quiet=quiet)
    report = score(read_annotations(annotations), read_predictions(prediction_file), official=official)
    click.echo(json.dumps(report, indent=2) + "\n" if as_json else table(report), nl=False)
    if out is not None:
        write_json(out, report)


@main.command()
@set_options
@click.option("--out", required=True, type=FILE, help="The submission file, JSON lines.")
@set_option
@device_option
@common_options
def submit(
    *,
    checkpoint: Path,
    annotations: Path,
    features: Path,
    out: Path,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Write the submission file of DCASE 2026 Task 6, checked.

    Every qid once, at most ten windows in order of score, each inside its recording. The annotations need no
    moments. A public checkpoint is ranked by our procedure here: the reference's breaks these rules.

    \b
    For example:
      amr submit --checkpoint run/checkpoint-best.pt --annotations evaluation_set.jsonl \\
          --features evaluation/features --out submission.jsonl
    """
    from amr_model.submission import check_submission, write_predictions

    set_up_logging(quiet=quiet)
    data, predictions = _predict(
        checkpoint, annotations, features, overrides, device, jobs, quiet=quiet, valid_windows=True
    )
    check_submission(predictions, data.queries)
    count = write_predictions(out, predictions)
    click.echo(f"{out}: {count} queries, {sum(len(p.windows) for p in predictions)} windows, checked")


@main.command()
@click.argument("recordings", nargs=-1, required=True, type=EXISTING_FILE)
@click.option("--query", "queries", required=True, multiple=True, help="A sentence; may be repeated.")
@click.option("--checkpoint", required=True, type=FILE, help="Ours, or a public one.")
@click.option("--encoder", help="Encoder of the features.  [default: the checkpoint's]")
@click.option("--weights", type=FILE, help="Weights of the encoder.")
@click.option("--top", type=click.IntRange(1, 10), default=5, show_default=True, help="Moments to report.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object for each recording and query.")
@click.option("--plot", "plot_file", type=FILE, help="Draw the moments into this picture.")
@click.option("--cut", "cut_folder", type=FOLDER, help="Write the moments as wav files into this folder.")
@set_option
@device_option
@common_options
def predict(
    *,
    recordings: Sequence[Path],
    queries: Sequence[str],
    checkpoint: Path,
    encoder: str | None,
    weights: Path | None,
    top: int,
    as_json: bool,
    plot_file: Path | None,
    cut_folder: Path | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Find the moments of recordings that sentences describe. Any length, any audio or video format.

    \b
    For example:
      amr predict street.mp3 --query "a dog barks" --query "a tram passes" \\
          --checkpoint run/checkpoint-best.pt --plot street.png --cut moments
    """
    from amr_model.checkpoint import load_model
    from amr_model.predict import cut_moments, find_moments, plot_answers
    from clotho_long.core.config import override
    from clotho_long.features.encoder import load_encoder

    set_up_logging(quiet=quiet)
    where = _device(device, jobs)
    network, config = load_model(checkpoint, where)
    config = override(config, overrides)
    listener = load_encoder(encoder or config.targets.encoder, weights=weights, device=where.type)
    answers = []
    for recording in progress(
        recordings, total=len(recordings), label="listening", unit="recording", quiet=quiet
    ):
        answers += find_moments(recording, queries, network, config, listener, num_windows=top, device=where)
    for number, answer in enumerate(answers):
        click.echo(json.dumps(answer.to_json()) if as_json else answer.to_text(), nl=as_json)
        if cut_folder is not None:
            prefix = f"q{number % len(queries) + 1}-" if len(queries) > 1 else ""
            cut_moments(answer, cut_folder, prefix=prefix)
    if plot_file is not None:
        plot_answers(answers, plot_file)


@main.command()
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
    from clotho_long.core.config import load_config

    if system is not None and config_file is not None:
        raise ConfigError("--system and --config exclude each other", "amr train", "give one of them")
    if system is not None:
        return system_named(system)
    if config_file is None and resumed is not None:
        config_file = resumed / "config.yml"
    if config_file is None:
        raise ConfigError(
            "no settings are named", "amr train", "give --system S1 to S8, or --config FILE.yml"
        )
    return load_config(ExperimentConfig, config_file)


def _reading(config: ExperimentConfig, annotations: Path, features: Path) -> ExperimentConfig:
    """The settings with the encoder that made the training features, for prediction on new recordings."""
    from amr_model.data import features_made_by, read_annotations
    from clotho_long.core.config import override

    facts = features_made_by(features, read_annotations(annotations))
    return override(config, [f"targets.{fact}={value}" for fact, value in facts.items()])


def _predict(
    checkpoint: Path,
    annotations: Path,
    features: Path,
    overrides: Sequence[str],
    device: str,
    jobs: int,
    *,
    quiet: bool,
    valid_windows: bool = False,
) -> tuple[RetrievalSet, list[Prediction]]:
    """The queries of an annotation file and what a checkpoint answers to them."""
    from amr_model.checkpoint import load_model
    from amr_model.config import InferenceConfig
    from amr_model.data import RetrievalSet
    from amr_model.postprocess import predict_set
    from clotho_long.core.config import override

    where = _device(device, jobs)
    network, config = load_model(checkpoint, where)
    if valid_windows and config.inference.procedure == "reference":
        config = dataclasses.replace(config, inference=InferenceConfig())
        _say("the reference's procedure is replaced by ours, whose windows are valid", quiet=quiet)
    config = override(config, overrides)
    data = RetrievalSet.load(annotations, features, config, device=where)
    _say("; ".join(data.report.lines()), quiet=quiet)
    return data, predict_set(network, data, config)


def _device(name: str, jobs: int) -> torch.device:
    """Where to compute, with `jobs` threads on the CPU."""
    import torch

    torch.set_num_threads(jobs)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no device is called {name!r}", "--device", "take auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no NVIDIA GPU can be used here", "--device", "take auto or cpu")
    return device


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


def _say(message: str, *, quiet: bool) -> None:
    if not quiet:
        click.echo(message, err=True)


if __name__ == "__main__":
    main()
