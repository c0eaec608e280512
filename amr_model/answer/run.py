"""The pass of a network over queries: outputs, ranked, as predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from amr_model.answer.ranking import rank_windows
from amr_model.config import ExperimentConfig, InferenceConfig, TargetConfig
from amr_model.data.sets import RetrievalSet
from amr_model.precision import matrix_products, mixed_precision
from amr_model.tensors import Batch, Outputs
from clotho_long.core.predictions import Prediction
from clotho_long.core.records import Query

Integers = npt.NDArray[np.int64]


def predict_set(
    network: Callable[[Batch], Outputs], data: RetrievalSet, config: ExperimentConfig
) -> list[Prediction]:
    """The answer to each query of a set, in its order; `network` is in evaluation mode on its device.

    It runs in the precision that it was trained in (`train.precision`), whoever asks.
    """
    predictions: list[Prediction] = []
    kind = config.train.precision
    with torch.inference_mode():
        for indices in data.batches_in_order(config.train.valid_batch_size):
            with matrix_products(kind), mixed_precision(data.device, kind):
                outputs = network(data.batch(indices))
            predictions += predict_batch(
                outputs.in_float32(),
                [data.queries[index] for index in indices],
                data.num_rows[indices],
                config.inference,
                config.targets,
            )
    return predictions


def predict_batch(
    outputs: Outputs,
    queries: Sequence[Query],
    num_rows: Integers,
    inference: InferenceConfig,
    targets: TargetConfig,
) -> list[Prediction]:
    """The answer to each query of a batch.

    Args:
        num_rows: valid audio rows of each item.
        targets: its `time_scale` and `clip_s` say what a fraction of the timeline is worth.

    Raises:
        ManifestError: the outputs are not finite.
    """
    ranked = rank_windows(
        outputs,
        durations_s=[query.duration_s for query in queries],
        num_rows=num_rows,
        inference=inference,
        targets=targets,
    )
    return [
        Prediction(qid=query.qid, query=query.query, recording_id=query.recording_id, windows=windows)
        for query, windows in zip(queries, ranked, strict=True)
    ]
