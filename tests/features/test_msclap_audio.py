"""The audio tower against `msclap`'s own HTS-AT with the same random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clotho_long.features.encoders.msclap.audio import AudioTower
from clotho_long.features.encoders.msclap.front_end import FrontEnd
from clotho_long.features.encoders.msclap.weights import AUDIO_PREFIX, audio_shapes
from clotho_long.features.encoders.msclap_reference import reference_htsat
from tests.random_clap_weights import random_audio_state

SEED = 7
REAL_AUDIO = Path(__file__).parents[2].parent / "shared" / "real_audio"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    # threads that wait for each other on a busy machine make these tests ten times slower
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference():
    return reference_htsat(random_audio_state(SEED))


@pytest.fixture(scope="module")
def tower():
    return make_tower()


def make_tower(dtype=torch.float32):
    state = random_audio_state(SEED)
    weights = {name: state[AUDIO_PREFIX + name] for name in audio_shapes()}
    return AudioTower(weights, where=Path("random"), dtype=dtype).eval()


def synthetic_windows():
    draw = torch.Generator().manual_seed(SEED)
    time_s = torch.arange(44100) / 44100
    noise = torch.randn(44100, generator=draw)
    impulse = torch.zeros(44100)
    impulse[20000] = 1.0
    first, last = torch.zeros(44100), torch.zeros(44100)
    first[0], last[-1] = 1.0, -1.0
    return {
        "noise": 0.1 * noise,
        "faint noise": 1e-4 * noise,
        "silence": torch.zeros(44100),
        "constant": torch.full((44100,), 0.3),
        "one-sample impulse": impulse,
        "impulse at the first sample": first,
        "impulse at the last sample": last,
        "noise clipped at full scale": (5 * noise).clamp(-1, 1),
        "square wave": torch.sign(torch.sin(2 * torch.pi * 140 * time_s)),
        "rising tone": 0.5 * torch.sin(2 * torch.pi * (100 + 4000 * time_s) * time_s),
        "sound that stops half way": torch.where(time_s < 0.5, 0.2 * noise, 0.0),
    }


@torch.inference_mode()
def assert_same(reference, tower, windows):
    expected = reference(windows)["latent_output"].double()
    actual = tower(windows).double()
    error = (actual - expected).norm(dim=1) / expected.norm(dim=1)
    cosine = torch.nn.functional.cosine_similarity(actual, expected)
    assert error.max() < 1e-4, error
    assert cosine.min() > 0.99999, cosine


@pytest.mark.parametrize("name", synthetic_windows())
def test_embedding_equals_the_reference(reference, tower, name):
    assert_same(reference, tower, synthetic_windows()[name][None])


def test_embedding_of_real_recordings_equals_the_reference(reference, tower):
    soundfile, soxr = pytest.importorskip("soundfile"), pytest.importorskip("soxr")
    files = sorted(REAL_AUDIO.rglob("*.wav"))[:4]
    if not files:
        pytest.skip("no real recordings here")
    windows = []
    for file in files:
        with soundfile.SoundFile(file) as audio:
            rate = audio.samplerate
            sound = audio.read(3 * rate, dtype="float32", always_2d=True).mean(axis=1)
        windows.append(soxr.resample(sound, rate, 44100)[44100 : 2 * 44100])
    assert_same(reference, tower, torch.from_numpy(np.stack(windows).astype(np.float32)))


@torch.inference_mode()
def test_embeddings_of_different_sounds_differ(tower):
    # else the parity above would show nothing
    rows = tower(torch.stack([synthetic_windows()[name] for name in ("noise", "rising tone", "silence")]))
    rows = rows - rows.mean(0)
    assert torch.pdist(rows).min() > 0.1 * rows.norm(dim=1).mean()


@torch.inference_mode()
def test_a_window_does_not_depend_on_its_neighbours(tower):
    windows = torch.stack(list(synthetic_windows().values()))[:3]
    together = tower(windows)
    alone = torch.cat([tower(window[None]) for window in windows])
    assert torch.equal(together, alone)


@torch.inference_mode()
def test_weights_laid_out_for_onednn_give_the_same_embedding(reference):
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch is built without oneDNN")
    tower = make_tower()
    tower.pack()
    assert_same(reference, tower, synthetic_windows()["noise"][None])


@torch.inference_mode()
def test_bf16_products_deviate_by_their_rounding_only():
    windows = synthetic_windows()["noise"][None]
    exact, rounded = make_tower()(windows), make_tower(torch.bfloat16)(windows)
    assert rounded.dtype == torch.float32
    error = (rounded - exact).norm(dim=1) / exact.norm(dim=1)
    assert 1e-4 < error.max() < 3e-2


@pytest.mark.parametrize("part", ["real", "imag"])
def test_kernels_that_are_no_fourier_transform_are_used_as_they_are(part, caplog):
    state = random_audio_state(SEED)
    weights = {name: state[AUDIO_PREFIX + name] for name in audio_shapes()}
    weights[f"spectrogram_extractor.stft.conv_{part}.weight"][7, 0, 100] += 0.01
    caplog.set_level("INFO")
    front_end = FrontEnd(weights, where=Path("FILE"))
    assert (
        "FILE: its spectrogram kernels are no Fourier transform and are used as they are, slower"
        in caplog.text
    )
    frames = torch.randn(2, 3, 1024, generator=torch.Generator().manual_seed(1))
    kernels = [weights[f"spectrogram_extractor.stft.conv_{p}.weight"][:, 0] for p in ("real", "imag")]
    expected = sum((frames.double() @ kernel.double().T).square() for kernel in kernels)
    torch.testing.assert_close(front_end._power(frames).double(), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(front_end._power(frames)[1:], front_end._power(frames[1:]))


@torch.inference_mode()
def test_the_kernels_path_equals_the_fourier_path():
    state = random_audio_state(SEED)
    weights = {name: state[AUDIO_PREFIX + name] for name in audio_shapes()}
    fast = FrontEnd(weights, where=Path("FILE"))
    weights["spectrogram_extractor.stft.conv_real.weight"][7, 0, 100] += 2e-5  # just past the tolerance
    slow = FrontEnd(weights, where=Path("FILE"))
    assert slow.window is None
    windows = synthetic_windows()["noise"][None]
    torch.testing.assert_close(slow(windows), fast(windows), rtol=1e-3, atol=1e-3)
