"""PE-A-Frame (Perception Encoder Audio, frame level) through `transformers`: an encoder with a space for S0.

After arXiv 2512.19687; the models facebook/pe-a-frame-small, -base and -large (Apache-2.0), which are a
`PeAudioFrameLevelModel` of transformers 5 (extra `[pe]`). It gives an embedding every 40 ms. A row here is
the mean over the 25 frames of its second, taken where a mean loses nothing: behind the layer norm of the
audio head and before its projection, which is linear, so that a row projected is the mean of the model's own
frame embeddings. A second is heard by itself, although the model can hear minutes at once: a row must not
depend on its neighbours (docs/adding_an_encoder.md).
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

HUB_REPOSITORY = "facebook/pe-a-frame-base"
MODEL = "PeAudioFrameLevelModel"
WINDOWS_PER_BATCH = 8
MAX_TOKENS = 512  # of a sentence


class PeAudioFrameEncoder:
    """Implements `clotho_long.features.encoder.Encoder` on any `PeAudioFrameLevelModel`."""

    name = "pe-a-frame"
    sample_rate_hz: Hertz = 48000
    window_samples = 48000  # 25 frames of 1920

    def __init__(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        self._model, self._tokenizer, self.device = model.to(device).eval(), tokenizer, device
        self.dim = int(model.config.audio_config.hidden_size)

    def provenance(self) -> dict[str, Any]:
        return {"name": self.name, "weights": digest_of(self._model), "precision": "float32", "rows": 1}

    @torch.inference_mode()
    def encode_windows(self, windows: Matrix) -> Matrix:
        """[window, 48000] mono in [-1, 1] -> [window, dim] float32, not normalised."""
        rows = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(windows), WINDOWS_PER_BATCH):
            batch = torch.from_numpy(windows[start : start + WINDOWS_PER_BATCH].astype(np.float32))
            # [window, frame, dim]
            frames = self._model.audio_encoder(batch[:, None].to(self.device)).last_hidden_state
            rows.append(self._model.audio_head.layer_norm(frames).mean(dim=1).cpu().numpy())
        return np.concatenate(rows)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> list[Matrix]:
        """One [token, text dim] float32 matrix for each text, begin and end tokens included."""
        states = []
        for text in texts:
            tokens = self._tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            # the states that the model's own text embedding starts from
            outputs = self._model.text_model(
                input_ids=tokens["input_ids"].to(self.device),
                attention_mask=tokens["attention_mask"].to(self.device),
                output_hidden_states=True,
            )
            states.append(outputs.hidden_states[-1][0].cpu().numpy())
        return states

    def shared_space(self) -> PeAudioSpace:
        """The joint space of the model's training."""
        return PeAudioSpace(self._model, self.device)


class PeAudioSpace:
    """Implements `clotho_long.features.encoder.SharedSpace`: the model's two contrastive heads.

    The model itself compares vectors as they are, scaled and shifted; here they are of unit length.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model, self._device = model, device
        self.dim = int(model.config.text_config.hidden_size)

    @torch.inference_mode()
    def project_rows(self, rows: Matrix) -> Matrix:
        """[window, encoder.dim] -> [window, dim], each of unit length."""
        means = torch.from_numpy(rows.astype(np.float32)).to(self._device)
        return unit_rows(self._model.audio_head.proj(means))

    @torch.inference_mode()
    def project_texts(self, states: Sequence[Matrix]) -> Matrix:
        """[token, text dim] of each text -> [text, dim], each of unit length: its first token."""
        vectors = [np.empty((0, self.dim), np.float32)]
        for state in states:
            first = torch.from_numpy(state[:1]).to(self._device)
            vectors.append(unit_rows(self._model.text_audio_head(first)))
        return np.concatenate(vectors)


def load_pe_audio_frame(
    weights: Path | None = None, device: str = "auto", precision: str = "float32"
) -> PeAudioFrameEncoder:
    """The encoder from a folder that `save_pretrained` wrote, else from the Hugging Face cache or hub.

    Raises:
        ConfigError: another precision than float32 is asked for, or transformers is older than 5.
        FeatureError: the model is neither there nor to be downloaded, or hears other sound than this class.
    """
    import transformers

    name = PeAudioFrameEncoder.name
    if precision != "float32":
        raise ConfigError(f"{name} has no precision {precision!r}", "--precision", "use float32")
    if not hasattr(transformers, MODEL):
        raise ConfigError(
            f"needs transformers 5, and {transformers.__version__} is installed",
            f"encoder {name}",
            "install it with pip install '.[pe]', which excludes the extra msclap",
        )
    source, what = weights or HUB_REPOSITORY, "PE-A-Frame model"
    model = load_model(getattr(transformers, MODEL), source, what=what)
    tokenizer = load_part(transformers.AutoTokenizer, source, what=what)
    hop = int(np.prod(model.config.audio_config.dac_config.downsampling_ratios))
    if PeAudioFrameEncoder.window_samples % hop:
        raise FeatureError(f"has frames of {hop} samples, which fill no second", source, "check --weights")
    trained_as = model.config.architectures or [MODEL]
    if MODEL not in trained_as:  # of the same tensors, but trained for whole recordings
        raise FeatureError(f"is a {trained_as[0]}, not a {MODEL}", source, f"use {HUB_REPOSITORY}")
    return PeAudioFrameEncoder(model, tokenizer, find_device(device))
