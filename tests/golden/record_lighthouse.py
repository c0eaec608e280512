"""Records the numbers in `lighthouse/` again by running the public reference, or compares with what is there.

    git clone https://github.com/line/lighthouse && git -C lighthouse checkout d095eaa
    pip install einops scikit-learn
    python -m tests.golden.record_lighthouse lighthouse            # compares
    python -m tests.golden.record_lighthouse lighthouse --write    # replaces what it can make

Inputs, targets and weights are taken from the files themselves (or from the recipe in golden.json), so only
what a network, a loss or a metric gives is made anew: `out/`, `match/`, `loss/`, `grad_norm/`, `train/`, the
figures of the official evaluator and the post-processing. Not made here: `ops.npz`, `dataset.npz`, tensors
between (`mid/`), `loss_terms/` (an independent formula) and the files of corrected references (`*_mask`,
`*_bmrw`, `*_both`).
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import math
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from tests.model.reference import GOLDEN, load_with_base, recipe_state

MODELS = (
    "qddetr_small",
    "uvcom_small",
    "uvcom_small_em1",
    "uvcom_small_negchoose",
    "qddetr_full",
    "uvcom_full",
)
MADE = ("out/", "match/", "loss/", "grad_norm/", "train/")
# two builds of PyTorch add in different orders
RELATIVE, ABSOLUTE = 1e-4, 2e-5
TRAINED_STEPS = 3

Arrays = dict[str, Any]


@click.command()
@click.argument("lighthouse", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Replace the recorded numbers.")
def main(lighthouse: Path, write: bool) -> None:
    """Run a Lighthouse checkout on the recorded inputs."""
    sys.path[:0] = [str(lighthouse), str(lighthouse / "training")]
    torch.set_num_threads(1)
    failed = []
    for name in MODELS:
        failed += _settle(name, record_model(name), write=write)
    failed += _settle_json("metrics_expected.json", record_metrics(), write=write)
    failed += _settle_json("postprocess.json", record_postprocessing(), write=write)
    if failed:
        raise click.ClickException(f"{len(failed)} recorded values differ: {', '.join(failed[:8])}")


def record_model(name: str) -> Arrays:
    """Outputs, assignment, losses, gradient norms and three optimiser steps of one golden network."""
    arrays = load_with_base(name)
    options = _options(name)
    with _small_widths(options):
        model, criterion = _build(name, options)
        size = name.split("_")[1]
        kind = "uvcom" if name.startswith("uvcom") else "qd_detr"
        state = recipe_state(kind) if size == "full" else _stored_weights(arrays)
        model.load_state_dict(state)
        model.eval()
        inputs, targets = _inputs(arrays, options), _targets(arrays)
        made = _one_pass(model, criterion, inputs, targets)
        if "train/loss" in arrays:
            made |= _three_steps(model, criterion, inputs, targets)
    return made


def record_metrics() -> dict[str, Any]:
    """The official evaluator's results on the recorded prediction files."""
    from standalone_eval.eval import eval_submission  # type: ignore[import-not-found]

    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]

    truth, modified = lines("metrics_gt.jsonl"), lines("metrics_gt_modified.jsonl")
    predicted = {kind: lines(f"metrics_preds_{kind}.jsonl") for kind in ("random", "good", "edge")}
    cases = {
        **{kind: (rows, truth, True) for kind, rows in predicted.items()},
        "edge_modified_gt": (predicted["edge"], modified, True),
        "good_modified_gt": (predicted["good"], modified, True),
        "good_every_second_no_match": (predicted["good"][::2], truth, False),
    }
    return {
        case: eval_submission(*copy.deepcopy((rows, against)), verbose=False, match_number=match)
        for case, (rows, against, match) in cases.items()
    }


def record_postprocessing() -> dict[str, Any]:
    """What Lighthouse's evaluation makes of recorded outputs, for its two settings."""
    from postprocessing import PostProcessorDETR  # type: ignore[import-not-found]

    recorded = json.loads((GOLDEN / "postprocess.json").read_text())
    spans, scores = torch.tensor(recorded["pred_spans"]), torch.tensor(recorded["pred_logits"]).softmax(-1)
    centre, width = spans.unbind(-1)
    edges = torch.stack((centre - 0.5 * width, centre + 0.5 * width), dim=-1)
    expected = {}
    for setting, end_s in (("castella", 300), ("clotho-moment", 150)):
        rows = []
        for item, duration_s in enumerate(recorded["durations"]):
            windows = torch.cat((edges[item] * duration_s, scores[item, :, :1]), dim=1).tolist()
            windows.sort(key=lambda window: window[2], reverse=True)
            four_decimals = [[float(f"{value:.4f}") for value in row] for row in windows]
            rows.append({"qid": f"p{item}", "pred_relevant_windows": four_decimals})
        process = PostProcessorDETR(
            clip_length=1, max_ts_val=end_s, process_func_names=("clip_ts", "round_multiple")
        )
        expected[setting] = process(rows)
    return {**recorded, "expected": expected}


def _build(name: str, options: types.SimpleNamespace) -> tuple[Any, Any]:
    from lighthouse.common import qd_detr, uvcom  # type: ignore[import-not-found]

    built: tuple[Any, Any] = (uvcom if name.startswith("uvcom") else qd_detr).build_model(options)
    return built


def _options(name: str) -> types.SimpleNamespace:
    files = json.loads((GOLDEN / "golden.json").read_text())["files"]
    described = files["_".join(name.split("_")[:2]) + ".npz"]
    values = {
        **described["config"],
        "device": "cpu",
        "dropout": 0.0,
        "input_dropout": 0.0,
        "span_loss_type": "l1",
        "max_v_l": max(described["audio_lengths"]),
        "use_txt_pos": False,
        "pre_norm": False,
        "dset_name": "castella",
    }
    if name.endswith("_em1"):
        values["em_iter"] = 1
    options = _Options(**values)
    options.epoch = values.get("neg_choose_epoch", 0) if name.endswith("_negchoose") else 0
    return options


class _Options(types.SimpleNamespace):
    """Options by attribute, of which Lighthouse also asks `"name" in options`."""

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


@contextlib.contextmanager
def _small_widths(options: types.SimpleNamespace) -> Iterator[None]:
    """The reference writes width 256 and 30 queries into two places; small networks need their own."""
    from lighthouse.common import CIM, qd_detr_transformer

    half = options.hidden_dim // 2

    def sine_code(places: Tensor) -> Tensor:
        channel = torch.arange(half, dtype=torch.float32)
        slower = 10000 ** (2 * (channel // 2) / half)
        codes = [(places[..., column, None] * 2 * math.pi) / slower for column in (0, 1)]
        return torch.cat(
            [torch.stack((c[..., 0::2].sin(), c[..., 1::2].cos()), dim=-1).flatten(-2) for c in codes], dim=-1
        )

    kept = CIM.CIM, CIM.gen_sineembed_for_position, qd_detr_transformer.gen_sineembed_for_position
    CIM.CIM = functools.partial(kept[0], num_queries=options.num_queries)
    if half != 128:
        CIM.gen_sineembed_for_position = qd_detr_transformer.gen_sineembed_for_position = sine_code
    try:
        yield
    finally:
        CIM.CIM, CIM.gen_sineembed_for_position, qd_detr_transformer.gen_sineembed_for_position = kept


def _stored_weights(arrays: Arrays) -> dict[str, Tensor]:
    return {key[6:]: value.float() for key, value in arrays.items() if key.startswith("param/")}


def _inputs(arrays: Arrays, options: types.SimpleNamespace) -> dict[str, Any]:
    mask = arrays["in/src_vid_mask"].float()
    endpoints = arrays.get("in/src_vid")
    if endpoints is None:
        count = mask.sum(dim=1, keepdim=True)
        start = torch.arange(mask.shape[1]) / count
        endpoints = torch.stack((start, start + 1 / count), dim=-1) * mask.unsqueeze(-1)
    inputs = {
        "src_txt": arrays["in/src_txt"].float(),
        "src_txt_mask": arrays["in/src_txt_mask"].float(),
        "src_vid": endpoints,
        "src_vid_mask": mask,
        "src_aud": arrays["in/src_aud"].float(),
        "src_aud_mask": mask,
    }
    return inputs | ({"epoch": options.epoch} if hasattr(options, "neg_choose_epoch") else {})


def _targets(arrays: Arrays) -> dict[str, Any]:
    count = sum(key.startswith("target/spans/") for key in arrays)
    labels = ("saliency_pos_labels", "saliency_neg_labels", "saliency_all_labels")
    return {
        "span_labels": [{"spans": arrays[f"target/spans/{item}"]} for item in range(count)],
        **{name: arrays[f"target/{name}"] for name in labels},
    }


def _one_pass(model: Any, criterion: Any, inputs: dict[str, Any], targets: dict[str, Any]) -> Arrays:
    outputs = model(**inputs)
    losses = criterion(outputs, targets)
    total = _total(losses, criterion)
    made: Arrays = {
        f"out/{key}": outputs[key].detach()
        for key in ("pred_spans", "pred_logits", "saliency_scores", "saliency_scores_neg")
    }
    if "sim" in outputs:
        similar = outputs["sim"]
        local, mask = similar["CTA_Sim"]
        made |= {"out/sim/global": similar["VLA_Sim"], "out/sim/local": local, "out/sim/local_mask": mask}
        if similar.get("negative_idx") is not None:
            made["out/negative_idx"] = similar["negative_idx"]
    for layer, auxiliary in enumerate(outputs["aux_outputs"]):
        made |= {f"out/aux{layer}/{key}": auxiliary[key].detach() for key in ("pred_logits", "pred_spans")}
    for label, part in (
        ("last", outputs),
        *((f"aux{at}", aux) for at, aux in enumerate(outputs["aux_outputs"])),
    ):
        pairs = criterion.matcher({k: part[k] for k in ("pred_logits", "pred_spans")}, targets)
        made[f"match/{label}/batch"] = torch.cat([torch.full_like(q, at) for at, (q, _) in enumerate(pairs)])
        made[f"match/{label}/query"] = torch.cat([q for q, _ in pairs])
        made[f"match/{label}/gt"] = torch.cat([g for _, g in pairs])
    made |= {f"loss/{key}": torch.as_tensor(value).detach() for key, value in losses.items()}
    made["loss/total"] = total.detach()
    model.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    norms = {key: p.grad.double().norm() for key, p in model.named_parameters() if p.grad is not None}
    made["grad_norm/names"] = np.array(list(norms))
    made["grad_norm/values"] = torch.stack(list(norms.values()))
    made["grad_norm/none"] = np.array([key for key, p in model.named_parameters() if p.grad is None])
    return made


def _three_steps(model: Any, criterion: Any, inputs: dict[str, Any], targets: dict[str, Any]) -> Arrays:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4)
    losses, norms = [], []
    for _ in range(TRAINED_STEPS):
        optimizer.zero_grad()
        total = _total(criterion(model(**inputs), targets), criterion)
        total.backward()  # type: ignore[no-untyped-call]
        losses.append(total.detach().double())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1).double())
        optimizer.step()
    losses.append(_total(criterion(model(**inputs), targets), criterion).detach().double())
    return {"train/loss": torch.stack(losses), "train/total_grad_norm": torch.stack(norms)}


def _total(losses: dict[str, Tensor], criterion: Any) -> Tensor:
    weights = criterion.weight_dict
    return torch.stack([losses[key] * weights[key] for key in losses if key in weights]).sum()


def _settle(name: str, made: Arrays, *, write: bool) -> list[str]:
    """Replace what was made of one npz file, or say what of it differs from what is there."""
    path = GOLDEN / f"{name}.npz"
    with np.load(path) as file:
        stored = {key: file[key] for key in file.files}
    fresh = {key: _as_array(value) for key, value in made.items() if key in stored}
    if write:
        kept = {key: fresh.get(key, value).astype(value.dtype) for key, value in stored.items()}
        np.savez_compressed(path, **kept)  # type: ignore[arg-type]
        click.echo(f"{name}: {len(fresh)} of {len(stored)} arrays recorded")
        return []
    unmade = [key for key in stored if key.startswith(MADE) and key not in fresh]
    differing = [f"{name}:{key}" for key, value in fresh.items() if not _close(key, stored[key], value)]
    click.echo(f"{name}: {len(fresh)} arrays compared, {len(differing)} differ; not made: {unmade or 'none'}")
    return differing


def _as_array(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _close(key: str, stored: Any, fresh: Any) -> bool:
    if stored.shape != fresh.shape:
        return False
    if stored.dtype.kind == "U" or key.startswith("match/"):
        return bool((stored == fresh).all())
    # some gradients are zero in exact arithmetic and hold rounding noise
    relative = 2e-3 if key.startswith(("grad_norm/", "train/total")) else RELATIVE
    return bool(np.allclose(stored, fresh, rtol=relative, atol=ABSOLUTE))


def _settle_json(name: str, made: dict[str, Any], *, write: bool) -> list[str]:
    path = GOLDEN / name
    plain = json.loads(json.dumps(made))
    if write:
        path.write_text(json.dumps(plain, indent=1) + "\n")
        return []
    same = plain == json.loads(path.read_text())
    click.echo(f"{name}: {'equal' if same else 'differs'}")
    return [] if same else [name]


if __name__ == "__main__":
    main()
