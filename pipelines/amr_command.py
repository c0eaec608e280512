"""`amr ablate`: the pipeline `ablation` with its corpora named on the command line.

The `amr` program finds it as an entry point of the group `amr.commands`, so that `amr_model` imports nothing
of the pipelines. Heavy imports stay inside: every `amr --help` loads this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import click

from clotho_long.core.command_line import common_options
from clotho_long.core.devices import DEVICE_HELP, find_device
from clotho_long.core.seeds import MAX_SEED
from clotho_long.core.settings import shown

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
Value = TypeVar("Value", int, str)


@click.command()
@click.option(
    "--pretrain",
    required=True,
    type=EXISTING_FOLDER,
    help="Corpus with text/{train,valid}.jsonl and features/.",
)
@click.option(
    "--finetune",
    required=True,
    type=EXISTING_FOLDER,
    help="The same with text/test.jsonl too, unless the three annotation files are named.",
)
@click.option("--finetune-train", type=EXISTING_FILE, help="Annotations to fine-tune on.")
@click.option("--finetune-valid", type=EXISTING_FILE, help="Annotations to select by.")
@click.option("--test", "test_file", type=EXISTING_FILE, help="Annotations to score on.")
@click.option("--systems", default="S1,S2,S3,S4,S5,S6,S7,S8", show_default=True, help="Rows of the table.")
@click.option("--seeds", default="1,2,3", show_default=True, help="Seeds of each row.")
@click.option("--out", required=True, type=FOLDER, help="Runs, scores, report.html and report.md.")
@click.option(
    "--pretraining",
    type=click.Choice(["own", "shared"]),
    default="own",
    show_default=True,
    help="Pretrain each system as itself, or S2 to S8 as S2, which costs less.",
)
@click.option(
    "--pretrain-labels",
    type=click.Choice(["first", "all"]),
    default="first",
    show_default=True,
    help="Windows of a query that are positives in pretraining; the report has all in fine-tuning only.",
)
@click.option("--device", default="auto", show_default=True, help=DEVICE_HELP)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes of each training, such as one for each GPU.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one setting of every system."
)
@common_options
def ablate(
    *,
    pretrain: Path,
    finetune: Path,
    finetune_train: Path | None,
    finetune_valid: Path | None,
    test_file: Path | None,
    systems: str,
    seeds: str,
    pretraining: str,
    pretrain_labels: str,
    out: Path,
    device: str,
    processes: int,
    overrides: tuple[str, ...],
    jobs: int,
    quiet: bool,
) -> None:
    """Train and score S1 to S8 over several seeds, and write the report's table with ours beside it.

    \b
    For example:
      amr ablate --pretrain corpus --finetune castella --finetune-train castella_train_release.jsonl \\
          --finetune-valid castella_val_release.jsonl --test castella_test_release.jsonl --out ablation
    """
    from clotho_long.core.settings import build_config
    from pipelines.ablation import AblationSettings, run_ablation
    from pipelines.runs import settings_of

    def labelled(corpus: Path, split: str, annotations: Path | None = None) -> dict[str, str]:
        file = annotations or corpus / "text" / f"{split}.jsonl"
        return {"annotations": str(file), "features": str(corpus / "features")}

    values = {
        "pretrain": {split: labelled(pretrain, split) for split in ("train", "valid")},
        "finetune": {
            "train": labelled(finetune, "train", finetune_train),
            "valid": labelled(finetune, "valid", finetune_valid),
        },
        "test": labelled(finetune, "test", test_file),
        "systems": [_system(name) for name in _distinct(_listed(systems), "--systems")],
        "seeds": _distinct([_number(text) for text in _listed(seeds)], "--seeds"),
        "pretraining": pretraining,
        "pretrain_labels": pretrain_labels,
        "settings": list(overrides),
        "device": device,
        "processes": processes,
    }
    find_device(device)  # before hours of work, and not in the middle of them
    settings = build_config(AblationSettings, values, where="amr ablate")
    for name in settings.systems:
        settings_of(name, overrides)
    run_ablation(settings, out, jobs=jobs, quiet=quiet)


def _system(name: str) -> str:
    from amr_model.config import SYSTEMS

    if name not in SYSTEMS:
        raise click.BadParameter(
            f"no system is called {name!r}; take some of {', '.join(SYSTEMS)}", param_hint="--systems"
        )
    return name


def _number(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise click.BadParameter(
            f"{shown(text)} is not a whole number from 0 to {MAX_SEED}", param_hint="--seeds"
        )
    return seed


def _distinct(values: list[Value], option: str) -> list[Value]:
    for value in values:
        if values.count(value) > 1:
            raise click.BadParameter(f"{value} is there twice", param_hint=option)
    return values


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
