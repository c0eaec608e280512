"""The encoder `msclap-reference`: the published package's own modules, on the same weights file.

Slower than `msclap-2023` and meant to judge it: `clotho-long verify-encoder` compares the two on a recording.
Needs `pip install '.[msclap]'`.

Importing `msclap` imports torchaudio, whose wheels need CUDA libraries, only to read audio. We never read
audio through it, so an empty module stands in where the real one does not load.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import GPT2Config, GPT2Model

from clotho_long.core.errors import ConfigError
from clotho_long.core.units import Hertz
from clotho_long.features.encoder import Matrix
from clotho_long.features.encoders.msclap.front_end import WINDOW_SAMPLES
from clotho_long.features.encoders.msclap.text import TOKENIZER_FOLDER, load_tokenizer
from clotho_long.features.encoders.msclap.weights import find_weights, read_state, read_weights

MAX_TOKENS = 77
WINDOWS_PER_BATCH = 4

State = Mapping[str, torch.Tensor]


class MsClapReferenceEncoder:
    """Implements `clotho_long.features.encoder.Encoder` with `msclap`'s HTS-AT and `transformers`' GPT-2."""

    name = "msclap-reference"
    sample_rate_hz: Hertz = 44100
    window_samples = WINDOW_SAMPLES
    dim = 768
    device = torch.device("cpu")

    def __init__(self, state: State, sha256: str, tokenizer: Any) -> None:
        self._audio, self._text = reference_htsat(state), reference_gpt2(state)
        self._sha256, self._tokenizer = sha256, tokenizer

    def provenance(self) -> dict[str, Any]:
        return {"name": self.name, "weights": self._sha256, "precision": "float32"}

    @torch.inference_mode()
    def encode_windows(self, windows: Matrix) -> Matrix:
        """[window, 44100] mono in [-1, 1] -> [window, 768] float32: HTS-AT's `latent_output`."""
        rows = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(windows), WINDOWS_PER_BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(windows[start : start + WINDOWS_PER_BATCH]))
            rows.append(self._audio.htsat(batch)["latent_output"].numpy())  # type: ignore[operator]
        return np.concatenate(rows)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> list[Matrix]:
        """One [token, 768] float32 matrix for each text, as the public extractor computes it."""
        return [padded_states(self._text, self._tokenizer, text) for text in texts]


def load_msclap_reference(
    weights: Path | None = None, device: str = "auto", precision: str = "float32"
) -> MsClapReferenceEncoder:
    """The published package's towers on a weights file that is found and checked as for `msclap-2023`.

    Raises:
        ConfigError: the package is not installed, or another device or precision is asked for.
        FeatureError: the weights are missing or do not fit.
    """
    if importlib.util.find_spec("msclap") is None:
        raise ConfigError("the package msclap is not installed", "--encoder", "pip install '.[msclap]'")
    if device not in ("auto", "cpu") or precision != "float32":
        raise ConfigError(
            f"msclap-reference runs on the cpu in float32, not on {device} in {precision}", "--encoder"
        )
    path = find_weights(weights)
    checked = read_weights(path)
    beside = path.parent / TOKENIZER_FOLDER
    tokenizer = load_tokenizer(beside if beside.is_dir() else None)
    return MsClapReferenceEncoder(read_state(path), checked.sha256, tokenizer)


def reference_htsat(state: State) -> torch.nn.Module:
    """`msclap`'s HTS-AT alone; its output `latent_output` is the embedding before the projection."""
    _stand_in_for_torchaudio()
    from msclap.models.htsat import HTSATWrapper

    # the values of msclap's config_2023.yml; the wrapper ignores all of them
    model: torch.nn.Module = HTSATWrapper(44100, 1024, 320, 64, 50, 8000, 527, 768)
    prefix = "audio_encoder.base."
    model.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    return model.eval()


def reference_model(state: State) -> torch.nn.Module:
    """`msclap`'s CLAP (version 2023) in evaluation mode with exactly the weights `state`."""
    _stand_in_for_torchaudio()
    from msclap.models.clap import CLAP

    # the constructor downloads GPT-2 to overwrite it at once; its architecture is all that matters
    gpt2 = _untrained_gpt2()
    with mock.patch("msclap.models.clap.AutoModel.from_pretrained", return_value=gpt2):
        model: torch.nn.Module = CLAP(
            audioenc_name="HTSAT",
            sample_rate=44100,
            window_size=1024,
            hop_size=320,
            mel_bins=64,
            fmin=50,
            fmax=8000,
            classes_num=527,
            out_emb=768,
            text_model="gpt2",
            transformer_embed_dim=768,
            d_proj=1024,
        )
    model.load_state_dict(dict(state), strict=True)
    return model.eval()


def reference_gpt2(state: State) -> torch.nn.Module:
    """`transformers`' GPT-2 with CLAP's weights, as `msclap` uses it."""
    model: torch.nn.Module = _untrained_gpt2()
    prefix = "caption_encoder.base."
    model.load_state_dict(
        {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}, strict=False
    )
    return model.eval()


@torch.inference_mode()
def padded_states(gpt2: Any, tokenizer: Any, caption: str) -> Matrix:
    """[token, 768] as the public extractor computes it: one caption, padded to 77 tokens, then cut."""
    tokens = tokenizer(
        caption + " <|endoftext|>",
        max_length=MAX_TOKENS,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
    )
    hidden = gpt2(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])[0]
    rows: Matrix = hidden[0, : int(tokens["attention_mask"].sum())].numpy()
    return rows


def _untrained_gpt2() -> Any:
    kinds: list[Any] = [GPT2Model, GPT2Config]
    model, config = kinds
    return model(config())


def _stand_in_for_torchaudio() -> None:
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        stand_in = types.ModuleType("torchaudio")
        transforms = types.ModuleType("torchaudio.transforms")
        stand_in.transforms = transforms  # type: ignore[attr-defined]
        sys.modules.update({"torchaudio": stand_in, "torchaudio.transforms": transforms})
