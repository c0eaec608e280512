"""Small models, batches and sets for the tests of this folder."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from amr_model.config import ExperimentConfig, system
from amr_model.data.collate import temporal_endpoints
from amr_model.data.sets import RetrievalSet
from amr_model.model import MomentRetriever
from amr_model.public.networks import network_of
from amr_model.tensors import Batch, Targets
from clotho_long.core.records import Moment, Query
from clotho_long.core.settings import override

SIZES = (
    "model.audio_dim=6",
    "model.text_dim=5",
    "model.hidden_dim=16",
    "model.num_heads=2",
    "model.feedforward_dim=24",
    "model.num_queries=4",
    "model.slot_inner_dim=16",
    "model.similarity_inner_dim=16",
    "model.audio_centres=6",
    "model.text_centres=3",
)


def small(name: str = "S1", *settings: str) -> ExperimentConfig:
    """One of the systems at a width at which a test takes no time."""
    return override(system(name), (*SIZES, *settings))


def make_model(config: ExperimentConfig, *, seed: int = 0) -> MomentRetriever:
    """A model in evaluation mode with the start values of a seed."""
    torch.manual_seed(seed)
    return network_of(config.model).eval()


def make_batch(
    config: ExperimentConfig,
    lengths: list[int],
    tokens: list[int],
    *,
    seed: int = 0,
    padded_length: int | None = None,
    padded_tokens: int | None = None,
) -> Batch:
    """A batch of random features, one recording an item."""
    rng, size = np.random.default_rng(seed), len(lengths)
    length, width = padded_length or max(lengths), padded_tokens or max(tokens)
    audio = torch.zeros(size, length, config.model.audio_dim)
    text = torch.zeros(size, width, config.model.text_dim)
    for item in range(size):
        audio[item, : lengths[item]] = torch.from_numpy(rng.standard_normal((lengths[item], audio.shape[-1])))
        text[item, : tokens[item]] = torch.from_numpy(rng.standard_normal((tokens[item], text.shape[-1])))
    audio_mask = torch.arange(length) < torch.tensor(lengths)[:, None]
    return Batch(
        audio=audio,
        audio_mask=audio_mask,
        tef=temporal_endpoints(torch.tensor(lengths), audio_mask),
        text=text,
        text_mask=torch.arange(width) < torch.tensor(tokens)[:, None],
        negative_index=(torch.arange(size) + 1) % size if size > 1 else torch.tensor([-1]),
        same_recording=torch.eye(size, dtype=torch.bool),
    )


def make_targets(batch: Batch, spans: list[list[tuple[float, float]]]) -> Targets:
    """Targets from (start, end) fractions; every clip inside a span is salient."""
    size, length = batch.audio_mask.shape
    width = max([len(item) for item in spans] + [1])
    cxw, mask = torch.zeros(size, width, 2), torch.zeros(size, width, dtype=torch.bool)
    saliency = torch.zeros(size, length)
    count = batch.audio_mask.sum(dim=1).tolist()
    for item, windows in enumerate(spans):
        for place, (start, end) in enumerate(windows):
            cxw[item, place] = torch.tensor([(start + end) / 2, end - start])
            mask[item, place] = True
            saliency[
                item, int(start * count[item]) : max(int(end * count[item]), int(start * count[item]) + 1)
            ] = 1
    has = mask.any(dim=1, keepdim=True).expand(-1, 2)
    return Targets(
        spans_cxw=cxw,
        spans_mask=mask,
        saliency=saliency,
        saliency_positives=saliency.argmax(dim=1, keepdim=True).expand(-1, 2),
        saliency_negatives=saliency.argmin(dim=1, keepdim=True).expand(-1, 2),
        saliency_pairs_mask=has,
        similarity=saliency.clone(),
    )


def make_set(config: ExperimentConfig, num_queries: int = 10, *, seed: int = 0) -> RetrievalSet:
    """Queries of two per recording, whose moments carry a direction of their text."""
    rng = np.random.default_rng(seed)
    audio: dict[str, Any] = {}
    text: dict[str, Any] = {}
    queries = []
    for index in range(num_queries):
        recording, length = f"r{index // 2}", 20 + 2 * (index // 2)
        rows = audio.setdefault(recording, 0.3 * rng.standard_normal((length, 6)).astype(np.float32))
        onset = int(rng.integers(0, length - 6))
        rows[onset : onset + 5] += np.eye(6, dtype=np.float32)[index % 5] * 2
        text[f"q{index}"] = np.eye(5, dtype=np.float32)[[index % 5] * (2 + index % 3)]
        queries.append(
            Query(
                qid=f"q{index}",
                query=f"sound {index % 5}",
                recording_id=recording,
                duration_s=float(length),
                moments=(Moment(onset_s=float(onset), offset_s=float(onset + 5)),),
            )
        )
    return RetrievalSet(queries, audio, text, config)


def replaced(batch: Batch, **changes: Any) -> Batch:
    return dataclasses.replace(batch, **changes)
