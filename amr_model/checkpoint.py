"""Checkpoints: plain data, whole or absent, loaded strictly and without running code from the file.

A file holds the weights, the full configuration, what training needs to go on exactly where it stood, and
what made it. There is no random state to keep: every random stream hangs on (seed, epoch, step).
"""

from __future__ import annotations

import dataclasses
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from amr_model.answer.calibration import Calibration
from amr_model.config import ExperimentConfig
from amr_model.errors import TrainingError
from amr_model.model import MomentRetriever
from amr_model.public.networks import network_of
from amr_model.public.reader import read_foreign
from amr_model.public.renaming import CrossMask, convert_foreign
from amr_model.public.weights_by_name import PUBLIC, is_remote, local_checkpoint
from clotho_long.core.errors import ClothoLongError, ConfigError
from clotho_long.core.files import atomic_path, fingerprint_file, write_text
from clotho_long.core.settings import build_config, shown, to_plain

FORMAT = "amr-checkpoint-1"
# Settings that no tensor's shape shows, and that weights were trained for.
MODEL_ARITHMETIC = ("num_heads", "tef", "cross_mask", "padding", "propagation", "width_floor")
READING = ("row_s", "audio_normalise", "text_normalise", "windows", "encoder")
MAX_PROBLEMS = 4  # that a message lists


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
    # fingerprints, see `learn.runs.made_of`
    made_of: dict[str, Any] = dataclasses.field(default_factory=dict)
    calibration: Calibration | None = None  # how its curve is read, see `answer.calibrate`


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically."""
    content = {
        "format": FORMAT,
        "made_by": made_by(),
        "made_of": checkpoint.made_of,
        "config": to_plain(checkpoint.config),
        "model": {key: value.detach().cpu() for key, value in checkpoint.model.items()},
        "history": list(checkpoint.history),
        "training": None if checkpoint.training is None else vars(checkpoint.training),
        "calibration": None if checkpoint.calibration is None else to_plain(checkpoint.calibration),
    }
    with atomic_path(path) as part:
        _write(content, part)


def load_checkpoint(path: Path | str, *, cross_mask: CrossMask | None = None) -> Checkpoint:
    """A checkpoint of ours, or a public one under the compatible preset (`public/renaming.py`). On the CPU.

    Args:
        path: a file, or what `public/weights_by_name.py` finds one by.
        cross_mask: of a public one, its generation (`docs/systems.md`); None: the earlier one.

    Raises:
        TrainingError: there is no such file, or it cannot be downloaded, is damaged, not trusted, or of
            another kind.
        ConfigError: its settings are not ours.
    """
    if not is_remote(path):
        return _read(Path(path), cross_mask)
    local = local_checkpoint(path)
    try:
        return _read(local, cross_mask)
    except ClothoLongError as error:  # who asked for a name knows nothing of the cache
        if error.where == str(local):
            raise type(error)(error.problem, path, error.fix) from None
        raise


def checkpoint_fingerprint(path: Path | str) -> str:
    """What a checkpoint is, by its content, wherever it is."""
    return fingerprint_file(local_checkpoint(path))


def _read(path: Path, cross_mask: CrossMask | None) -> Checkpoint:
    if not path.is_file():
        raise TrainingError(
            "no such checkpoint", path, f"check the path; names are hf://..., doi:... and {', '.join(PUBLIC)}"
        )
    content = read_foreign(path)
    if "format" not in content:
        config, model = convert_foreign(path, content, cross_mask=cross_mask)
        return Checkpoint(config=config, model=model)
    if content["format"] != FORMAT:
        raise TrainingError(f"has format {shown(content['format'])}, not {FORMAT}", path, "convert it again")
    if cross_mask is not None:
        raise ConfigError("is for public checkpoints, this is one of ours", "--cross-mask", "leave it out")
    return _from_content(content, path)


def _write(content: Any, path: Path) -> None:
    """`torch.save`, whose own writer says "unexpected pos" where the disk is full."""
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError):
                raise cause from None
            cause = cause.__context__
        raise


def _from_content(content: dict[str, Any], path: Path) -> Checkpoint:
    damaged = TrainingError("is a damaged checkpoint", path, "copy or make the file again")
    settings, model, training = (content.get(name) for name in ("config", "model", "training"))
    if not isinstance(settings, dict) or not isinstance(model, dict):
        raise damaged
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in model.items()):
        raise damaged
    try:
        return Checkpoint(
            config=build_config(ExperimentConfig, settings, where=str(path)),
            model=model,
            history=tuple(content["history"]),
            training=None if training is None else TrainingState(**training),
            made_of=dict(content.get("made_of") or {}),  # earlier versions did not say
            calibration=_calibration(content.get("calibration"), path),
        )
    except (KeyError, TypeError, ValueError):
        raise damaged from None


def _calibration(values: object, path: Path) -> Calibration | None:
    return None if not isinstance(values, dict) else build_config(Calibration, values, where=str(path))


def load_model(
    path: Path | str, device: torch.device, *, cross_mask: CrossMask | None = None
) -> tuple[MomentRetriever, ExperimentConfig]:
    """The network of a checkpoint in evaluation mode on `device`, and its settings.

    Raises:
        TrainingError, ConfigError: as `load_checkpoint`, or weights and settings do not belong together.
    """
    model, config, _ = load_calibrated(path, device, cross_mask=cross_mask)
    return model, config


def load_calibrated(
    path: Path | str, device: torch.device, *, cross_mask: CrossMask | None = None
) -> tuple[MomentRetriever, ExperimentConfig, Calibration | None]:
    """As `load_model`, with what calibration fitted, if it did."""
    checkpoint = load_checkpoint(path, cross_mask=cross_mask)
    model = build_model(checkpoint, where=path)
    return model.to(device).eval(), checkpoint.config, checkpoint.calibration


def build_model(checkpoint: Checkpoint, *, where: object) -> MomentRetriever:
    """The network of a checkpoint, once its settings and its weights are seen to be of the same sizes.

    Raises:
        TrainingError: they are not.
    """
    with torch.device("meta"):  # shapes without memory: settings may ask for more than there is
        sizes = network_of(checkpoint.config.model)
    _check_shapes(sizes, checkpoint.model, where)
    model = network_of(checkpoint.config.model)
    load_weights(model, checkpoint.model, where=where)
    return model


def load_weights(model: MomentRetriever, weights: dict[str, Tensor], *, where: object) -> None:
    """Load all weights, strictly.

    Raises:
        TrainingError: a tensor is missing, left over, or of another shape.
    """
    _check_shapes(model, weights, where)
    model.load_state_dict(weights, strict=True)


def _check_shapes(model: MomentRetriever, weights: dict[str, Tensor], where: object) -> None:
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    problems = [f"{name} is missing" for name in ours if name not in weights]
    problems += [f"{name} is left over" for name in weights if name not in ours]
    problems += [
        f"{name} is {tuple(weights[name].shape)} instead of {shape}"
        for name, shape in ours.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    if problems:
        more = f" and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise TrainingError(
            f"weights do not fit the model ({', '.join(problems[:MAX_PROBLEMS])}{more})",
            where,
            "use the configuration that they were trained with",
        )


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
    shared = _shared(model, weights, where)
    ours = model.state_dict()
    model.load_state_dict(shared, strict=False)
    return Initialised(
        fresh=tuple(key for key in ours if key not in shared),
        unused=tuple(key for key in weights if key not in ours),
    )


def check_init(
    config: ExperimentConfig, init: Path | str, *, cross_mask: CrossMask | None = None
) -> dict[str, tuple[Any, Any]]:
    """Whether a training with these settings can start from a checkpoint, before anything big is loaded.

    Returns:
        Settings of the network and of how features are read in which the two differ: theirs, ours.

    Raises:
        TrainingError, ConfigError: as `load_checkpoint` and `initialise`.
    """
    checkpoint = load_checkpoint(init, cross_mask=cross_mask)
    with torch.device("meta"):
        model = network_of(config.model)
    _shared(model, checkpoint.model, init)
    ours, theirs = to_plain(config), to_plain(checkpoint.config)
    return {
        f"{section}.{key}": (theirs[section][key], value)
        for section, keys in (("model", MODEL_ARITHMETIC), ("features", READING))
        for key, value in ours[section].items()
        if key in keys and theirs[section][key] != value
    }


def _shared(model: MomentRetriever, weights: dict[str, Tensor], where: object) -> dict[str, Tensor]:
    """The tensors that both have, of one shape each."""
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
    return shared


def convert(source: Path | str, out: Path | str, *, cross_mask: CrossMask | None = None) -> ExperimentConfig:
    """Write any checkpoint that we can read as one of ours without training state; returns its settings.

    They are also written beside it, as OUT.yml: a training with them starts in the same arithmetic.
    """
    checkpoint = load_checkpoint(source, cross_mask=cross_mask)
    build_model(checkpoint, where=source)
    save_checkpoint(Path(out), dataclasses.replace(checkpoint, training=None))
    write_text(settings_file(Path(out)), yaml.safe_dump(to_plain(checkpoint.config), sort_keys=False))
    return checkpoint.config


def settings_file(checkpoint: Path) -> Path:
    """Where `convert` writes the settings of a checkpoint."""
    return checkpoint.with_suffix(".yml")


def made_by() -> dict[str, str]:
    """The versions that make a file."""
    return {"package": _version(), "torch": str(torch.__version__)}


def _version() -> str:
    try:
        return metadata.version("audio-moment-retrieval")
    except metadata.PackageNotFoundError:
        return "not installed"
