"""Random streams that hang on names, so that neither order nor workers can move them."""

from __future__ import annotations

import hashlib

import numpy as np

MAX_SEED = 2**63 - 1  # what torch takes


def generator(seed: int, *scope: str) -> np.random.Generator:
    """The random stream of one scope, for example `generator(7, "train", recording_id, "gaps")`.

    Two scopes never share a stream, and adding a scope moves no other. NumPy may change its streams
    between releases: the seed explains a recipe, the stored recipe reproduces it.
    """
    digest = hashlib.sha256("\x1f".join(scope).encode()).digest()
    spawn_key = tuple(int(word) for word in np.frombuffer(digest, dtype="<u4"))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=spawn_key)))
