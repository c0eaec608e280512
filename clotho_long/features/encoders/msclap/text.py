"""Token states of MS-CLAP 2023's text tower: GPT-2 with CLAP's weights, every distinct prefix once.

The reference (`CLAPWrapper.preprocess_text`, then the public extractor) appends " <|endoftext|>" to a
caption, pads it on the right to 77 tokens with "!" (id 0) and keeps the states of the real tokens. GPT-2 is
causal: a state depends on the tokens up to its own, not on padding or on how the caption goes on. So there
is no padding in the linear layers here, and captions that begin alike ("A dog barks ...") share that part.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clotho_long.core.errors import FeatureError
from clotho_long.core.hub import hub_file
from clotho_long.features.encoder import Matrix
from clotho_long.features.encoders.msclap.linear import Linear

HUB_TOKENIZER = "gpt2"
TOKENIZER_FOLDER = "gpt2"  # beside the weights file
END = " <|endoftext|>"
PAD = "!"  # id 0
MAX_TOKENS = 77
LAYERS, HEADS, WIDTH = 12, 12, 768
NORM_EPSILON = 1e-5
# Prefixes computed together: enough for the products to be efficient, few enough to stay in the cache.
PREFIXES_PER_BATCH = 1024

logger = logging.getLogger(__name__)


class PrefixBatch(NamedTuple):
    """Captions as paths through their distinct prefixes; a prefix stands for its last token."""

    texts: list[int]  # which captions
    tokens: list[int]  # [prefix] id of its last token
    positions: list[int]  # [prefix] place of that token in the caption
    paths: list[list[int]]  # [text][token] prefix that ends there


class TextTower(nn.Module):
    """Captions -> one [token, 768] float32 matrix each; the last token is the end of text.

    Args:
        weights: GPT-2's, named as in `weights.text_shapes`.
        tokenizer: GPT-2's, as `load_tokenizer` returns it.
        dtype: of the matrix products.
    """

    token_table: Tensor
    position_table: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(
        self, weights: Mapping[str, Tensor], tokenizer: Any, *, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.register_buffer("token_table", weights["wte.weight"])
        self.register_buffer("position_table", weights["wpe.weight"])
        self.blocks = nn.ModuleList(TextBlock(weights, f"h.{layer}.", dtype) for layer in range(LAYERS))
        self.register_buffer("scale", weights["ln_f.weight"])
        self.register_buffer("shift", weights["ln_f.bias"])

    def encode(self, texts: Sequence[str]) -> list[Matrix]:
        """States of the tokens of each text, in the order of `texts`.

        Texts over 77 tokens are cut to 77, as the model was never trained on more, and counted in a warning.
        """
        states: list[Matrix | None] = [None] * len(texts)
        for batch in prefix_batches(self._token_ids(texts)):
            rows = self(batch).cpu().numpy()
            for text, path in zip(batch.texts, batch.paths, strict=True):
                states[text] = rows[path]
        return [state for state in states if state is not None]

    def forward(self, batch: PrefixBatch) -> Tensor:
        """[prefix, 768] state of the last token of each prefix."""
        device = self.token_table.device
        x = self.token_table[torch.tensor(batch.tokens, device=device)]
        x = x + self.position_table[torch.tensor(batch.positions, device=device)]
        # attention alone works on padded captions; what it says at padding is never read
        paths = nn.utils.rnn.pad_sequence([torch.tensor(path) for path in batch.paths], batch_first=True)
        place = torch.full((len(batch.tokens),), paths.numel())  # where each prefix comes first
        place.scatter_reduce_(0, paths.flatten(), torch.arange(paths.numel()), "amin")
        paths, place = paths.to(device), place.to(device)
        for block in self.blocks:
            x = block(x, paths, place)
        return F.layer_norm(x, (WIDTH,), self.scale, self.shift, NORM_EPSILON)

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer([text + END for text in texts])["input_ids"]
        cut = sum(len(row) > MAX_TOKENS for row in ids)
        if cut:
            logger.warning("cut %d of %d texts to their first %d tokens", cut, len(texts), MAX_TOKENS)
        return [row[:MAX_TOKENS] for row in ids]


class TextBlock(nn.Module):
    """One layer of GPT-2, whose linear layers are stored input first."""

    def __init__(self, weights: Mapping[str, Tensor], prefix: str, dtype: torch.dtype) -> None:
        super().__init__()

        def plain(name: str) -> tuple[Tensor, Tensor]:
            return weights[f"{prefix}{name}.weight"].T, weights[f"{prefix}{name}.bias"]

        def norm(name: str) -> tuple[Tensor, Tensor]:
            return weights[f"{prefix}{name}.weight"], weights[f"{prefix}{name}.bias"]

        self.qkv = Linear.after_norm(*plain("attn.c_attn"), *norm("ln_1"), dtype)
        self.out = Linear(*plain("attn.c_proj"), dtype)
        self.widen = Linear.after_norm(*plain("mlp.c_fc"), *norm("ln_2"), dtype)
        self.narrow = Linear(*plain("mlp.c_proj"), dtype)

    def forward(self, x: Tensor, paths: Tensor, place: Tensor) -> Tensor:
        """x: [prefix, 768]; paths: [text, token] prefix; place: [prefix] where in `paths` it comes first."""
        texts, tokens = paths.shape
        qkv = self.qkv(F.layer_norm(x, (WIDTH,), eps=NORM_EPSILON))
        parts = qkv[paths].view(texts, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(texts * tokens, WIDTH)[place])
        wide = self.widen(F.layer_norm(x, (WIDTH,), eps=NORM_EPSILON))
        y: Tensor = x + self.narrow(F.gelu(wide, approximate="tanh"))
        return y


def load_tokenizer(folder: Path | None) -> Any:
    """GPT-2's tokenizer from a folder, else from the Hugging Face cache, else downloaded into it.

    As in `msclap`, "!" becomes the padding token; so "!!" is two tokens here, where GPT-2 itself has one.

    Raises:
        FeatureError: the folder holds no vocabulary, or there is neither cache nor network.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ("vocab.json", "merges.txt")
    if folder is None:
        fix = f"put {' and '.join(names)} into a folder `{TOKENIZER_FOLDER}` beside the weights"
        files = [hub_file(HUB_TOKENIZER, name, fix=fix) for name in names]
    else:
        files = [folder / name for name in names]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise FeatureError(f"holds no {' and no '.join(missing)}", folder, "save GPT-2's tokenizer there")
    # from its parts: what GPT2TokenizerFast makes of two files depends on the version of transformers, and 5
    # takes them without a word for no vocabulary at all
    vocabulary, merges = map(str, files)
    bytewise = Tokenizer(models.BPE.from_file(vocabulary, merges))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    make: Any = PreTrainedTokenizerFast
    special = dict.fromkeys(("unk_token", "bos_token", "eos_token"), END.strip())
    inputs = ["input_ids", "attention_mask"]  # GPT-2 knows no types of tokens
    tokenizer = make(tokenizer_object=bytewise, model_input_names=inputs, **special)
    tokenizer.add_special_tokens({"pad_token": PAD})
    return tokenizer


def prefix_batches(tokens: Sequence[list[int]]) -> Iterator[PrefixBatch]:
    """Texts in batches of about `PREFIXES_PER_BATCH` distinct prefixes, alike ones together."""
    batch, previous = PrefixBatch([], [], [], []), list[int]()
    for text in sorted(range(len(tokens)), key=lambda text: tokens[text]):
        if len(batch.tokens) >= PREFIXES_PER_BATCH:
            yield batch
            batch, previous = PrefixBatch([], [], [], []), []
        current = tokens[text]
        shared = _common_length(previous, current)
        first = len(batch.tokens)
        path = batch.paths[-1][:shared] if shared else []
        batch.texts.append(text)
        batch.tokens.extend(current[shared:])
        batch.positions.extend(range(shared, len(current)))
        batch.paths.append([*path, *range(first, len(batch.tokens))])
        previous = current
    if batch.texts:
        yield batch


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    for length, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return length
    return min(len(a), len(b))
