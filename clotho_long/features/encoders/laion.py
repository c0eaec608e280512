"""LAION-CLAP through `transformers`: an example of an encoder beside the built-in ones.

After Wu et al., "Large-scale contrastive language-audio pretraining" (arXiv 2211.06687), the model
`laion/clap-htsat-unfused`. As with MS-CLAP, the vectors are those before the projections: HTS-AT's pooled
output for a window, RoBERTa's token states for a text. Registered as `laion-clap` by an entry point of the
group `clotho_long.encoders`, as an encoder of any other package would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clotho_long.core.devices import find_device
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.core.units import Hertz
from clotho_long.features.encoder import Matrix
from clotho_long.features.encoders.pretrained import digest_of, load_model, load_part, unit_rows

HUB_REPOSITORY = "laion/clap-htsat-unfused"
WINDOWS_PER_BATCH = 8
MAX_TOKENS = 77


class LaionEncoder:
    """Implements `clotho_long.features.encoder.Encoder` on any unfused `ClapModel`."""

    name = "laion-clap"
    sample_rate_hz: Hertz = 48000
    window_samples = 48000

    def __init__(self, model: Any, spectrogram: Any, tokenizer: Any, device: torch.device) -> None:
        self._model = model.to(device).eval()
        self._spectrogram, self._tokenizer, self.device = spectrogram, tokenizer, device
        self.dim = int(model.config.audio_config.hidden_size)

    def provenance(self) -> dict[str, Any]:
        return {"name": self.name, "weights": digest_of(self._model), "precision": "float32"}

    @torch.inference_mode()
    def encode_windows(self, windows: Matrix) -> Matrix:
        """[window, 48000] mono in [-1, 1] -> [window, dim] float32, not normalised."""
        rows = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(windows), WINDOWS_PER_BATCH):
            batch = list(windows[start : start + WINDOWS_PER_BATCH])
            # a window is shorter than the model's ten seconds: repeated to fill them, never cut at random
            pictures = self._spectrogram(
                batch,
                sampling_rate=self.sample_rate_hz,
                truncation="rand_trunc",
                padding="repeatpad",
                return_tensors="pt",
            )["input_features"]
            pooled = self._model.audio_model(input_features=pictures.float().to(self.device)).pooler_output
            rows.append(pooled.cpu().numpy())
        return np.concatenate(rows)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> list[Matrix]:
        """One [token, dim] float32 matrix for each text, begin and end tokens included."""
        states = []
        for text in texts:
            tokens = self._tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            hidden = self._model.text_model(**tokens.to(self.device)).last_hidden_state
            states.append(hidden[0].cpu().numpy())
        return states

    def shared_space(self) -> LaionSpace:
        """The joint space of the model's training."""
        return LaionSpace(self._model, self.device)


class LaionSpace:
    """Implements `clotho_long.features.encoder.SharedSpace`: what `ClapModel` does after its two towers."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model, self._device = model, device
        self.dim = int(model.config.projection_dim)

    @torch.inference_mode()
    def project_rows(self, rows: Matrix) -> Matrix:
        """[window, encoder.dim] -> [window, dim], each of unit length."""
        pooled = torch.from_numpy(rows.astype(np.float32)).to(self._device)
        return unit_rows(self._model.audio_projection(pooled))

    @torch.inference_mode()
    def project_texts(self, states: Sequence[Matrix]) -> Matrix:
        """[token, ...] of each text -> [text, dim], each of unit length."""
        vectors = [np.empty((0, self.dim), np.float32)]
        for state in states:
            tokens = torch.from_numpy(state)[None].to(self._device)
            pooled = self._model.text_model.pooler(tokens)
            vectors.append(unit_rows(self._model.text_projection(pooled)))
        return np.concatenate(vectors)


def load_laion(weights: Path | None = None, device: str = "auto", precision: str = "float32") -> LaionEncoder:
    """The encoder from a folder that `save_pretrained` wrote, else from the Hugging Face cache or hub.

    Raises:
        ConfigError: another precision than float32 is asked for.
        FeatureError: the model is neither there nor to be downloaded, or it is a fused one.
    """
    from transformers import ClapFeatureExtractor, ClapModel, RobertaTokenizerFast

    if precision != "float32":
        raise ConfigError(f"{LaionEncoder.name} has no precision {precision!r}", "--precision", "use float32")
    source, what = weights or HUB_REPOSITORY, "CLAP model"
    model = load_model(ClapModel, source, what=what)
    spectrogram = load_part(ClapFeatureExtractor, source, what=what)
    tokenizer = load_part(RobertaTokenizerFast, source, what=what)
    if model.config.audio_config.enable_fusion:
        raise FeatureError("is a fused model, which picks parts at random", source, f"use {HUB_REPOSITORY}")
    return LaionEncoder(model, spectrogram, tokenizer, find_device(device))
