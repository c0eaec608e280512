"""Numbers recorded from the public reference, where they are at hand, as our batches and weights."""

from __future__ import annotations

import functools
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amr_model.config import ExperimentConfig
from amr_model.model import MomentRetriever
from amr_model.public.networks import network_of
from amr_model.public.presets import compat_lighthouse
from amr_model.public.renaming import key_table, rename
from amr_model.tensors import Batch, Targets
from clotho_long.core.settings import build_config, to_plain

GOLDEN = Path(__file__).parents[1] / "golden" / "lighthouse"

NAMES = {
    "hidden_dim": "hidden_dim",
    "nheads": "num_heads",
    "dim_feedforward": "feedforward_dim",
    "enc_layers": "encoder_layers",
    "dec_layers": "decoder_layers",
    "num_queries": "num_queries",
    "a_feat_dim": "audio_dim",
    "t_feat_dim": "text_dim",
    "n_txt_mu": "text_centres",
    "n_visual_mu": "audio_centres",
    "em_iter": "em_iterations",
}


def load(name: str) -> dict[str, Tensor]:
    """The arrays of one golden file."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind != "U"}
        arrays |= {key: file[key] for key in file.files if file[key].dtype.kind == "U"}
    return arrays


def load_with_base(name: str) -> dict[str, Any]:
    """A golden file over the file whose weights and inputs it shares."""
    architecture, size = name.split("_")[:2]
    inputs = {} if size == "small" else load("qddetr_full")
    base = {key: value for key, value in inputs.items() if key.startswith(("in/", "target/"))}
    if size == "small":
        base |= {
            key: value
            for key, value in load(f"{architecture}_small").items()
            if key.startswith(("in/", "target/", "param/"))
        }
    return base | load(name)


def settings(name: str, **model: Any) -> ExperimentConfig:
    """The compatible preset at the golden file's sizes, with some switches of the model set."""
    architecture, size = name.split("_")[:2]
    described = json.loads((GOLDEN / "golden.json").read_text())["files"][f"{architecture}_{size}.npz"]
    values = to_plain(compat_lighthouse("uvcom" if architecture == "uvcom" else "qd_detr"))
    sizes = {
        ours: described["config"][theirs] for theirs, ours in NAMES.items() if theirs in described["config"]
    }
    values["model"] |= sizes | model
    return build_config(ExperimentConfig, values, where=name)


def retriever(name: str, arrays: dict[str, Any], config: ExperimentConfig) -> MomentRetriever:
    """The golden file's model in our code."""
    architecture, size = name.split("_")[:2]
    if size == "full":
        kind = "uvcom" if architecture == "uvcom" else "qd_detr"
        state = recipe_state(kind)
    else:
        state = {key[6:]: value.float() for key, value in arrays.items() if key.startswith("param/")}
    model = network_of(config.model)
    model.load_state_dict(rename(state, kind_of(name), config.model, where=name))
    return model.eval()


def kind_of(name: str) -> Any:
    return "uvcom" if name.startswith("uvcom") else "qd_detr"


def our_names(name: str, config: ExperimentConfig) -> dict[str, str]:
    return key_table(kind_of(name), config.model)


@functools.cache
def recipe_state(kind: str) -> dict[str, Tensor]:
    """The weights of a full-size golden file, which holds none."""
    shapes = json.loads((GOLDEN / "checkpoint_keys.json").read_text())[kind]
    return {key: recipe_weight(key, shape, seed=31337) for key, shape in shapes.items()}


def recipe_weight(key: str, shape: list[int], *, seed: int) -> Tensor:
    """The weight that the recipe in golden.json gives to a key."""
    state = np.random.RandomState((zlib.crc32(key.encode()) ^ seed) & 0xFFFFFFFF)
    z = state.standard_normal(shape)
    scales = (
        "LayerNorm",
        "norm",
        "norm1",
        "norm2",
        "norm3",
        "norm_inputs",
        "norm_slots",
        "norm_mlp",
        "norm_out",
    )
    if key.endswith("activation.weight"):
        value = 0.25 + 0.05 * z
    elif key.endswith((*(f"{scale}.weight" for scale in scales), "feature_proj.1.weight")):
        value = 1 + 0.1 * z
    elif key in ("global_rep_token", "global_rep_pos", "query_embed.weight"):
        value = z
    elif len(shape) == 1:
        value = 0.1 * z
    else:
        value = z / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(value.astype(np.float32))


def batch_of(arrays: dict[str, Any]) -> Batch:
    """The golden inputs as a batch."""
    mask = arrays["in/src_vid_mask"].bool()
    size, length = mask.shape
    if "in/src_vid" in arrays:
        tef = arrays["in/src_vid"]
    else:
        count = mask.sum(dim=1, keepdim=True)
        start = (torch.arange(length) / count).float()
        tef = torch.stack((start, start + 1 / count), dim=-1) * mask.unsqueeze(-1)
    return Batch(
        audio=arrays["in/src_aud"].float(),
        audio_mask=mask,
        tef=tef,
        text=arrays["in/src_txt"].float(),
        text_mask=arrays["in/src_txt_mask"].bool(),
        negative_index=torch.arange(1, size + 1) % size,
        same_recording=torch.eye(size, dtype=torch.bool),
    )


def targets_of(arrays: dict[str, Any]) -> Targets:
    """The golden targets; the reference's clip labels of the similarity loss where the file has them."""
    saliency = arrays["target/saliency_all_labels"]
    spans = [arrays[f"target/spans/{item}"] for item in range(len(saliency))]
    padded = torch.nn.utils.rnn.pad_sequence(spans, batch_first=True)
    counts = torch.tensor([len(item) for item in spans])
    pairs = arrays["target/saliency_pos_labels"]
    return Targets(
        spans_cxw=padded,
        spans_mask=torch.arange(padded.shape[1]) < counts.unsqueeze(1),
        saliency=saliency,
        saliency_positives=pairs,
        saliency_negatives=arrays["target/saliency_neg_labels"],
        saliency_pairs_mask=torch.ones_like(pairs, dtype=torch.bool),
        similarity=arrays.get("target/sim_clip_label", torch.zeros_like(saliency)).float(),
    )
