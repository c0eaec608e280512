from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from clotho_long.audio import spectrogram as module
from clotho_long.audio.io import write_audio
from clotho_long.audio.spectrogram import NUM_BANDS, spectrogram, to_png
from tests.builders import noise, tone

RATE_HZ = 16_000


def write(path, sound):
    write_audio(path, sound, RATE_HZ)
    return path


def test_a_tone_is_loudest_in_its_band_at_its_level(tmp_path):
    picture = spectrogram(write(tmp_path / "tone.wav", tone(1000, 3.0, rate_hz=RATE_HZ, peak=0.5)))
    edges_hz = np.geomspace(module.LOWEST_HZ, RATE_HZ / 2, NUM_BANDS + 2)
    loudest = int(picture.levels_db[:, 40].argmax())
    assert edges_hz[loudest] < 1000 < edges_hz[loudest + 2]
    assert picture.levels_db[:, 40].max() == pytest.approx(20 * np.log10(0.5), abs=2.0)


@pytest.mark.parametrize("length_s", [0.01, 0.5, 9.9, 10.0, 33.3])
def test_columns_are_bounded_and_fill_the_recording(tmp_path, length_s):
    picture = spectrogram(write(tmp_path / "noise.wav", noise(length_s, rate_hz=RATE_HZ)), max_columns=200)
    assert picture.duration_s == pytest.approx(length_s)
    assert picture.levels_db.shape[0] == NUM_BANDS
    assert 1 <= picture.levels_db.shape[1] <= 200
    assert np.isfinite(picture.levels_db).all()


def test_a_click_in_a_long_recording_is_still_seen_where_it_is(tmp_path):
    sound = noise(60.0, rate_hz=RATE_HZ, rms=1e-4)
    sound[45 * RATE_HZ : 45 * RATE_HZ + 800] = 0.5
    picture = spectrogram(write(tmp_path / "click.wav", sound), max_columns=400)
    column = int(picture.levels_db.max(axis=0).argmax())
    assert column / picture.levels_db.shape[1] == pytest.approx(0.75, abs=0.01)
    assert picture.loudest_db > -40


def test_fewer_columns_hold_the_loudest_of_more(tmp_path):
    path = write(tmp_path / "noise.wav", noise(20.0, rate_hz=RATE_HZ))
    fine, coarse = (spectrogram(path, max_columns=count).levels_db for count in (640, 320))
    per_column = round(fine.shape[1] / coarse.shape[1])
    whole = fine.shape[1] // per_column
    pooled = fine[:, : whole * per_column].reshape(NUM_BANDS, whole, per_column).max(axis=2)
    np.testing.assert_allclose(coarse[:, :whole], pooled, atol=1e-4)


def test_the_picture_has_a_pixel_for_each_level_and_low_bands_below(tmp_path):
    picture = spectrogram(
        write(
            tmp_path / "tone.wav",
            tone(100, 2.0, rate_hz=RATE_HZ) * np.linspace(0, 1, 2 * RATE_HZ, dtype=np.float32),
        )
    )
    pixels = imread(io.BytesIO(to_png(picture)))
    assert pixels.shape[:2] == picture.levels_db.shape
    darkest_row = int(pixels[:, -5, :3].sum(axis=1).argmin())
    assert darkest_row > NUM_BANDS * 0.75


def test_an_event_that_fills_most_of_an_excerpt_is_still_drawn(tmp_path):
    sound = noise(10.0, rate_hz=RATE_HZ, rms=0.01)
    sound[2 * RATE_HZ : 9 * RATE_HZ] += tone(1000.0, 7.0, rate_hz=RATE_HZ, peak=0.05)
    write_audio(tmp_path / "excerpt.wav", sound, RATE_HZ)
    picture = spectrogram(tmp_path / "excerpt.wav")
    band = int(np.argmax(picture.levels_db.mean(axis=1)))
    inside, outside = slice(80, 250), slice(0, 55)

    def paper_less_ink(steady_share: float) -> float:
        pixels = imread(io.BytesIO(to_png(picture, steady_share=steady_share)))[::-1, :, 0]
        return float(pixels[band, outside].mean() - pixels[band, inside].mean())

    assert paper_less_ink(0.1) > 0.5
    assert paper_less_ink(0.1) > 1.5 * paper_less_ink(0.5)
