"""The simulation is held to real MS-CLAP features; earlier tables stay what their simulation gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clotho_long.core.records import Moment, Query
from clotho_long.features.statistics import (
    AudioStatistics,
    TextStatistics,
    audio_statistics,
    mean_statistics,
    read_folder,
    text_statistics,
)
from clotho_long.recipe.lengths import castella_lengths
from pipelines.simulation import calibrated, white
from pipelines.simulation.calibrated import CalibratedFeatures, CalibratedSettings
from pipelines.simulation.labels import cropped, sounding, words_of
from pipelines.simulation.white import WhiteFeatures

# Of ten recordings (840 rows) and nineteen queries of the DCASE 2026 Task 6 evaluation set.
REAL_AUDIO = AudioStatistics(
    recordings=10,
    rows=840,
    row_norm=8.29,
    row_norm_spread=0.255,
    mean_squared=0.748,
    variance_between=0.103,
    variance_within=0.152,
    autocorrelation=(0.470, 0.335, 0.249, 0.146, 0.048, -0.053),
    participation=13.6,
    direction_shares=(0.189, 0.523, 0.798, 0.912),
)
REAL_TEXT = TextStatistics(queries=19, tokens=128, mean_squared=0.597, first_cosine=0.956, last_cosine=0.646)
WITHIN = 0.15
GROUPS = 8


def labels(num_recordings: int, seed: int = 0) -> list[Query]:
    """Made-up annotations with as many queries, moments and words as CASTELLA's, cut to 84 s."""
    rng = np.random.default_rng(seed)
    vocabulary = [f"word{number}" for number in range(300)]
    queries = []
    for recording in range(num_recordings):
        for number in range(1 + rng.poisson(0.74)):
            onsets_s = np.sort(rng.uniform(0, 80, rng.geometric(1 / 1.7)))
            lengths_s = [castella_lengths().sample(rng) for _ in onsets_s]
            first = rng.choice(["a", "an", "someone", "music", "several"], p=[0.7, 0.08, 0.07, 0.12, 0.03])
            queries.append(
                Query(
                    qid=f"{recording}-{number}",
                    query=" ".join([first, *rng.choice(vocabulary, rng.integers(3, 9))]),
                    recording_id=f"r{recording}",
                    duration_s=84.0,
                    moments=tuple(
                        Moment(onset_s=float(onset), offset_s=min(float(onset) + length, 84.0))
                        for onset, length in zip(onsets_s, lengths_s, strict=True)
                    ),
                )
            )
    return queries


def simulated(settings: CalibratedSettings) -> tuple[AudioStatistics, TextStatistics]:
    """Means over groups of ten recordings as long as the real ones are on average: few, as those are."""
    queries = labels(10 * GROUPS)
    features = CalibratedFeatures(settings)
    asked: dict[str, list[Query]] = {}
    for query in queries:
        asked.setdefault(query.recording_id, []).append(query)
    recordings = [features.recording(of_one, queries) for of_one in asked.values()]
    sound = [audio_statistics(recordings[10 * group : 10 * group + 10]) for group in range(GROUPS)]
    text = text_statistics([features.tokens(query) for query in queries[:60]])

    return mean_statistics(sound), text


@pytest.mark.parametrize("settings", [CalibratedSettings(), calibrated.REDUCED], ids=["full", "reduced"])
def test_simulated_features_have_the_statistics_of_real_ones(settings: CalibratedSettings) -> None:
    sound, text = simulated(settings)
    for name in ("mean_squared", "variance_between", "variance_within", "participation", "row_norm"):
        assert getattr(sound, name) == pytest.approx(getattr(REAL_AUDIO, name), rel=WITHIN), name
    assert sound.row_norm_spread == pytest.approx(REAL_AUDIO.row_norm_spread, rel=WITHIN)
    assert sound.direction_shares == pytest.approx(REAL_AUDIO.direction_shares, rel=WITHIN)
    # near zero a share of it means nothing
    assert sound.autocorrelation == pytest.approx(REAL_AUDIO.autocorrelation, rel=WITHIN, abs=0.03)
    for name in ("mean_squared", "first_cosine", "last_cosine"):
        assert getattr(text, name) == pytest.approx(getattr(REAL_TEXT, name), rel=WITHIN), name


def test_the_figures_above_are_those_of_the_published_features(published: Path) -> None:
    audio, text = read_folder(published / "dcase2026_sample")
    for ours, theirs in ((audio_statistics(audio), REAL_AUDIO), (text_statistics(text), REAL_TEXT)):
        for name in theirs.__dataclass_fields__:
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=0.005, abs=0.0006), name


def test_features_depend_on_settings_and_names_alone() -> None:
    queries = labels(3)
    for kind, settings in ((CalibratedFeatures, calibrated.REDUCED), (WhiteFeatures, white.REDUCED)):
        one, other = kind(settings), kind(settings)  # type: ignore[arg-type]
        first = one.recording(queries[:2], queries)
        other.tokens(queries[5])
        other.recording(queries[2:4], queries)
        np.testing.assert_array_equal(other.recording(queries[:2], queries), first)
        assert (first.shape, first.dtype) == ((84, 64), np.float32)
        tokens = one.tokens(queries[0])
        np.testing.assert_array_equal(other.tokens(queries[0]), tokens)
        assert len(tokens) == len(words_of(queries[0].query))


def test_moments_sound_like_their_words() -> None:
    """Rows inside a query's moments are nearer to what its words sound like than rows outside."""
    (query,) = labels(1)[:1]
    features = CalibratedFeatures(CalibratedSettings())
    moment = Moment(onset_s=100.0, offset_s=140.0)
    loud = Query(qid="0", query=query.query, recording_id="r", duration_s=300.0, moments=(moment,))
    rows = features.recording([loud], [loud])
    likeness = rows @ features.direction(query.query)
    assert likeness[102:138].mean() > likeness[:98].mean() + 2 * likeness[:98].std()


def test_what_lies_after_a_cut_is_left_out() -> None:
    moments = (Moment(onset_s=5.0, offset_s=12.0), Moment(onset_s=30.0, offset_s=40.0))
    both = Query(qid="0", query="x", recording_id="r", duration_s=60.0, moments=moments)
    late = Query(qid="1", query="x", recording_id="r", duration_s=60.0, moments=moments[1:])
    (kept,) = cropped([both, late], 10.0)
    assert (kept.qid, kept.duration_s, kept.moments) == ("0", 10.0, (Moment(onset_s=5.0, offset_s=10.0),))
    assert cropped([both, late], None) == [both, late]


def test_an_event_fills_its_seconds_with_ramps_around_its_edges() -> None:
    np.testing.assert_allclose(sounding(8, 2.0, 6.0, 2.0), [0, 0.25, 0.75, 1, 1, 0.75, 0.25, 0])


def test_the_first_simulation_gives_what_it_gave() -> None:
    """Recorded before it moved here; the sums are enough, for one other draw changes them."""
    moments = (Moment(onset_s=3.0, offset_s=9.0), Moment(onset_s=20.0, offset_s=21.0))
    query = Query(qid="7", query="A dog barks", recording_id="r1", duration_s=40.0, moments=moments)
    other = Query(qid="8", query="rain on a roof", recording_id="r2", duration_s=40.0, moments=moments)
    features = WhiteFeatures(white.REDUCED)
    rows, tokens = features.recording([query], [query, other]), features.tokens(query)
    assert float(np.abs(rows).sum()) == pytest.approx(498.96636962890625, rel=1e-5)
    assert float(np.abs(tokens).sum()) == pytest.approx(245.23275756835938, rel=1e-5)
