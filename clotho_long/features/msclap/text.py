"""Token states of MS-CLAP 2023's text tower: GPT-2 with CLAP's weights, captions in batches.

The reference (`CLAPWrapper.preprocess_text`, then the public extractor) appends " <|endoftext|>" to a
caption, pads it on the right to 77 tokens with "!" (id 0) and keeps the states of the real tokens. GPT-2 is
causal, so padding on the right changes no real token: captions are batched by length, with little padding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clotho_long.core.errors import FeatureError
from clotho_long.features.encoder import Matrix

HUB_TOKENIZER = "gpt2"
TOKENIZER_FOLDER = "gpt2"  # beside the weights file
END = " <|endoftext|>"
PAD = "!"  # id 0
MAX_TOKENS = 77
TOKENS_PER_BATCH = 1024

logger = logging.getLogger(__name__)


class TextTower(nn.Module):
    """Captions -> one [token, 768] float32 matrix each; the last token is the end of text.

    Args:
        weights: GPT-2's, named as in `weights.text_shapes`.
        tokenizer: GPT-2's, as `load_tokenizer` returns it.
        dtype: of weights and states inside the tower.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], tokenizer: Any, *, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.gpt2 = _gpt2(weights, dtype)

    def encode(self, texts: Sequence[str]) -> list[Matrix]:
        """States of the tokens of each text, in the order of `texts`.

        Texts over 77 tokens are cut to 77, as the model was never trained on more, and counted in a warning.
        """
        if not texts:
            return []
        tokens = [ids[:MAX_TOKENS] for ids in self._token_ids(texts)]
        states: list[Matrix] = [np.empty(0, np.float32)] * len(texts)
        for batch in batches(list(map(len, tokens))):
            padded = nn.utils.rnn.pad_sequence([torch.tensor(tokens[i]) for i in batch], batch_first=True)
            hidden = self.gpt2(input_ids=padded.to(self.gpt2.device), use_cache=False).last_hidden_state
            rows = hidden.float().cpu().numpy()
            for row, index in zip(rows, batch, strict=True):
                states[index] = row[: len(tokens[index])].copy()
        return states

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer([text + END for text in texts])["input_ids"]
        cut = sum(len(row) > MAX_TOKENS for row in ids)
        if cut:
            logger.warning("cut %d of %d texts to their first %d tokens", cut, len(texts), MAX_TOKENS)
        return ids


def load_tokenizer(folder: Path | None) -> Any:
    """GPT-2's tokenizer from a folder, else from the Hugging Face cache, else downloaded into it.

    As in `msclap`, "!" becomes the padding token; so "!!" is two tokens here, where GPT-2 itself has one.

    Raises:
        FeatureError: the folder holds no vocabulary, or there is neither cache nor network.
    """
    from transformers import GPT2TokenizerFast

    if folder is not None and not (folder / "vocab.json").is_file():
        raise FeatureError(
            "holds no vocab.json and merges.txt of GPT-2", folder, "save the tokenizer `gpt2` there"
        )
    try:
        tokenizer = GPT2TokenizerFast.from_pretrained(str(folder) if folder else HUB_TOKENIZER)
    except (OSError, ValueError):
        raise FeatureError(
            "GPT-2's tokenizer is not in the Hugging Face cache and cannot be downloaded",
            folder or HUB_TOKENIZER,
            f"put its vocab.json and merges.txt into a folder `{TOKENIZER_FOLDER}` beside the weights",
        ) from None
    tokenizer.add_special_tokens({"pad_token": PAD})
    return tokenizer


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of texts to encode together: similar lengths, at most `TOKENS_PER_BATCH` with padding."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batch and (len(batch) + 1) * lengths[index] > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _gpt2(weights: Mapping[str, Tensor], dtype: torch.dtype) -> Any:
    from transformers import GPT2Config, GPT2Model
    from transformers.modeling_utils import no_init_weights

    # every weight is assigned below: initialising 124 million of them first would take seconds
    with no_init_weights():
        model: Any = GPT2Model(GPT2Config(attn_implementation="sdpa"))  # type: ignore[no-untyped-call]
    model.load_state_dict({key: value.to(dtype) for key, value in weights.items()}, strict=True, assign=True)
    return model.eval().to(dtype)
