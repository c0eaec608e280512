"""`clotho-long verify-encoder`: the published package judges the fast encoder, on the user's own machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from clotho_long.cli import main
from clotho_long.features.encoders.msclap.weights import HUB_FILE
from clotho_long.features.verify import agreement_of
from tests.features.tiny_corpus import write_noise
from tests.random_clap_weights import random_state, write_tokenizer


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / HUB_FILE
    torch.save({"model": random_state(7)}, file)
    write_tokenizer(file.parent / "gpt2")
    return file


def verify(recording, weights, *more):
    arguments = ["verify-encoder", str(recording), "--weights", str(weights), "--windows", "3", *more]
    return CliRunner().invoke(main, arguments)


def test_fast_encoder_equals_the_published_package(tmp_path, weights):
    recording = tmp_path / "street é.wav"
    write_noise(recording, duration_s=4)
    result = verify(recording, weights)
    assert result.exit_code == 0, result.output
    assert "audio: 3 rows" in result.output
    assert "text: " in result.output


def test_a_deviation_is_an_error(tmp_path, weights):
    recording = tmp_path / "street.wav"
    write_noise(recording, duration_s=4)
    result = verify(recording, weights, "--tolerance", "0")
    assert result.exit_code == 1
    assert "msclap-2023 differs from the published package by" in result.output


def test_agreement_sees_what_a_plain_cosine_hides():
    rng = np.random.default_rng(0)
    mean = np.full(8, 100.0)
    ours, theirs = (mean + rng.standard_normal((5, 8)) for _ in range(2))
    _, cosine, centred = agreement_of(ours.astype(np.float32), theirs.astype(np.float32))
    assert cosine > 0.999
    assert centred < 0.9
