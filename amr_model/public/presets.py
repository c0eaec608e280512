"""The arithmetic of the public networks as settings: for their checkpoints, and for parity."""

from __future__ import annotations

from typing import Literal

from amr_model.config import ExperimentConfig
from clotho_long.core.settings import build_config, to_plain


def compat_lighthouse(architecture: Literal["qd_detr", "uvcom"]) -> ExperimentConfig:
    """The arithmetic of Lighthouse d095eaa, defects included: for its checkpoints and for parity.

    `refiner`, `head` and `tef` follow the architecture; every other switch of ours takes the value that
    reproduces the reference.
    """
    uvcom = architecture == "uvcom"
    published = {"encoder_layers": 3, "decoder_layers": 3, "num_queries": 30} if uvcom else {}
    parts = {"refiner": "cim", "head": "uvcom", "tef": "separate"} if uvcom else {}
    values = {
        "system": f"lighthouse-{architecture}",
        "model": {
            **published,
            **parts,
            "cross_mask": "reference",
            "padding": "reference",
            "propagation": "product",
            "em_sigma": 1.2,
            "negatives": "roll",
            "bbox_zero_init": False,
            "width_floor": 0.0,
        },
        "loss": {
            "similarity": 1.0 if uvcom else 0.0,
            "neg_reduction": "sum",
            "sim_scale": 1.0,
            "sim_reduction": "reference",
            "sim_same_recording": True,
        },
        "targets": {
            "time_scale": "duration",
            "moment_policy": "keep",
            "max_moments": 5,
            "min_length_s": 0.0,
            "saliency_moments": "first",
            "sim_moments": "first",
            "saliency_pairs": "sample",
            "neg_pair": "next",
        },
        "features": {"text_normalise": True, "text_max": 32},
        "inference": {
            "procedure": "reference",
            "num_moments": None,
            "min_length_s": 0.0,
            "timeline_end": 300.0,
            "nms_iou": None,
            "short_proposals": False,
        },
        "train": {"select_by": "mAP", "lr_drop": 100 if uvcom else 400},
    }
    return build_config(ExperimentConfig, values, where="compat: lighthouse")


def compat_dcase() -> ExperimentConfig:
    """A DCASE 2026 Task 6 baseline checkpoint: QD-DETR on raw text rows of any number."""
    lighthouse = compat_lighthouse("qd_detr")
    values = to_plain(lighthouse)
    values["system"] = "dcase-baseline"
    values["features"] |= {"text_normalise": False, "text_max": None}
    values["train"] |= {"select_by": "R1@0.7"}
    return build_config(ExperimentConfig, values, where="DCASE baseline")
