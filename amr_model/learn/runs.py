"""The folder of a run: who works in it, what the run was made of, and whether it may start or go on.

A run belongs to its settings, its data and the weights that it started from. It goes on with the same, or not
at all; nothing that it found is overwritten; and one process at a time (with those that it trains with) works
in its folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from amr_model.checkpoint import Checkpoint, checkpoint_fingerprint, load_checkpoint, made_by
from amr_model.config import ExperimentConfig
from amr_model.data.sets import RetrievalSet
from amr_model.errors import TrainingError
from clotho_long.core import locks
from clotho_long.core.files import write_json
from clotho_long.core.settings import to_plain

BEST, LAST = "checkpoint-best.pt", "checkpoint-last.pt"
SETTINGS, RECORD, HISTORY, PREDICTIONS = "config.yml", "run.json", "metrics.jsonl", "predictions-valid.jsonl"

# Settings that may be changed while a run goes on: a longer run, more frequent saving; `stretch_rows` follows
# from the training set.
FREE = {("train", "epochs"), ("train", "save_every_s"), ("features", "stretch_rows")}


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Work alone in `run`, without what a killed process left unfinished there.

    Raises:
        TrainingError: another process works there; says which.
    """

    def busy(owner: str) -> TrainingError:
        return TrainingError(
            f"another training works here ({owner})", run, "wait for it, or choose another --out"
        )

    with locks.locked(run, busy):
        yield


def earlier(
    run: Path, config: ExperimentConfig, *, resume: bool, unknown: Collection[str] = ()
) -> Checkpoint | None:
    """What a run goes on from; None for a start. Cheap: to be asked before anything is loaded.

    Args:
        unknown: settings, such as `features.windows`, that are not to be compared yet.

    Raises:
        TrainingError: the folder holds a run that is not to be resumed, cannot be, or has other settings.
    """
    last = run / LAST
    if not last.exists():
        _refuse_remains(run, resume=resume)
        return None
    if not resume:
        if _has_results(run) or _has_begun(last):
            raise TrainingError("this run exists", run, "resume it with --resume, or choose another --out")
        return None
    before = load_checkpoint(last)
    ours, theirs = _comparable(config), _comparable(before.config)
    different = [key for key in ours if ours[key] != theirs.get(key) and key not in unknown]
    if different:
        raise TrainingError(
            f"was made with other settings ({', '.join(different)})",
            last,
            "resume with the settings in its config.yml, or choose another --out",
        )
    return before


def made_of(train_set: RetrievalSet, valid_set: RetrievalSet, init: Path | str | None) -> dict[str, Any]:
    """Fingerprints of all that shapes a run besides its settings; checkpoints carry them."""
    facts: dict[str, Any] = {}
    for name, data in (("train", train_set), ("valid", valid_set)):
        facts[f"{name} annotations"] = [source.queries_fingerprint for source in data.sources]
        facts[f"{name} features"] = [source.features_fingerprint for source in data.sources]
    facts["train weights"] = [source.weight for source in train_set.sources]
    facts["init"] = None if init is None else checkpoint_fingerprint(init)
    return facts


def refuse_other_data(run: Path, before: Checkpoint, now: dict[str, Any]) -> dict[str, Any]:
    """What the run is made of; the weights that it once started from need not be named again.

    Raises:
        TrainingError: it was trained on something else; says on what.
    """
    if not before.made_of:
        return now  # of an earlier version, which did not say
    if now["init"] is None:
        now = {**now, "init": before.made_of.get("init")}
    different = [name for name, value in now.items() if before.made_of.get(name) != value]
    if different:
        raise TrainingError(
            f"was trained with other data ({', '.join(different)})",
            run / LAST,
            f"resume with what {run / RECORD} names, or choose another --out",
        )
    return now


def write_record(
    run: Path,
    facts: dict[str, Any],
    train_set: RetrievalSet,
    valid_set: RetrievalSet,
    init: Path | str | None,
) -> None:
    """run.json: where everything lay, what made it, and the command."""
    record = {
        "made_by": made_by(),
        "command": sys.argv,
        "train": [dataclasses.asdict(source) for source in train_set.sources],
        "valid": [dataclasses.asdict(source) for source in valid_set.sources],
        "init": None if init is None else str(init),
        "made_of": facts,
    }
    write_json(run / RECORD, record)


def _has_results(run: Path) -> bool:
    return any((run / name).exists() for name in (BEST, HISTORY, PREDICTIONS))


def _has_begun(last: Path) -> bool:
    """Whether a step was made: what stopped before it has nothing to lose, what cannot be read may have."""
    try:
        state = load_checkpoint(last).training
    except TrainingError:
        return True
    return state is None or state.epoch > 0 or state.step > 0


def _refuse_remains(run: Path, *, resume: bool) -> None:
    """Without checkpoint-last.pt a run cannot go on, and what it found is not overwritten."""
    foreign = (run / SETTINGS).exists() and not (run / RECORD).exists() and not resume
    if _has_results(run) or foreign:
        raise TrainingError(
            f"holds a run without {LAST}, which cannot go on and is not overwritten",
            run,
            "choose another --out, or move the folder away",
        )


def _comparable(config: ExperimentConfig) -> dict[str, Any]:
    """Settings that shape the weights."""
    return {
        f"{section}.{key}": value
        for section, values in to_plain(config).items()
        if isinstance(values, dict)
        for key, value in values.items()
        if (section, key) not in FREE
    }
