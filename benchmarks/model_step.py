"""A training step and inference beside Lighthouse's own code: same weights, same batch, one run.

    python benchmarks/model_step.py --lighthouse PATH/TO/lighthouse [--threads 2] [--rounds 5]

needs a checkout of line/lighthouse (d095eaa) and what it imports (einops, scikit-learn). CPU, float32,
32 recordings of 300 windows and 12 tokens. The two are timed in alternation, each after a step of its own, as
in training; equal losses are checked first, without dropout. A training step is timed as it happens, with
dropout, and once more without.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from amr_model.config import system
from amr_model.data.collate import temporal_endpoints
from amr_model.learn.criterion import Criterion
from amr_model.public.networks import network_of
from amr_model.public.presets import compat_lighthouse
from amr_model.public.renaming import rename
from amr_model.tensors import Batch, Targets

ITEMS, WINDOWS, TOKENS, MOMENTS = 32, 300, 12, 3


class Options(SimpleNamespace):
    """Lighthouse asks `name in options`."""

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


def options(architecture: str) -> Options:
    """The published settings for CASTELLA with CLAP features."""
    uvcom = architecture == "uvcom"
    depth = 3 if uvcom else 2
    return Options(
        device="cpu", hidden_dim=256, dropout=0.1, nheads=8, dim_feedforward=1024, enc_layers=depth,
        dec_layers=depth, num_queries=30 if uvcom else 10, input_dropout=0.5, t_feat_dim=768, v_feat_dim=2,
        a_feat_dim=768, aux_loss=True, span_loss_type="l1", n_input_proj=2, max_q_l=32, max_v_l=300,
        position_embedding="sine", pre_norm=False, use_txt_pos=False, set_cost_span=10, set_cost_giou=1,
        set_cost_class=4, span_loss_coef=10, giou_loss_coef=1, label_loss_coef=4, lw_saliency=1, eos_coef=0.1,
        saliency_margin=0.2, n_txt_mu=5, n_visual_mu=30, em_iter=5, sim_loss_coef=1, neg_choose_epoch=80,
        cross_fusion=False, dset_name="castella",
    )  # fmt: skip


def make_batch() -> tuple[Batch, Targets]:
    """Full-length recordings, one to three whole-second moments each."""
    rng = torch.Generator().manual_seed(0)
    mask = torch.ones(ITEMS, WINDOWS, dtype=torch.bool)
    batch = Batch(
        audio=torch.nn.functional.normalize(torch.randn(ITEMS, WINDOWS, 768, generator=rng), dim=-1),
        audio_mask=mask,
        tef=temporal_endpoints(torch.full((ITEMS,), WINDOWS), mask),
        text=torch.nn.functional.normalize(torch.randn(ITEMS, TOKENS, 768, generator=rng), dim=-1),
        text_mask=torch.ones(ITEMS, TOKENS, dtype=torch.bool),
        negative_index=(torch.arange(ITEMS) + 1) % ITEMS,
        same_recording=torch.eye(ITEMS, dtype=torch.bool),
    )
    starts = torch.randint(0, WINDOWS - 40, (ITEMS, MOMENTS), generator=rng)
    lengths = torch.randint(1, 40, (ITEMS, MOMENTS), generator=rng)
    spans = torch.stack((starts, starts + lengths), dim=-1).float() / WINDOWS
    present = torch.arange(MOMENTS) < (1 + torch.arange(ITEMS) % MOMENTS)[:, None]
    clips = torch.arange(WINDOWS)
    label = (clips >= starts[:, :1]) & (clips < (starts + lengths)[:, :1])
    similarity = torch.zeros(ITEMS, WINDOWS)
    cxw = torch.stack((spans.mean(dim=-1), spans[..., 1] - spans[..., 0]), dim=-1)
    for item, (centre, width) in enumerate(cxw[:, 0]):  # the reference's rounding, see model.md D3
        edges = torch.stack((centre - 0.5 * width, centre + 0.5 * width)) * WINDOWS
        similarity[item, int(edges[0]) : int(edges[1])] = 1
    targets = Targets(
        spans_cxw=cxw * present.unsqueeze(-1),
        spans_mask=present,
        saliency=label.float(),
        saliency_positives=starts[:, :1].expand(-1, 2),
        saliency_negatives=torch.full((ITEMS, 2), WINDOWS - 1),
        saliency_pairs_mask=torch.ones(ITEMS, 2, dtype=torch.bool),
        similarity=similarity,
    )
    return batch, targets


class Theirs:
    """Lighthouse's model and criterion."""

    def __init__(self, architecture: str, batch: Batch, targets: Targets) -> None:
        module = importlib.import_module(f"lighthouse.common.{architecture}")
        torch.manual_seed(0)
        self.model, self.criterion = module.build_model(options(architecture))
        self.inputs = {
            "src_txt": batch.text, "src_txt_mask": batch.text_mask.float(), "src_vid": batch.tef,
            "src_vid_mask": batch.audio_mask.float(), "src_aud": batch.audio,
            "src_aud_mask": batch.audio_mask.float(),
        }  # fmt: skip
        spans = [
            {"spans": row[kept]} for row, kept in zip(targets.spans_cxw, targets.spans_mask, strict=True)
        ]
        self.targets = {
            "span_labels": spans, "saliency_all_labels": targets.saliency,
            "saliency_pos_labels": targets.saliency_positives,
            "saliency_neg_labels": targets.saliency_negatives,
        }  # fmt: skip

    def loss(self) -> torch.Tensor:
        terms = self.criterion(self.model(**self.inputs), self.targets)
        weights = self.criterion.weight_dict
        total: torch.Tensor = sum(terms[key] * weights[key] for key in terms if key in weights)
        return total

    def infer(self) -> Any:
        return self.model(**self.inputs)


class Ours:
    """Our model in compatible mode (or one of our systems) on the same batch."""

    def __init__(self, config: Any, batch: Batch, targets: Targets) -> None:
        self.model, self.criterion = network_of(config.model), Criterion.of(config)
        self.batch, self.targets = batch, targets

    def loss(self) -> torch.Tensor:
        return self.criterion(self.model(self.batch, for_loss=True), self.targets, self.batch).total

    def infer(self) -> Any:
        return self.model(self.batch)


def stepper(side: Theirs | Ours, *, fused: bool) -> Callable[[], Any]:
    """One step as each trainer does it; ours uses the fused optimiser, as in `train.py`."""
    optimizer = torch.optim.AdamW(side.model.parameters(), lr=1e-6, weight_decay=1e-4, fused=fused)

    def step() -> None:
        optimizer.zero_grad()
        side.loss().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(side.model.parameters(), 0.1)
        optimizer.step()

    return step


def compare(name: str, theirs: Callable[[], Any], ours: Callable[[], Any], rounds: int) -> None:
    """Alternate the two and print medians and the median of the paired ratios."""
    seconds: list[tuple[float, float]] = []
    for _ in range(rounds):
        pair = []
        for work in (theirs, ours):
            work()  # what the other side left behind (idle cores, returned memory) is not ours to pay for
            started = time.perf_counter()
            work()
            pair.append(time.perf_counter() - started)
        seconds.append((pair[0], pair[1]))
    first, second = (statistics.median(pair[side] for pair in seconds) for side in (0, 1))
    ratio = statistics.median(pair[0] / pair[1] for pair in seconds)
    print(f"{name:<44}{first:>9.3f} s{second:>9.3f} s{ratio:>8.2f} x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lighthouse", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("qd_detr", "uvcom"))
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.lighthouse))
    torch.set_num_threads(arguments.threads)
    batch, targets = make_batch()
    print(
        f"torch {torch.__version__}, {arguments.threads} threads, float32, "
        f"{ITEMS} x {WINDOWS} windows, {TOKENS} tokens"
    )
    print(f"{'':<44}{'Lighthouse':>11}{'ours':>11}{'ratio':>10}")
    for architecture in (arguments.only,) if arguments.only else ("qd_detr", "uvcom"):
        theirs, config = Theirs(architecture, batch, targets), compat_lighthouse(architecture)
        ours = Ours(config, batch, targets)
        ours.model.load_state_dict(
            rename(theirs.model.state_dict(), architecture, config.model, where="peer")
        )
        theirs.model.eval(), ours.model.eval()
        losses = [float(side.loss().detach()) for side in (theirs, ours)]
        apart = abs(losses[0] - losses[1])
        print(f"{architecture}: loss {losses[0]:.5f} and {losses[1]:.5f}, apart by {apart:.1e}")
        assert apart < 1e-4 * abs(losses[0]), "the two do not compute the same"
        steps = stepper(theirs, fused=False), stepper(ours, fused=True)
        compare(f"{architecture}: training step without dropout", *steps, arguments.rounds)
        theirs.model.train(), ours.model.train()
        compare(f"{architecture}: training step", *steps, arguments.rounds)
        theirs.model.eval(), ours.model.eval()
        with torch.inference_mode():
            compare(f"{architecture}: inference", theirs.infer, ours.infer, arguments.rounds)
        if architecture == "uvcom":
            best = system("S4")
            s4 = Ours(best, batch, targets)
            compare(
                "uvcom beside our S4: training step",
                stepper(theirs, fused=False),
                stepper(s4, fused=True),
                arguments.rounds,
            )


if __name__ == "__main__":
    main()
