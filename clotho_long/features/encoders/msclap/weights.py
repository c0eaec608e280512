"""The weights file of MS-CLAP 2023: where it is, whether it is whole, and what it holds.

`CLAP_weights_2023.pth` (hub repository `microsoft/msclap`) is a dict whose `model` is the state of the whole
CLAP: HTS-AT and its projection, GPT-2 and its projection, `logit_scale`. `msclap` itself loads it with
`strict=False`, which hides missing weights; here all that the embeddings depend on must be there in its
shape, and what nobody needs is named and left aside.
"""

from __future__ import annotations

import fnmatch
import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass

from clotho_long.core.errors import FeatureError
from clotho_long.core.hub import hub_file
from clotho_long.core.tensor_files import TensorFileError, read_tensor_file
from clotho_long.features.encoders.msclap.layout import (
    DEPTHS,
    HEADS,
    WIDTHS,
    relative_position_index,
    shift_mask,
)

HUB_REPOSITORY = "microsoft/msclap"
HUB_FILE = "CLAP_weights_2023.pth"
SHARED_DIM = 1024
AUDIO_PREFIX = "audio_encoder.base.htsat."
TEXT_PREFIX = "caption_encoder.base."
AUDIO_PROJECTION, TEXT_PROJECTION = "audio_encoder.projection.", "caption_encoder.projection."

# Published with the weights, but no part of the two embeddings that we compute.
UNUSED = (
    "logit_scale",
    "audio_encoder.projection.*",
    "caption_encoder.projection.*",
    f"{AUDIO_PREFIX}bn0.num_batches_tracked",
    f"{AUDIO_PREFIX}tscam_conv.*",
    f"{AUDIO_PREFIX}head.*",
    # the causal mask: older releases of transformers saved it
    f"{TEXT_PREFIX}h.*.attn.bias",
    f"{TEXT_PREFIX}h.*.attn.masked_bias",
)
# Constants of the architecture that are saved too; we make them ourselves and check that they are the same.
CONSTANTS = (
    f"{AUDIO_PREFIX}layers.*.attn.relative_position_index",
    f"{AUDIO_PREFIX}layers.*.attn_mask",
)
MAX_NAMES = 5

logger = logging.getLogger(__name__)

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, config={"arbitrary_types_allowed": True})
class Weights:
    """The two towers' weights, float32, named as in their modules, and the file's hash."""

    path: Path
    sha256: str
    audio: dict[str, torch.Tensor]
    text: dict[str, torch.Tensor]
    audio_projection: dict[str, torch.Tensor]  # into the space that both share; empty where the file has none
    text_projection: dict[str, torch.Tensor]
    unused: tuple[str, ...]  # keys of the file that neither tower needs


def find_weights(weights: Path | str | None) -> Path:
    """The weights file: `weights` if given, else from the Hugging Face cache, else downloaded into it.

    Raises:
        FeatureError: there is no such file, or it can be neither found nor downloaded.
    """
    if weights is not None:
        weights = Path(weights)
        if not weights.is_file():
            raise FeatureError("no such weights file", weights, "check --weights")
        return weights
    return hub_file(
        HUB_REPOSITORY, HUB_FILE, fix="fetch it where there is a network and pass it with --weights FILE"
    )


def read_weights(path: Path) -> Weights:
    """Read and check a weights file; both the published dict with `model` and a bare state are accepted.

    Tensors are mapped from the file where its format allows, so a tower that is not used takes no memory.

    Raises:
        FeatureError: the file is no checkpoint, or a weight is missing, no number or of another shape.
    """
    state = read_state(path)
    expected = {
        **{AUDIO_PREFIX + key: shape for key, shape in audio_shapes().items()},
        **{TEXT_PREFIX + key: shape for key, shape in text_shapes().items()},
    }
    surplus = state.keys() - expected.keys()
    unknown = sorted(key for key in surplus if not _matches(key, (*UNUSED, *CONSTANTS)))
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {shape}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    _refuse(path, "lacks", [key for key in expected if key not in state])
    _refuse(path, "holds misshapen", misshapen)
    _refuse(path, "holds other constants than HTS-AT's in", _changed_constants(state))
    if unknown:
        logger.info("%s: %s left aside, which this encoder does not need", path, _some(unknown))
    return Weights(
        path=path,
        sha256=_sha256(path),
        audio={key: state[AUDIO_PREFIX + key].float() for key in audio_shapes()},
        text={key: state[TEXT_PREFIX + key].float() for key in text_shapes()},
        audio_projection=_projection(state, AUDIO_PROJECTION, path),
        text_projection=_projection(state, TEXT_PROJECTION, path),
        unused=tuple(sorted(key for key in surplus if not _matches(key, CONSTANTS))),
    )


def read_state(path: Path) -> State:
    """Every tensor of a weights file, unchecked, mapped from the file where its format allows.

    Raises:
        FeatureError: the file is no checkpoint.
    """
    return _without_wrapper(_load(path), path)


def audio_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of all of HTS-AT's weights that its embedding depends on."""
    shapes: dict[str, tuple[int, ...]] = {
        "spectrogram_extractor.stft.conv_real.weight": (513, 1, 1024),
        "spectrogram_extractor.stft.conv_imag.weight": (513, 1, 1024),
        "logmel_extractor.melW": (513, 64),
        **{f"bn0.{name}": (64,) for name in ("weight", "bias", "running_mean", "running_var")},
        **_linear("patch_embed.proj", 96, 1, 4, 4),
        **_norm("patch_embed.norm", 96),
    }
    for stage, (width, depth, heads) in enumerate(zip(WIDTHS, DEPTHS, HEADS, strict=True)):
        for index in range(depth):
            block = f"layers.{stage}.blocks.{index}"
            shapes |= {
                **_norm(f"{block}.norm1", width),
                f"{block}.attn.relative_position_bias_table": (225, heads),
                **_linear(f"{block}.attn.qkv", 3 * width, width),
                **_linear(f"{block}.attn.proj", width, width),
                **_norm(f"{block}.norm2", width),
                **_linear(f"{block}.mlp.fc1", 4 * width, width),
                **_linear(f"{block}.mlp.fc2", width, 4 * width),
            }
        if stage < len(WIDTHS) - 1:
            shapes |= {
                f"layers.{stage}.downsample.reduction.weight": (2 * width, 4 * width),
                **_norm(f"layers.{stage}.downsample.norm", 4 * width),
            }
    return {**shapes, **_norm("norm", WIDTHS[-1])}


def text_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of GPT-2's weights; its linear layers are stored input first."""
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (50257, 768), "wpe.weight": (1024, 768)}
    for layer in range(12):
        block = f"h.{layer}"
        shapes |= _norm(f"{block}.ln_1", 768) | _norm(f"{block}.ln_2", 768)
        for name, rows, columns in (
            ("attn.c_attn", 768, 2304),
            ("attn.c_proj", 768, 768),
            ("mlp.c_fc", 768, 3072),
            ("mlp.c_proj", 3072, 768),
        ):
            shapes |= {f"{block}.{name}.weight": (rows, columns), f"{block}.{name}.bias": (columns,)}
    return {**shapes, **_norm("ln_f", 768)}


def projection_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of either projection."""
    return {
        "linear1.weight": (SHARED_DIM, 768),
        "linear2.weight": (SHARED_DIM, SHARED_DIM),
        **_norm("layer_norm", SHARED_DIM),
    }


def _projection(state: State, prefix: str, path: Path) -> dict[str, torch.Tensor]:
    """One projection's weights; empty if the file was made without them, which features do not need.

    Raises:
        FeatureError: some are there and others are not, or they have another shape.
    """
    expected = projection_shapes()
    present = {key for key in expected if prefix + key in state}
    if not present:
        return {}
    _refuse(path, "lacks", [prefix + key for key in expected if key not in present])
    misshapen = [
        f"{prefix}{key} {tuple(state[prefix + key].shape)} instead of {shape}"
        for key, shape in expected.items()
        if tuple(state[prefix + key].shape) != shape
    ]
    _refuse(path, "holds misshapen", misshapen)
    return {key: state[prefix + key].float() for key in expected}


def _linear(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _load(path: Path) -> Any:
    try:
        return read_tensor_file(path, mapped=True)
    except TensorFileError as error:
        raise FeatureError(error.problem, path, f"use {HUB_FILE} of {HUB_REPOSITORY}") from None


def _without_wrapper(content: Any, path: Path) -> State:
    state = content.get("model", content) if isinstance(content, Mapping) else content
    # whatever lies beside the tensors (counters, options, an optimiser) is not theirs
    tensors = state.items() if isinstance(state, Mapping) else ()
    state = {key: value for key, value in tensors if isinstance(value, torch.Tensor)}
    if not state:
        raise FeatureError("holds no state of a CLAP", path, f"use {HUB_FILE} of {HUB_REPOSITORY}")
    # saved from DistributedDataParallel, every key is prefixed
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _changed_constants(state: State) -> list[str]:
    index, masks = relative_position_index(), {len(mask): mask for mask in map(shift_mask, (64, 32, 16))}
    changed = []
    for key, value in state.items():
        if _matches(key, CONSTANTS):
            ours = index if key.endswith("index") else masks.get(len(value) if value.ndim else 0)
            if ours is None or not torch.equal(value.to(ours.dtype), ours):
                changed.append(key)
    return changed


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


def _refuse(path: Path, verb: str, keys: list[str]) -> None:
    if keys:
        raise FeatureError(f"{verb} {_some(sorted(keys))}", path, f"use {HUB_FILE} of {HUB_REPOSITORY}")


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{', '.join(names[:MAX_NAMES])}{rest}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()
