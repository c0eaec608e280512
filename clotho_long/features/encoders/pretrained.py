"""What the encoders that are models of `transformers` share: loading all of one, knowing it again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from clotho_long.core.errors import FeatureError
from clotho_long.features.encoder import Matrix


def load_model(kind: Any, source: Path | str, *, what: str) -> Any:
    """A model of the class `kind` in float32, from a folder that `save_pretrained` wrote or from the hub.

    Raises:
        FeatureError: it is neither there nor to be downloaded, or a weight is missing, which `transformers`
            itself would draw at random.
    """
    model, report = _from_pretrained(kind, source, what, output_loading_info=True)
    absent = [name for name, _ in model.named_parameters() if name in report["missing_keys"]]
    if absent:
        raise FeatureError(
            f"holds no {what}: it lacks {len(absent)} weights, such as {absent[0]}",
            source,
            "check --weights",
        )
    return model.float()  # files of half precision are loaded as such by transformers 5


def load_part(kind: Any, source: Path | str, *, what: str) -> Any:
    """What goes with a model and has no weights: a tokenizer, a feature extractor. Raises as `load_model`."""
    return _from_pretrained(kind, source, what)


def digest_of(model: torch.nn.Module) -> str:
    """SHA-256 of all weights with their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def unit_rows(vectors: torch.Tensor) -> Matrix:
    """[row, dim] of unit length, on the processor."""
    unit: Matrix = F.normalize(vectors, dim=-1).cpu().numpy()
    return unit


def _from_pretrained(kind: Any, source: Path | str, what: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(str(source), **options)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise FeatureError(
            f"holds no {what} that can be loaded ({reason})", source, "pass a folder with --weights"
        ) from None
