"""One space for sounds and sentences: MS-CLAP's projections equal the published package's own modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clotho_long.core.errors import FeatureError
from clotho_long.features.encoder import shared_space
from clotho_long.features.encoders.logmel import LogMelEncoder
from clotho_long.features.encoders.msclap import load_msclap
from clotho_long.features.encoders.msclap.weights import AUDIO_PROJECTION, HUB_FILE
from clotho_long.features.encoders.msclap_reference import reference_model
from tests.random_clap_weights import random_state, write_tokenizer

TEXTS = ("a dog barks", "Rain falls on a tin roof, while people talk")


@pytest.fixture(scope="module")
def state():
    return random_state(11)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, state):
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"model": state}, folder / HUB_FILE)
    write_tokenizer(folder / "gpt2")
    return folder


def test_vectors_are_those_of_the_published_package(folder, state):
    encoder = load_msclap(folder / HUB_FILE, device="cpu")
    space, model = shared_space(encoder), reference_model(state)
    windows = (0.1 * np.random.default_rng(0).standard_normal((2, 44100))).astype(np.float32)
    tokenizer = encoder._text.tokenizer
    tokens = tokenizer(
        [text + " <|endoftext|>" for text in TEXTS], max_length=77, padding="max_length", return_tensors="pt"
    )
    with torch.inference_mode():
        sounds = F.normalize(model.audio_encoder(torch.from_numpy(windows))[0], dim=1).numpy()
        sentences = F.normalize(model.caption_encoder(dict(tokens)), dim=1).numpy()
    rows = encoder.encode_windows(windows)
    np.testing.assert_allclose(space.project_rows(rows), sounds, atol=2e-6)
    np.testing.assert_allclose(space.project_texts(encoder.encode_texts(TEXTS)), sentences, atol=2e-6)
    assert space.project_rows(rows[:0]).shape == (0, space.dim)


def test_weights_without_projections_have_no_such_space(tmp_path, folder, state):
    bare = {name: value for name, value in state.items() if ".projection." not in name}
    torch.save({"model": bare}, tmp_path / "bare.pth")
    assert shared_space(load_msclap(tmp_path / "bare.pth", device="cpu")) is None
    torn = {name: value for name, value in state.items() if name != f"{AUDIO_PROJECTION}linear2.weight"}
    torch.save({"model": torn}, tmp_path / "torn.pth")
    with pytest.raises(FeatureError, match=r"lacks audio_encoder\.projection\.linear2\.weight"):
        load_msclap(tmp_path / "torn.pth", device="cpu")


def test_an_encoder_need_not_have_one():
    assert shared_space(LogMelEncoder()) is None
