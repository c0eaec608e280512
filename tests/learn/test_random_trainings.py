"""Whatever the corpus, a training ends. `python -m benchmarks.random_trainings` makes many more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.config import SYSTEMS
from amr_model.data.sets import RetrievalSet
from amr_model.learn.curves import Curves
from amr_model.learn.train import train
from clotho_long.core.records import Moment, Query
from tests.model.builders import small

KINDS = ("none", "whole", "one", "many", "past the end")


def make_set(config, kinds: list[str], lengths: list[int]) -> RetrievalSet:
    """A query of each kind, asked of the recordings in turn."""
    rng = np.random.default_rng(0)
    audio = {f"r{n}": rng.standard_normal((length, 6)).astype(np.float32) for n, length in enumerate(lengths)}
    queries = []
    for place, kind in enumerate(kinds):
        length = float(lengths[place % len(lengths)])
        windows = {
            "none": [],
            "whole": [(0.0, length)],
            "one": [(length / 4, length / 2)],
            "many": [(n * length / 20, (n + 1) * length / 20) for n in range(0, 20, 2)],
            "past the end": [(length / 2, length + 9)],
        }[kind]
        moments = tuple(Moment(onset_s=onset, offset_s=offset) for onset, offset in windows)
        name = f"r{place % len(lengths)}"
        queries.append(
            Query(
                qid=f"q{place}", query=f"s{place % 3}", recording_id=name, duration_s=length, moments=moments
            )
        )
    text = {
        query.qid: rng.standard_normal((1 + n % 4, 5)).astype(np.float32) for n, query in enumerate(queries)
    }
    return RetrievalSet(queries, audio, text, config)


@pytest.mark.parametrize("name", ["S4", "S8"])
def test_a_moment_that_fills_its_recording_trains(name: str, tmp_path: Path) -> None:
    config = small(name, "train.batch_size=1", "train.epochs=1")
    data = make_set(config, ["whole", "one"], [10, 20])
    (record,) = train(config, data, data, tmp_path).history
    assert all(value == value for value in record["loss"].values())


@settings(max_examples=16)
@given(
    name=st.sampled_from(sorted(SYSTEMS)),
    kinds=st.lists(st.sampled_from(KINDS), min_size=0, max_size=4),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    batch_size=st.sampled_from([1, 2, 32]),
    batching=st.sampled_from(["shuffle", "length"]),
)
def test_random_corpora_train(tmp_path_factory, name, kinds, lengths, batch_size, batching) -> None:
    config = small(name, f"train.batch_size={batch_size}", "train.epochs=1", f"train.batching={batching}")
    data = make_set(config, [*kinds, "one"], lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Curves, "draw", lambda self, history: None)  # most of the time otherwise
        (record,) = train(config, data, data, tmp_path_factory.mktemp("run")).history
    assert all(value == value for group in ("loss", "valid_loss") for value in record[group].values())
