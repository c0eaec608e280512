"""Public checkpoints (Lighthouse `qd_detr` and `uvcom`, DCASE 2026 Task 6 baseline) in our names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from amr_model.config import ExperimentConfig, ModelConfig
from amr_model.errors import TrainingError
from amr_model.public.presets import compat_dcase, compat_lighthouse
from amr_model.public.reader import read_foreign
from clotho_long.core.errors import ConfigError
from clotho_long.core.settings import build_config, to_plain

Architecture = Literal["qd_detr", "uvcom"]
CrossMask = Literal["item", "reference"]
State = dict[str, Tensor]

# never used by the networks that carry them, so ours have no such parameters
UNUSED = ("txt_position_embed.",)
UNUSED_UVCOM = (*UNUSED, "global_rep_token")  # overwritten by the best audio centre

LAYER = {
    "self_attn.in_proj_weight": "attention.in_weight",
    "self_attn.in_proj_bias": "attention.in_bias",
    "self_attn.out_proj.weight": "attention.out.weight",
    "self_attn.out_proj.bias": "attention.out.bias",
    "linear1.weight": "feedforward.linear1.weight",
    "linear1.bias": "feedforward.linear1.bias",
    "linear2.weight": "feedforward.linear2.weight",
    "linear2.bias": "feedforward.linear2.bias",
    "activation.weight": "feedforward.slope",
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
}
DECODER_LINEAR = {
    "sa_qcontent_proj": "self_query",
    "sa_qpos_proj": "self_query_pos",
    "sa_kcontent_proj": "self_key",
    "sa_kpos_proj": "self_key_pos",
    "sa_v_proj": "self_value",
    "self_attn.out_proj": "self_out",
    "ca_qcontent_proj": "cross_query",
    "ca_kcontent_proj": "cross_key",
    "ca_kpos_proj": "cross_key_pos",
    "ca_v_proj": "cross_value",
    "ca_qpos_sine_proj": "cross_query_sine",
    "cross_attn.out_proj": "cross_out",
    "linear1": "feedforward.linear1",
    "linear2": "feedforward.linear2",
    "norm1": "norm1",
    "norm2": "norm2",
    "norm3": "norm3",
}
PROJECTION = {
    "0.LayerNorm": "norm1",
    "0.net.1": "linear1",
    "1.LayerNorm": "norm2",
    "1.net.1": "linear2",
}
SHARED = {
    "global_rep_pos": "global_position",
    "query_embed.weight": "query_references",
    "class_embed.weight": "class_head.weight",
    "class_embed.bias": "class_head.bias",
}
HEADS = {"saliency_proj1": "saliency_clip", "saliency_proj2": "saliency_global"}
REFINER_LINEAR = {
    "CIM.feature_proj.0": "refiner.text_vector.0",
    "CIM.feature_proj.1": "refiner.text_vector.1",
    "CIM.conv_local.0": "refiner.local.into",
    "CIM.conv_local.1": "refiner.local.across",
    "CIM.conv_local.2": "refiner.local.out",
}
SLOT_NORMS = ("norm_inputs", "norm_slots", "norm_mlp", "norm_out")
SLOT_LINEAR = {"project_q": "query", "project_k": "key", "project_v": "value"}


def convert_foreign(
    path: Path, content: Mapping[str, Any] | None = None, *, cross_mask: CrossMask | None = None
) -> tuple[ExperimentConfig, State]:
    """A public checkpoint as our settings (the compatible preset) and our weights.

    Args:
        content: what the file holds, if it was read before.
        cross_mask: of which generation the checkpoint is, see `docs/systems.md`; None: the earlier one.

    Raises:
        TrainingError: the file is damaged, holds more than tensors and options, or other tensors than
            the architecture has.
    """
    content = read_foreign(path) if content is None else content
    state, options = content.get("model"), content.get("opt") or {}
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TrainingError(
            "holds no `model` weights", path, "give a Lighthouse or DCASE-baseline checkpoint"
        )
    if not isinstance(options, dict):
        raise TrainingError("its `opt` holds no options", path, "download or copy the file again")
    config, weights = convert_state(state, options, where=path)
    if cross_mask is not None:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, cross_mask=cross_mask))
    return config, weights


def convert_state(state: State, options: dict[str, Any], *, where: object) -> tuple[ExperimentConfig, State]:
    """Their weights and options as our settings and weights; `where` names them in errors."""
    dcase = "input_aud_proj.0.net.1.weight" in state
    architecture: Architecture = "uvcom" if "CIM.txt_mu" in state else "qd_detr"
    try:
        if dcase:
            state = _endpoint_columns_first(state)
        config = _settings(architecture, state, options, dcase=dcase)
    except KeyError as error:
        raise TrainingError(
            f"has no tensor {error.args[0]}", where, "give a Lighthouse or DCASE-baseline checkpoint"
        ) from None
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        raise TrainingError(
            f"holds tensors or options of another kind ({error})", where, "check which model it belongs to"
        ) from None
    except ConfigError as error:
        raise TrainingError(
            f"its options are out of range ({error.problem})", where, "check which model it belongs to"
        ) from None
    return config, rename(state, architecture, config.model, where=where)


def rename(state: State, architecture: Architecture, config: ModelConfig, *, where: object) -> State:
    """Lighthouse's names to ours, one tensor for one tensor.

    Raises:
        TrainingError: a tensor is missing or left over.
    """
    table = key_table(architecture, config)
    unused = UNUSED_UVCOM if architecture == "uvcom" else UNUSED
    surplus = [key for key in state if key not in table and not key.startswith(unused)]
    missing = [key for key in table if key not in state]
    if surplus or missing:
        raise TrainingError(
            f"is no {architecture} checkpoint: {len(missing)} tensors are missing ({_some(missing)}), "
            f"{len(surplus)} are left over ({_some(surplus)})",
            where,
            "check which model the file belongs to",
        )
    # kernels of 1 are matrices here
    return {
        ours: state[theirs].squeeze(-1) if theirs in _KERNELS_OF_ONE else state[theirs]
        for theirs, ours in table.items()
    }


def key_table(architecture: Architecture, config: ModelConfig) -> dict[str, str]:
    """Every tensor that Lighthouse's model uses and what we call it."""
    uvcom = architecture == "uvcom"
    inside = "CIM." if uvcom else "transformer."
    self_encoder = "CIM.GKA_Module." if uvcom else "transformer.encoder."
    cross = {f"{inside}t2v_encoder.": "refiner.text_to_audio." if uvcom else "text_to_audio."}
    table = dict(SHARED)
    if uvcom:
        cross["CIM.v2t_encoder."] = "refiner.audio_to_text."
    for theirs, ours in {**cross, self_encoder: "encoder."}.items():
        for layer in range(config.encoder_layers):
            for key, name in LAYER.items():
                table[f"{theirs}layers.{layer}.{key}"] = f"{ours}layers.{layer}.{name}"
    table |= _decoder_table(f"{inside}decoder.", config.decoder_layers)
    for theirs, ours in HEADS.items():
        table |= _linear(theirs, ours)
    table |= _mlp("span_embed", "span_head", 3)
    projections = {"input_txt_proj": "text_projection", "input_vid_proj": "audio_projection"}
    if uvcom:
        projections |= {"input_vid_proj": "tef_projection", "input_audio_proj": "audio_projection"}
        table |= _refiner_table()
    else:
        table["global_rep_token"] = "global_token"
    for theirs, ours in projections.items():
        for key, name in PROJECTION.items():
            table |= _linear(f"{theirs}.{key}", f"{ours}.{name}")
    return table


def _settings(
    architecture: Architecture, state: State, options: dict[str, Any], *, dcase: bool
) -> ExperimentConfig:
    """The compatible preset with sizes from the weights; what weights do not show, from the options."""
    values = to_plain(compat_dcase() if dcase else compat_lighthouse(architecture))
    uvcom = architecture == "uvcom"
    inside, audio = ("CIM", "input_audio_proj") if uvcom else ("transformer", "input_vid_proj")
    dim = state["class_embed.weight"].shape[1]
    values["model"] |= {
        "audio_dim": state[f"{audio}.0.net.1.weight"].shape[1] - (0 if uvcom else 2),
        "text_dim": state["input_txt_proj.0.net.1.weight"].shape[1],
        "hidden_dim": dim,
        "num_heads": int(options.get("nheads", 8)),
        "feedforward_dim": state[f"{inside}.t2v_encoder.layers.0.linear1.weight"].shape[0],
        "encoder_layers": _count(state, f"{inside}.t2v_encoder.layers"),
        "decoder_layers": _count(state, f"{inside}.decoder.layers"),
        "num_queries": state["query_embed.weight"].shape[0],
        "dropout": float(options.get("dropout", 0.1)),
        "input_dropout": float(options.get("input_dropout", 0.5)),
    }
    if uvcom:
        values["model"] |= {
            "text_centres": state["CIM.txt_mu"].shape[0],
            "audio_centres": state["CIM.vid_mu"].shape[0],
            "em_iterations": int(options.get("em_iter", 5)),
            "slot_inner_dim": state["CIM.processer_for_tgt.mlp.layers.0.weight"].shape[0],
            "similarity_inner_dim": state["CIM.sim_vid.layers.0.weight"].shape[0],
        }
    return build_config(ExperimentConfig, values, where="options of the checkpoint")


def _endpoint_columns_first(state: State) -> State:
    """A DCASE-baseline state in Lighthouse's names and column order (CLAP, tef -> tef, CLAP)."""
    renamed = {key.replace("input_aud_proj.", "input_vid_proj."): value for key, value in state.items()}
    for key in ("0.LayerNorm.weight", "0.LayerNorm.bias", "0.net.1.weight"):
        columns = renamed[f"input_vid_proj.{key}"]
        renamed[f"input_vid_proj.{key}"] = torch.cat((columns[..., -2:], columns[..., :-2]), dim=-1)
    return renamed


def _decoder_table(prefix: str, num_layers: int) -> dict[str, str]:
    table: dict[str, str] = _linear(f"{prefix}norm", "decoder.norm")
    table |= _mlp(f"{prefix}query_scale", "decoder.query_scale", 2)
    table |= _mlp(f"{prefix}ref_point_head", "decoder.query_position", 2)
    table |= _mlp(f"{prefix}ref_anchor_head", "decoder.query_width", 2)
    table |= _mlp(f"{prefix}bbox_embed", "decoder.refine", 3)
    table |= _linear(f"{prefix}layers.0.ca_qpos_proj", "decoder.layers.0.cross_query_pos")
    for layer in range(num_layers):
        theirs, ours = f"{prefix}layers.{layer}.", f"decoder.layers.{layer}."
        table[f"{theirs}activation.weight"] = f"{ours}feedforward.slope"
        for key, name in DECODER_LINEAR.items():
            table |= _linear(theirs + key, ours + name)
    return table


def _refiner_table() -> dict[str, str]:
    table = {
        "CIM.txt_mu": "refiner.text_centres",
        "CIM.vid_mu": "refiner.audio_centres",
        "CIM.decoder.span_embed.weight": "query_content",
    }
    for theirs, ours in REFINER_LINEAR.items():
        table |= _linear(theirs, ours)
    table |= _mlp("CIM.sim_vid", "refiner.similarity_audio", 3)
    table |= _mlp("CIM.sim_txt", "refiner.similarity_text", 3)
    slots = "CIM.processer_for_tgt."
    for name in SLOT_NORMS:
        table |= _linear(slots + name, f"slots.{name}")
    for theirs, ours in SLOT_LINEAR.items():
        table |= _linear(slots + theirs, f"slots.{ours}")
    return table | _mlp(f"{slots}mlp", "slots.mlp", 3)


_KERNELS_OF_ONE = ("CIM.conv_local.0.weight", "CIM.conv_local.2.weight")


def _linear(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for kind in ("weight", "bias")}


def _mlp(theirs: str, ours: str, num_layers: int) -> dict[str, str]:
    table: dict[str, str] = {}
    for layer in range(num_layers):
        table |= _linear(f"{theirs}.layers.{layer}", f"{ours}.layers.{layer}")
    return table


def _count(state: State, prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[1] for key in state if key.startswith(prefix + ".")})


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
