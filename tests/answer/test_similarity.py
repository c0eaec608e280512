"""S0: a recording's curve is its similarity to the sentence, less its mean."""

from __future__ import annotations

import numpy as np
import pytest

from amr_model.answer.similarity import SimilarityAsker, SimilarityRetriever, unit_rows
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.features.encoders.logmel import LogMelEncoder
from tests.index.standin import BANDS, SixBands, Space


def rows_of(bands: list[int]) -> np.ndarray:
    return np.eye(BANDS, dtype=np.float32)[bands]


QUERY = np.eye(BANDS, dtype=np.float32)[:1]


def test_what_fills_a_recording_is_no_moment_of_it():
    asker = SimilarityAsker(space=Space())
    (curve,) = asker.glance(7 * rows_of([0] * 10 + [1] * 10), [QUERY])
    np.testing.assert_allclose(curve, [0.5] * 10 + [-0.5] * 10, atol=1e-6)
    (always,) = asker.glance(rows_of([0] * 10), [QUERY])
    np.testing.assert_allclose(always, 0, atol=1e-6)


def test_a_run_above_the_mean_is_a_moment_with_sharp_edges():
    bands = [1] * 20 + [0] * 4 + [1] * 20
    (found,) = SimilarityAsker(space=Space()).ask(rows_of(bands), 43.5, [QUERY])
    assert found.moments[0][:2] == (20.0, 24.0)
    assert found.presence is None


def test_without_a_space_sounds_compare_by_their_features():
    asker = SimilarityAsker(space=None)
    vector = asker.vector_of(3 * rows_of([2, 2, 2]))
    np.testing.assert_allclose(vector, rows_of([2]))
    with pytest.raises(FeatureError, match="the query has 2 values and a second 6"):
        asker.glance(rows_of([1]), [np.ones((1, 2), np.float32)])
    assert not unit_rows(np.zeros((1, 3), np.float32)).any()


def test_an_encoder_without_a_space_cannot_answer():
    with pytest.raises(ConfigError, match="logmel has no space that sounds and sentences share"):
        SimilarityRetriever(encoder=LogMelEncoder())
    assert SimilarityRetriever(encoder=SixBands()).prepare(["band 3"])[0].shape == (1, BANDS)
