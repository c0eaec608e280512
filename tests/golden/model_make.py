"""Remakes model_small.json: what our models and losses give for weights and inputs from a fixed recipe.

    python -m tests.golden.model_make

Written after the compatible mode had matched the public reference's recorded numbers. A change of these
numbers is a change of the arithmetic and needs a reason in the commit that makes it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from amr_model.config import ExperimentConfig
from amr_model.learn.criterion import Criterion
from amr_model.learn.losses.boundary import draw_uniforms
from amr_model.public.networks import network_of
from amr_model.public.presets import compat_lighthouse
from clotho_long.core.settings import override
from tests.model.builders import make_batch, make_targets, small
from tests.model.reference import recipe_weight

FILE = Path(__file__).parent / "model_small.json"
SEED = 20261124
LENGTHS, TOKENS = [14, 9, 11], [4, 2, 3]
SPANS: list[list[tuple[float, float]]] = [[(0.1, 0.3), (0.5, 0.9)], [(0.25, 0.6)], []]
DIGITS = 6
QUERIES = 12  # more than a few, so that some start close enough to a moment for the boundary loss


def cases() -> dict[str, ExperimentConfig]:
    """The report's plainest and fullest systems, and the public models in compatible mode."""
    settings = [f"model.num_queries={QUERIES}"]
    sizes = [
        f"model.{name}={value}"
        for name, value in dataclasses.asdict(small("S1").model).items()
        if name.endswith(("_dim", "_heads", "_centres"))
    ]
    wide = [*sizes, *settings, "model.encoder_layers=2", "model.decoder_layers=2"]
    return {
        "S1": small("S1", *settings),
        "S8": small("S8", *settings),
        "lighthouse qd_detr": override(compat_lighthouse("qd_detr"), wide),
        "lighthouse uvcom": override(compat_lighthouse("uvcom"), wide),
    }


def compute(config: ExperimentConfig) -> dict[str, Any]:
    """Outputs, losses, assignment and norms of all gradients."""
    model = network_of(config.model).eval()
    weights = {
        key: recipe_weight(key, list(value.shape), seed=SEED) for key, value in model.state_dict().items()
    }
    model.load_state_dict(weights)
    batch = make_batch(config, LENGTHS, TOKENS)
    audio = recipe_weight("audio 2d", list(batch.audio.shape), seed=SEED) * batch.audio_mask.unsqueeze(-1)
    text = recipe_weight("text 2d", list(batch.text.shape), seed=SEED) * batch.text_mask.unsqueeze(-1)
    batch = dataclasses.replace(batch, audio=3 * audio, text=3 * text)
    targets = make_targets(batch, SPANS)
    outputs = model(batch, for_loss=True)
    uniforms = draw_uniforms(1, 2, 3, size=len(LENGTHS), config=config.loss, queries=QUERIES)
    losses = Criterion.of(config)(outputs, targets, batch, uniforms)
    losses.total.backward()
    norms = {key: p.grad.double().norm().item() for key, p in model.named_parameters() if p.grad is not None}
    return {
        "spans_cxw": rounded(outputs.spans_cxw[-1]),
        "logits": rounded(outputs.logits[-1]),
        "saliency": [rounded(row[:n]) for row, n in zip(outputs.saliency, LENGTHS, strict=True)],
        "terms": {name: rounded(term) for name, term in losses.terms.items()},
        "total": rounded(losses.total),
        "target": losses.match.target.tolist(),
        "gradient_norms": {key: float(f"{value:.5g}") for key, value in sorted(norms.items())},
    }


def rounded(values: torch.Tensor) -> Any:
    """Nested lists with a fixed number of decimals."""
    numbers = values.detach().double().tolist()

    def walk(value: Any) -> Any:
        return [walk(item) for item in value] if isinstance(value, list) else round(value, DIGITS)

    return walk(numbers)


def main() -> None:
    FILE.write_text(json.dumps({name: compute(config) for name, config in cases().items()}) + "\n")


if __name__ == "__main__":
    main()
