"""The published implementation, as the judge of ours: `msclap`'s own model classes on the same weights.

Importing `msclap` imports torchaudio, whose wheels need CUDA libraries, only to read audio. We never read
audio through it, so an empty module stands in where the real one does not load.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from transformers import GPT2Config, GPT2Model


def reference_htsat(state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """`msclap`'s HTS-AT alone; its output `latent_output` is the embedding before the projection."""
    _stand_in_for_torchaudio()
    from msclap.models.htsat import HTSATWrapper

    # the values of msclap's config_2023.yml; the wrapper ignores all of them
    model = HTSATWrapper(44100, 1024, 320, 64, 50, 8000, 527, 768)
    prefix = "audio_encoder.base."
    model.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    return model.eval()


def reference_model(state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """`msclap`'s CLAP (version 2023) in evaluation mode with exactly the weights `state`."""
    _stand_in_for_torchaudio()
    from msclap.models.clap import CLAP

    # the constructor downloads GPT-2 to overwrite it at once; its architecture is all that matters
    gpt2 = GPT2Model(GPT2Config())
    with mock.patch("msclap.models.clap.AutoModel.from_pretrained", return_value=gpt2):
        model = CLAP(
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


def reference_gpt2(state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """`transformers`' GPT-2 with CLAP's weights, as `msclap` uses it."""
    model = GPT2Model(GPT2Config())
    prefix = "caption_encoder.base."
    model.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    return model.eval()


@torch.inference_mode()
def padded_states(gpt2: Any, tokenizer: Any, caption: str) -> npt.NDArray[np.float32]:
    """[token, 768] as the public extractor computes it: one caption, padded to 77 tokens, then cut."""
    tokens = tokenizer(caption + " <|endoftext|>", max_length=77, padding="max_length", return_tensors="pt")
    hidden = gpt2(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])[0]
    rows: npt.NDArray[np.float32] = hidden[0, : int(tokens["attention_mask"].sum())].numpy()
    return rows


def _stand_in_for_torchaudio() -> None:
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        stand_in = types.ModuleType("torchaudio")
        transforms = types.ModuleType("torchaudio.transforms")
        stand_in.transforms = transforms  # type: ignore[attr-defined]
        sys.modules.update({"torchaudio": stand_in, "torchaudio.transforms": transforms})
