"""Checkpoints: plain data, whole or absent, loaded strictly and without running code from the file.

A file holds the weights, the full configuration, what training needs to go on exactly where it stood, and
what made it. There is no random state to keep: every random stream hangs on (seed, epoch, step).
"""

from __future__ import annotations

import dataclasses
import pickle
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amr_model.answer.calibration import Calibration
from amr_model.config import ExperimentConfig
from amr_model.errors import TrainingError
from amr_model.model import MomentRetriever
from amr_model.public.renaming import convert_foreign
from clotho_long.core.files import atomic_path
from clotho_long.core.settings import build_config, to_plain

FORMAT = "amr-checkpoint-1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What training needs to go on: `step` steps of `epoch` are done."""

    epoch: int
    step: int
    optimizer: dict[str, Any]
    loss_sums: Tensor  # of the steps done in this epoch
    best: float | None  # the validation figure of the best checkpoint so far


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model with its settings; `training` only in files from which training can go on."""

    config: ExperimentConfig
    model: dict[str, Tensor]
    history: tuple[dict[str, Any], ...] = ()  # one record for each finished epoch
    training: TrainingState | None = None
    calibration: Calibration | None = None  # how its curve is read, see `answer.calibrate`


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically."""
    content = {
        "format": FORMAT,
        "made_by": {"package": _version(), "torch": str(torch.__version__)},
        "config": to_plain(checkpoint.config),
        "model": {key: value.detach().cpu() for key, value in checkpoint.model.items()},
        "history": list(checkpoint.history),
        "training": None if checkpoint.training is None else vars(checkpoint.training),
        "calibration": None if checkpoint.calibration is None else to_plain(checkpoint.calibration),
    }
    with atomic_path(path) as part:
        torch.save(content, part)


def load_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint of ours, or a public one (`foreign.py`) under the compatible preset. On the CPU.

    Raises:
        TrainingError: there is no such file, or it is damaged, not trusted, or of another kind.
        ConfigError: its settings are not ours.
    """
    if not path.is_file():
        raise TrainingError("no such checkpoint", path, "check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        content = None  # more than plain data: a public file, or one not to trust
    except Exception as error:  # bytes of any other file are a program to the unpickler, and end in anything
        raise TrainingError(
            f"cannot be read as a checkpoint ({_first_line(error)})", path, "copy or make the file again"
        ) from None
    if not isinstance(content, dict) or "format" not in content:
        config, model = convert_foreign(path)
        return Checkpoint(config=config, model=model)
    if content["format"] != FORMAT:
        raise TrainingError(f"has format {content['format']!r}, not {FORMAT}", path, "convert it again")
    training, fitted = content["training"], content.get("calibration")  # files until version 1 have none
    return Checkpoint(
        config=build_config(ExperimentConfig, content["config"], where=str(path)),
        model=content["model"],
        history=tuple(content["history"]),
        training=None if training is None else TrainingState(**training),
        calibration=None if fitted is None else build_config(Calibration, fitted, where=str(path)),
    )


def load_model(path: Path, device: torch.device) -> tuple[MomentRetriever, ExperimentConfig]:
    """The network of a checkpoint in evaluation mode on `device`, and its settings.

    Raises:
        TrainingError, ConfigError: as `load_checkpoint`, or weights and settings do not belong together.
    """
    model, config, _ = load_calibrated(path, device)
    return model, config


def load_calibrated(
    path: Path, device: torch.device
) -> tuple[MomentRetriever, ExperimentConfig, Calibration | None]:
    """As `load_model`, with what calibration fitted, if it did."""
    checkpoint = load_checkpoint(path)
    model = MomentRetriever(checkpoint.config.model)
    load_weights(model, checkpoint.model, where=path)
    return model.to(device).eval(), checkpoint.config, checkpoint.calibration


def load_weights(model: MomentRetriever, weights: dict[str, Tensor], *, where: object) -> None:
    """Load all weights, strictly.

    Raises:
        TrainingError: a tensor is missing, left over, or of another shape.
    """
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:300]
        raise TrainingError(
            f"weights do not fit the model ({problem})",
            where,
            "use the configuration that they were trained with",
        ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initialised:
    """What became of each tensor when a model was started from another one's weights."""

    fresh: tuple[str, ...]  # tensors of ours that the checkpoint does not have
    unused: tuple[str, ...]  # tensors of the checkpoint that we do not have


def initialise(model: MomentRetriever, weights: dict[str, Tensor], *, where: object) -> Initialised:
    """Start from another model's weights; parts that it did not have keep their start values.

    Raises:
        TrainingError: a tensor of the same name has another shape, or nothing fits.
    """
    ours = model.state_dict()
    shared = {key: value for key, value in weights.items() if key in ours}
    for key, value in shared.items():
        if value.shape != ours[key].shape:
            raise TrainingError(
                f"{key} has shape {tuple(value.shape)}, the model needs {tuple(ours[key].shape)}",
                where,
                "start from a checkpoint of the same sizes, or set the model's sizes to its",
            )
    if not shared:
        raise TrainingError("holds no tensor of this model", where, "check the file")
    model.load_state_dict(shared, strict=False)
    return Initialised(
        fresh=tuple(key for key in ours if key not in shared),
        unused=tuple(key for key in weights if key not in ours),
    )


def convert(source: Path, out: Path) -> ExperimentConfig:
    """Write any checkpoint that we can read as one of ours without training state; returns its settings."""
    checkpoint = load_checkpoint(source)
    load_weights(MomentRetriever(checkpoint.config.model), checkpoint.model, where=source)
    save_checkpoint(out, dataclasses.replace(checkpoint, training=None))
    return checkpoint.config


def _version() -> str:
    try:
        return metadata.version("audio-moment-retrieval")
    except metadata.PackageNotFoundError:
        return "not installed"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
