"""The commands that extract features."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clotho_long.core.command_line import (
    FiniteRange,
    common_options,
    progress,
    set_up_logging,
    sound_options,
    together,
)
from clotho_long.core.devices import DEVICE_HELP, check_device_name
from clotho_long.core.errors import ClothoLongError
from clotho_long.core.records import SPLITS

if TYPE_CHECKING:
    from clotho_long.corpus import Corpus
    from clotho_long.features.encode import EncodeCounts
    from clotho_long.features.extract import WindowChoice

FOLDER = click.Path(file_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


# Which encoder, on what.
encoder_options = together(
    click.option("--weights", type=ANY_PATH, help="The encoder's weights; by default its published ones."),
    click.option(
        "--encoder",
        "encoder_name",
        default="msclap-2023",
        show_default=True,
        help="msclap-2023, logmel (needs no weights, is no CLAP), or one of an installed package.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help=DEVICE_HELP,
    ),
    click.option(
        "--precision",
        default="float32",
        show_default=True,
        help="Of the encoder's matrix products; bf16 is faster and slightly different.",
    ),
)


# Where the one-second windows lie.
window_options = together(
    click.option(
        "--windows",
        "convention",
        type=click.Choice(["aligned", "padded", "centred"]),
        default="aligned",
        show_default=True,
        help="Window i is [i, i + 1) s; padded: an incomplete last second counts, as in the features of "
        "DCASE 2026's evaluation set; centred: on i s, as in the published Clotho-Moment features.",
    ),
    click.option(
        "--max-seconds",
        type=FiniteRange(min=1),
        help="Encode only the start of longer recordings; 300 as for CASTELLA's training features.",
    ),
)


# Who works, and what becomes of files that are there.
work_options = together(
    common_options,
    click.option("--overwrite", is_flag=True, help="Replace features that were made otherwise."),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Let the workers of this Dask scheduler do it; they must see the same files.",
    ),
)


@click.command()
@click.argument("corpus_dir", metavar="CORPUS", type=EXISTING_FOLDER)
@encoder_options
@window_options
@click.option(
    "--from",
    "sound",
    type=click.Choice(["recipe", "wav"]),
    default="recipe",
    show_default=True,
    help="Mix from the recipes in memory, or read what `render` wrote.",
)
@click.option(
    "--split", "splits", multiple=True, type=click.Choice(SPLITS), help="Only this split; may be repeated."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N recordings of each split.")
@click.option("--pack", "and_pack", is_flag=True, help="Also pack the features into one file for training.")
@work_options
def extract(
    corpus_dir: Path, sound: Any, splits: tuple[str, ...], limit: int | None, and_pack: bool, **options: Any
) -> None:
    """Audio and text features of a corpus, straight from its recipes: no audio file is written.

    \b
    Examples:
      clotho-long extract corpus --weights CLAP_weights_2023.pth --pack
      clotho-long extract corpus --encoder logmel --split valid --limit 20
    """
    from clotho_long.corpus import Corpus
    from clotho_long.features.store import pack

    corpus = Corpus(corpus_dir)
    extract_and_report(corpus, sound=sound, splits=splits, limit=limit, **options)
    if and_pack:
        for kind in ("audio", "text"):
            click.echo(f"packed: {pack(corpus.features_dir, kind=kind)}")


def extract_and_report(
    corpus: Corpus,
    *,
    sound: Any = "recipe",
    splits: tuple[str, ...] = (),
    limit: int | None = None,
    **options: Any,
) -> None:
    """Extract the features of a corpus and say what came of it; `options` are those of the commands."""
    from clotho_long.stages.extract import extract_corpus

    audio, text = extract_corpus(
        corpus,
        sound=sound,
        splits=splits,
        limit=limit,
        windows=_windows(options),
        **_encoder_and_workers(options),
    )
    _report("recordings", audio)
    _report("queries", text)
    _fail_if_any_problem(audio, corpus.root)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=ANY_PATH)
@click.option("--out", "features_dir", required=True, type=FOLDER, help="Folder that gets clap/NAME.npz.")
@encoder_options
@window_options
@sound_options
@click.option(
    "--names",
    "naming",
    type=click.Choice(["stem", "path"]),
    default="stem",
    show_default=True,
    help="Call a recording by its file, or by its path below PATH (as always where two names meet).",
)
@work_options
def features(
    paths: tuple[Path, ...],
    features_dir: Path,
    channels: Any,
    track: int | None,
    naming: Any,
    **options: Any,
) -> None:
    """Audio features of any recordings: files of any format, and folders of them.

    \b
    Examples:
      clotho-long features street.wav walks/ --out features --weights CLAP_weights_2023.pth
      clotho-long features castella/ --out features --max-seconds 300
    """
    from clotho_long.audio.choice import SoundChoice
    from clotho_long.stages.extract import extract_recordings

    counts = extract_recordings(
        paths,
        features_dir,
        windows=_windows(options),
        sound=SoundChoice(channels=channels, track=track),
        naming=naming,
        **_encoder_and_workers(options),
    )
    _report("recordings", counts)
    _fail_if_any_problem(counts, features_dir)


@click.command("text-features")
@click.argument("file", metavar="FILE.jsonl", type=FILE)
@click.option(
    "--out", "features_dir", required=True, type=FOLDER, help="Folder that gets clap_text/qidQID.npz."
)
@encoder_options
@work_options
def text_features(file: Path, features_dir: Path, **options: Any) -> None:
    """Text features of the `query` of each line of an annotation file, named by its `qid`.

    \b
    Example:
      clotho-long text-features castella_val_release.jsonl --out features --weights CLAP_weights_2023.pth
    """
    from clotho_long.stages.extract import extract_annotations

    _report("queries", extract_annotations(file, features_dir, **_encoder_and_workers(options)))


@click.command("verify-encoder")
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@encoder_options
@click.option(
    "--windows",
    "max_windows",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Seconds of the recording to compare.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-4,
    show_default=True,
    help="Largest relative deviation that counts as equal.",
)
def verify_encoder(recording: Path, max_windows: int, tolerance: float, **options: Any) -> None:
    """Compare the fast encoder with the published package on this machine, with these weights.

    Needs `pip install '.[msclap]'`. Exit status 1 if they differ.

    \b
    Example:
      clotho-long verify-encoder street.wav --weights CLAP_weights_2023.pth
    """
    from clotho_long.features.encoder import load_encoder
    from clotho_long.features.verify import compare_encoders

    judged = load_encoder(
        options["encoder_name"],
        weights=options["weights"],
        device=options["device"],
        precision=options["precision"],
    )
    reference = load_encoder("msclap-reference", weights=options["weights"], device="cpu")
    found = compare_encoders(recording, judged, reference, max_windows=max_windows)
    for what, agreement in found.items():
        click.echo(
            f"{what}: {agreement.rows} rows, relative deviation {agreement.relative:.1e}, smallest cosine "
            f"{agreement.cosine:.6f} ({agreement.centred_cosine:.6f} without the common mean), "
            f"{agreement.speed:.1f} times as fast"
        )
    worst = max(agreement.relative for agreement in found.values())
    if worst > tolerance:
        raise ClothoLongError(
            f"{judged.name} differs from the published package by {worst:.1e}", recording, "report it"
        )


def _encoder_and_workers(options: dict[str, Any]) -> dict[str, Any]:
    from clotho_long.core.work import Workers
    from clotho_long.features.extract import EncoderChoice

    set_up_logging(quiet=options["quiet"])
    check_device_name(options["device"])
    return {
        "encoder": EncoderChoice(
            name=options["encoder_name"],
            weights=options["weights"],
            device=options["device"],
            precision=options["precision"],
        ),
        "workers": Workers(
            jobs=options["jobs"],
            scheduler=options["scheduler"],
            watch=functools.partial(progress, quiet=options["quiet"]),
        ),
        "overwrite": options["overwrite"],
    }


def _windows(options: dict[str, Any]) -> WindowChoice:
    from clotho_long.features.extract import WindowChoice

    return WindowChoice(convention=options["convention"], max_s=options["max_seconds"])


def _report(what: str, counts: EncodeCounts) -> None:
    click.echo(
        f"{what}: {counts.written:,} encoded; {counts.done_before:,} done before; "
        f"{len(counts.problems):,} failed"
    )
    for notice in counts.notices:
        click.echo(f"  note: {notice}", err=True)
    for problem in counts.problems:
        click.echo(f"  {problem}", err=True)


def _fail_if_any_problem(counts: EncodeCounts, where: Path) -> None:
    if counts.problems:
        raise ClothoLongError(
            f"{len(counts.problems)} recordings could not be encoded", where, "see the lines above"
        )


COMMANDS = (extract, features, text_features, verify_encoder)
