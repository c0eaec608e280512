"""logmel needs nothing, repeats itself, and puts similar sounds at similar places."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clotho_long.core.errors import ConfigError
from clotho_long.features.encoder import load_encoder
from clotho_long.features.encoders.logmel import LogMelEncoder

RATE_HZ = 32_000


def tone(frequency_hz: float, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency_hz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)


def noise(seed: int, level: float = 0.01) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(RATE_HZ)).astype(np.float32)


def normalised(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)


def test_it_is_found_by_name_and_says_that_it_is_no_clap():
    encoder = load_encoder("logmel")
    assert (encoder.sample_rate_hz, encoder.window_samples, encoder.dim) == (RATE_HZ, RATE_HZ, 768)
    assert "not CLAP" in encoder.provenance()["note"]


def test_numbers_are_the_recorded_ones():
    # a chirp; when this fails, features made before differ: raise VERSION and record the new hash
    time_s = np.arange(RATE_HZ) / RATE_HZ
    chirp = np.float32(0.3) * np.sin(2 * np.pi * (100 * time_s + 4000 * time_s**2)).astype(np.float32)
    rows = LogMelEncoder().encode_windows(chirp[None])
    assert rows[0, :3].tolist() == [11.4921875, 22.17578125, 30.4375]
    text = LogMelEncoder().encode_texts(["A dog barks."])[0]
    rounded = np.round(text * 2**20).astype("<i4")
    assert hashlib.sha256(rounded.tobytes()).hexdigest()[:16] == "a15e68b143a49aaa"


@given(num_windows=st.integers(1, 40), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_a_window_does_not_depend_on_its_neighbours(num_windows, seed):
    windows = np.stack([noise(seed + i) for i in range(num_windows)])
    encoder = LogMelEncoder()
    together = encoder.encode_windows(windows)
    alone = np.concatenate([encoder.encode_windows(window[None]) for window in windows])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    "window",
    [np.zeros(RATE_HZ), np.eye(1, RATE_HZ)[0], np.sign(tone(440)), np.ones(RATE_HZ)],
    ids=["silence", "impulse", "clipping", "offset"],
)
def test_extreme_windows_give_finite_rows(window):
    rows = LogMelEncoder().encode_windows(window[None].astype(np.float32))
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert np.linalg.norm(rows) > 1


def test_full_scale_sine_has_a_level_of_zero_db_in_its_band():
    rows = LogMelEncoder().encode_windows(tone(1000, level=1.0)[None]).reshape(12, 64)
    average_db = np.linspace(-55, -72, 64)
    assert abs((rows + average_db).max() - 0.0) < 1.0


def test_similar_sounds_are_nearer_than_different_ones_after_normalising():
    sounds = {"tone": tone(800), "low": tone(200), "hiss": noise(1, level=0.2)}
    rows = {
        name: normalised(LogMelEncoder().encode_windows(np.stack([sound + noise(2), 0.6 * sound + noise(3)])))
        for name, sound in sounds.items()
    }
    within = min(float(pair[0] @ pair[1]) for pair in rows.values())
    between = max(float(rows[a][0] @ rows[b][1]) for a in rows for b in rows if a != b)
    assert within > 0.9
    assert between < within - 0.1


def test_event_stands_out_of_its_background_after_normalising():
    background = np.stack([noise(seed) for seed in range(4)])
    rows = normalised(LogMelEncoder().encode_windows(np.concatenate((background, background + tone(2000)))))
    similarity = rows @ rows.T
    assert similarity[:4, :4].min() > similarity[:4, 4:].max() + 0.05
    assert similarity[4:, 4:].min() > similarity[:4, 4:].max() + 0.05


@given(st.text(max_size=60))
@settings(deadline=None)
def test_every_text_gives_unit_rows(text):
    (rows,) = LogMelEncoder().encode_texts([text])
    assert rows.dtype == np.float32
    assert rows.shape[0] >= 1
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_words_are_told_apart_whatever_case_and_punctuation():
    plain, shouted, other = LogMelEncoder().encode_texts(["a dog barks", "A DOG, barks!", "a cat barks"])
    np.testing.assert_array_equal(plain, shouted)
    np.testing.assert_array_equal(plain[[0, 2, 3]], other[[0, 2, 3]])
    assert abs(float(plain[1] @ other[1])) < 0.2


@pytest.mark.parametrize(
    "settings",
    [{"weights": "w.pth"}, {"device": "cuda"}, {"precision": "bfloat16"}],
    ids=lambda s: next(iter(s)),
)
def test_settings_that_it_does_not_have_are_refused(settings):
    with pytest.raises(ConfigError, match="logmel"):
        load_encoder("logmel", **settings)
