"""M2D-CLAP through the user's own copy of NTT's `portable_m2d.py`: its licence keeps it out of this project.

After Niizumi et al., "M2D-CLAP: Masked Modeling Duo Meets CLAP for Learning General-purpose Audio-Language
Representation" (arXiv 2406.02032); github.com/nttcslab/m2d, `examples/portable_m2d.py` as read at f0c4128. No
code of it is here: its class `PortableM2D` hears and reads, this one brings its numbers into our form. The
environment variable `PORTABLE_M2D` names the file, unless a module of that name can be imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from clotho_long.core.devices import find_device
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.core.files import fingerprint_file
from clotho_long.core.tensor_files import TensorFileError, read_tensor_file
from clotho_long.features.encoder import Matrix
from clotho_long.features.encoders.pretrained import unit_rows

MODULE, VARIABLE = "portable_m2d", "PORTABLE_M2D"
WINDOWS_PER_BATCH = 8


class M2dClapEncoder:
    """Implements `clotho_long.features.encoder.Encoder` on a `PortableM2D` with an audio projection."""

    name = "m2d-clap"

    def __init__(self, model: Any, made_of: dict[str, str], device: torch.device) -> None:
        self._model, self._made_of, self.device = model.to(device).eval(), made_of, device
        self.sample_rate_hz = self.window_samples = int(model.cfg.sample_rate)
        # of the 2025 models the projection is a network over all patches, and a row what comes out of it
        self._projects_means = not hasattr(model.backbone.audio_proj, "dont_average")
        silence = np.zeros((1, self.window_samples), np.float32)
        self.dim = self.encode_windows(silence).shape[1]

    def provenance(self) -> dict[str, Any]:
        rows = "mean of patches" if self._projects_means else "embedding"
        return {"name": self.name, **self._made_of, "rows": rows, "precision": "float32"}

    @torch.inference_mode()
    def encode_windows(self, windows: Matrix) -> Matrix:
        """[window, sample] mono in [-1, 1] -> [window, dim] float32, not normalised."""
        rows = []
        for start in range(0, len(windows), WINDOWS_PER_BATCH):
            batch = torch.from_numpy(windows[start : start + WINDOWS_PER_BATCH].astype(np.float32))
            rows.append(self._heard(batch.to(self.device)).float().cpu().numpy())
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    def _heard(self, batch: torch.Tensor) -> torch.Tensor:
        """[window, sample] -> [window, dim]."""
        heard: torch.Tensor = (
            self._model(batch).mean(dim=1) if self._projects_means else self._model.encode_clap_audio(batch)
        )
        return heard

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> list[Matrix]:
        """One [1, dim] float32 matrix for each text: the model gives a sentence, and no tokens."""
        with contextlib.redirect_stdout(sys.stderr):  # it loads its text encoder at the first text
            states = [self._model.encode_clap_text([text], truncate=True) for text in texts]
        return [state.float().cpu().numpy() for state in states]

    def shared_space(self) -> M2dClapSpace:
        """The space of the model's contrastive training."""
        projection = self._model.backbone.audio_proj if self._projects_means else torch.nn.Identity()
        return M2dClapSpace(projection, self.dim, self.device)


class M2dClapSpace:
    """Implements `clotho_long.features.encoder.SharedSpace`: sounds are projected, texts come projected."""

    def __init__(self, projection: torch.nn.Module, row_dim: int, device: torch.device) -> None:
        self._projection, self._device = projection, device
        self.dim = self.project_rows(np.zeros((1, row_dim), np.float32)).shape[1]

    @torch.inference_mode()
    def project_rows(self, rows: Matrix) -> Matrix:
        """[window, encoder.dim] -> [window, dim], each of unit length."""
        return unit_rows(self._projection(torch.from_numpy(rows.astype(np.float32)).to(self._device)))

    def project_texts(self, states: Sequence[Matrix]) -> Matrix:
        """[1, dim] of each text -> [text, dim], each of unit length."""
        return unit_rows(torch.from_numpy(np.concatenate([np.empty((0, self.dim), np.float32), *states])))


def load_m2d_clap(
    weights: Path | None = None, device: str = "auto", precision: str = "float32"
) -> M2dClapEncoder:
    """The encoder from NTT's weights, in the folder whose name says the sizes of the model.

    Raises:
        ConfigError: another precision than float32 is asked for, no weights, or the module is missing.
        FeatureError: the weights ask for more than data, or are of no M2D-CLAP.
    """
    name = M2dClapEncoder.name
    if precision != "float32":
        raise ConfigError(f"{name} has no precision {precision!r}", "--precision", "use float32")
    if weights is None:
        fix = "download an m2d_clap_vit_base-... of github.com/nttcslab/m2d, and pass its .pth with --weights"
        raise ConfigError(f"{name} has no weights of its own", "--weights", fix)
    module, code = _portable_m2d()
    try:
        read_tensor_file(weights)  # theirs would run whatever is in the file
    except TensorFileError as error:
        raise FeatureError(error.problem, error.where, error.fix) from None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            model = module.PortableM2D(str(weights), flat_features=True)
    except (AssertionError, IndexError, KeyError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise FeatureError(
            f"cannot be loaded by {MODULE} ({reason})", weights, "keep the folder's name as it was published"
        ) from None
    if not hasattr(model.backbone, "audio_proj"):
        raise FeatureError("is an M2D without CLAP", weights, "take one of the m2d_clap files")
    return M2dClapEncoder(model, {"weights": fingerprint_file(weights), "code": code}, find_device(device))


def _portable_m2d() -> tuple[ModuleType, str]:
    """The user's module, and a hash of its text."""
    named = os.environ.get(VARIABLE)
    spec = (
        importlib.util.spec_from_file_location(MODULE, named) if named else importlib.util.find_spec(MODULE)
    )
    where = f"encoder {M2dClapEncoder.name}"
    if spec is None or spec.loader is None or spec.origin is None or not Path(spec.origin).is_file():
        fix = f"clone github.com/nttcslab/m2d and set {VARIABLE}=m2d/examples/{MODULE}.py"
        raise ConfigError(f"needs the file {MODULE}.py, which is not part of this project", where, fix)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        fix = "install what it names: pip install timm einops nnAudio"
        raise ConfigError(f"{spec.origin} needs {error.name}", where, fix) from None
    return module, hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
