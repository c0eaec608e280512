"""Lighthouse's own trainer beside ours: QD-DETR on the corpus of `simulated_castella`, same sizes and recipe.

    python -m benchmarks.simulated_castella --labels castella/ --out DIR --reduced --systems S1 --seeds 1,2,3
        --simulation white
    python -m benchmarks.lighthouse_training LIGHTHOUSE --corpus DIR --reduced --seeds 1,2,3

needs a checkout of line/lighthouse (d095eaa) and what its trainer imports (easydict, einops, scikit-learn).
For each seed, Lighthouse's `training/train.py` trains and selects a model by its own validation, then ours
does in compatible mode, defects included. Both checkpoints answer the test queries through `amr_model`, which
reads Lighthouse's file as it is; runs `lighthouse` and `compat` join DIR/table.md. One function of Lighthouse
is replaced: its decoder's sine code is 256 numbers wide at any `hidden_dim`.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import logging
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch

from amr_model.config import ExperimentConfig
from amr_model.model.positions import reference_positions
from amr_model.public.presets import compat_lighthouse
from benchmarks.model_step import options as published_options
from benchmarks.simulated_castella import (
    REDUCED_SETTINGS,
    REDUCED_SIMULATIONS,
    SIMULATIONS,
    TEST_PREDICTIONS,
    predict_test,
    train_on,
    write_table,
)
from clotho_long.core.settings import override


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lighthouse", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--reduced", action="store_true", help="the sizes of a --reduced corpus")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    dim = (REDUCED_SIMULATIONS if arguments.reduced else SIMULATIONS)["calibrated"].dim  # alike in both
    settings = [*(REDUCED_SETTINGS if arguments.reduced else ()), f"model.audio_dim={dim}"]
    settings += [f"model.text_dim={dim}", *arguments.overrides]
    for seed in arguments.seeds.split(","):
        config = override(compat_lighthouse("qd_detr"), [*settings, f"train.seed={seed}"])
        for name in ("lighthouse", "compat"):
            run = arguments.corpus / "runs" / f"{name}-seed{seed}"
            if (run / TEST_PREDICTIONS).exists():
                continue
            started = time.perf_counter()
            if name == "compat":
                train_on(arguments.corpus, run, config)
                weights = run / "checkpoint-best.pt"
            else:
                weights = train_with_lighthouse(arguments.lighthouse, arguments.corpus, run, config)
            print(f"{run.name}: trained in {time.perf_counter() - started:.0f} s")
            predict_test(arguments.corpus, run, weights, config)
            print(write_table(arguments.corpus), flush=True)


def train_with_lighthouse(lighthouse: Path, corpus: Path, run: Path, config: ExperimentConfig) -> Path:
    """Run Lighthouse's trainer; returns its best checkpoint."""
    sys.path[:0] = [path for path in (str(lighthouse), str(lighthouse / "training")) if path not in sys.path]
    # for TR-DETR, which is not run; it loads beside no CPU build of PyTorch
    sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))
    trainer = importlib.import_module("training.train")
    decoder = importlib.import_module("lighthouse.common.qd_detr_transformer")
    sine_code = functools.partial(reference_positions, dim=config.model.hidden_dim)
    decoder.gen_sineembed_for_position = sine_code  # type: ignore[attr-defined]
    run.mkdir(parents=True, exist_ok=True)
    options = trainer.EasyDict(vars(published_options("qd_detr")) | lighthouse_options(corpus, run, config))
    trainer.main(options)
    return Path(options.ckpt_filepath)


def lighthouse_options(corpus: Path, run: Path, config: ExperimentConfig) -> dict[str, Any]:
    """Our settings under Lighthouse's names: what its option files would say."""
    model, recipe, features = config.model, config.train, corpus / "features"
    return {
        "model_name": "qd_detr", "device": "cuda" if torch.cuda.is_available() else "cpu",
        "seed": recipe.seed, "num_workers": 0, "results_dir": str(run),
        "ckpt_filepath": str(run / "best.ckpt"), "train_log_filepath": str(run / "train.log"),
        "eval_log_filepath": str(run / "val.log"), "eval_split_name": "val", "eval_epoch_interval": 1,
        "train_path": str(corpus / "text" / "train.jsonl"), "eval_path": str(corpus / "text" / "valid.jsonl"),
        "v_feat_dirs": None, "v_feat_types": None, "ctx_mode": "audio_tef", "clip_length": 1,
        "max_windows": config.targets.max_moments,
        "a_feat_dirs": [str(features / "clap")], "a_feat_types": "clap", "max_a_l": 300,
        "t_feat_dir": str(features / "clap_text"), "t_feat_dir_pretrain_eval": None,
        "hidden_dim": model.hidden_dim, "nheads": model.num_heads, "dim_feedforward": model.feedforward_dim,
        "enc_layers": model.encoder_layers, "dec_layers": model.decoder_layers,
        "num_queries": model.num_queries,
        "dropout": model.dropout, "input_dropout": model.input_dropout,
        "a_feat_dim": model.audio_dim, "t_feat_dim": model.text_dim,
        "lr": recipe.learning_rate, "wd": recipe.weight_decay, "lr_drop": recipe.lr_drop,
        "n_epoch": recipe.epochs, "bsz": recipe.batch_size, "eval_bsz": recipe.valid_batch_size,
        "grad_clip": recipe.max_grad_norm, "model_ema": False,
    }  # fmt: skip


if __name__ == "__main__":
    main()
