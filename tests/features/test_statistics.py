from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clotho_long.core.errors import FeatureError
from clotho_long.features.files import AUDIO_KEY, TEXT_KEY, Features, audio_file, text_file, write_features
from clotho_long.features.statistics import LAGS_S, audio_statistics, read_folder, text_statistics


def recordings(count: int = 20, rows: int = 400, dim: int = 8, keep: float = 0.5) -> list[Features]:
    """A shared mean, a mean of each recording, and a first-order process within."""
    rng = np.random.default_rng(3)
    made = []
    for _ in range(count):
        steps = rng.standard_normal((rows, dim))
        for row in range(1, rows):
            steps[row] = keep * steps[row - 1] + np.sqrt(1 - keep**2) * steps[row]
        mean = np.eye(dim)[0] * 100 + 10 * rng.standard_normal(dim)
        made.append((mean + steps * (np.arange(dim) > 0)).astype(np.float32))
    return made


def test_what_a_process_was_made_of_is_found_again() -> None:
    found = audio_statistics(recordings())
    assert (found.recordings, found.rows) == (20, 8000)
    assert found.mean_squared + found.variance_between + found.variance_within == pytest.approx(1, abs=1e-4)
    assert found.autocorrelation == pytest.approx([0.5**lag for lag in LAGS_S], abs=0.03)
    assert found.participation == pytest.approx(7, rel=0.1)  # seven directions vary alike
    assert found.direction_shares[0] == pytest.approx(1 / 7, rel=0.15)
    assert found.direction_shares[2:] == pytest.approx((1, 1))
    assert found.row_norm == pytest.approx(100, rel=0.1)


def test_text_states_that_share_a_part_have_its_share_as_cosine() -> None:
    rng = np.random.default_rng(0)
    own = rng.standard_normal((300, 4, 512)) / np.sqrt(512)
    shared = np.eye(512)[0]
    states = [(np.sqrt(0.7) * shared + np.sqrt(0.3) * tokens).astype(np.float32) for tokens in own]
    found = text_statistics(states)
    assert (found.queries, found.tokens) == (300, 1200)
    for figure in (found.first_cosine, found.last_cosine, found.mean_squared):
        assert figure == pytest.approx(0.7, abs=0.01)


def test_a_folder_is_read_by_name_and_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"holds no clap/\*\.npz"):
        read_folder(tmp_path)
    for name in ("b", "a"):
        write_features(audio_file(tmp_path, name), np.full((30, 4), ord(name), np.float32), AUDIO_KEY, {})
    write_features(text_file(tmp_path, "1"), np.ones((3, 4), np.float32), TEXT_KEY, {})
    audio, text = read_folder(tmp_path)
    assert ([int(rows[0, 0]) for rows in audio], len(text)) == ([ord("a"), ord("b")], 1)
    with pytest.raises(FeatureError, match="1 recordings, at least two are needed"):
        audio_statistics(audio[:1])
    with pytest.raises(FeatureError, match="no recording has more than 20 rows"):
        audio_statistics([rows[:20] for rows in audio])
    with pytest.raises(FeatureError, match="a row is zero"):
        audio_statistics([*audio, np.zeros((30, 4), np.float32)])
    with pytest.raises(FeatureError, match="1 queries, at least two are needed"):
        text_statistics(text)
