"""The space that MS-CLAP 2023's sounds and sentences share: its two projections, from the same weights file.

After `msclap/models/clap.py` (MIT): a residual pair of linear layers and a layer norm, then unit length, as
`CLAPWrapper.compute_similarity` takes it. A text is its last real token. The reference finds that one by
counting ids that are not 0, and 0 is also the token "!": of a text with an exclamation mark it takes an
earlier token, we take the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clotho_long.features.encoder import Matrix
from clotho_long.features.encoders.msclap.weights import SHARED_DIM

NORM_EPSILON = 1e-5
ROWS_AT_A_TIME = 4096  # bounds memory on recordings of a day


class MsClapSpace:
    """Implements `clotho_long.features.encoder.SharedSpace`; float32, on the processor."""

    dim = SHARED_DIM

    def __init__(self, audio: Mapping[str, Tensor], text: Mapping[str, Tensor]) -> None:
        self._audio, self._text = audio, text

    def project_rows(self, rows: Matrix) -> Matrix:
        """[window, 768] -> [window, 1024], each of unit length."""
        return _projected(rows, self._audio)

    def project_texts(self, states: Sequence[Matrix]) -> Matrix:
        """[token, 768] of each text -> [text, 1024], each of unit length."""
        last = [state[-1:] for state in states]
        return _projected(np.concatenate([np.empty((0, 768), np.float32), *last]), self._text)


@torch.inference_mode()
def _projected(rows: Matrix, weights: Mapping[str, Tensor]) -> Matrix:
    vectors = np.empty((len(rows), SHARED_DIM), np.float32)
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        several = rows[start : start + ROWS_AT_A_TIME]
        first = F.linear(torch.from_numpy(several.astype(np.float32)), weights["linear1.weight"])
        second = F.linear(F.gelu(first), weights["linear2.weight"])
        scale, shift = weights["layer_norm.weight"], weights["layer_norm.bias"]
        embedded = F.layer_norm(first + second, (SHARED_DIM,), scale, shift, NORM_EPSILON)
        vectors[start : start + len(several)] = F.normalize(embedded, dim=1).numpy()
    return vectors
