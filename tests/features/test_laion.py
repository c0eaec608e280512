"""LAION-CLAP as an encoder of the common protocol, on a small model with random weights."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from amr_model.cli import main as amr
from clotho_long.cli import main
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.features.encoder import ENTRY_POINT_GROUP, shared_space
from clotho_long.features.encoders.laion import load_laion
from clotho_long.features.files import AUDIO_KEY, audio_file, read_features
from tests.features.tiny_corpus import write_noise

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("laion")
    torch.manual_seed(0)
    model = transformers.ClapModel(
        transformers.ClapConfig(
            audio_config={
                "depths": [1, 1, 1, 1],
                "num_attention_heads": [1, 2, 2, 4],
                "patch_embeds_hidden_size": 8,
                "hidden_size": 64,
            },
            text_config={
                "vocab_size": 300,
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 32,
            },
            projection_dim=16,
        )
    )
    model.save_pretrained(folder)
    transformers.ClapFeatureExtractor().save_pretrained(folder)
    letters = ["<s>", "<pad>", "</s>", "<unk>", *(chr(code) for code in range(33, 127)), "Ġ", "<mask>"]
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_windows_and_texts_become_finite_vectors_that_differ(folder):
    encoder = load_laion(folder, "cpu")
    windows = np.random.default_rng(0).uniform(-0.5, 0.5, (3, encoder.window_samples)).astype(np.float32)
    windows[1] = 0
    rows = encoder.encode_windows(windows)
    assert (rows.dtype, rows.shape) == (np.float32, (3, encoder.dim))
    assert np.isfinite(rows).all()
    assert np.abs(rows[0] - rows[1]).max() > 1e-4
    np.testing.assert_array_equal(encoder.encode_windows(windows), rows)
    short, long = encoder.encode_texts(["rain", "a dog barks"])
    assert (short.dtype, short.shape) == (np.float32, (6, 32))  # four letters, begin and end
    assert long.shape[0] > short.shape[0]


def test_no_windows_give_no_rows(folder):
    encoder = load_laion(folder, "cpu")
    assert encoder.encode_windows(np.empty((0, 48000), np.float32)).shape == (0, encoder.dim)


def test_provenance_follows_the_weights(folder):
    first, second = load_laion(folder, "cpu"), load_laion(folder, "cpu")
    assert first.provenance() == second.provenance()
    with torch.no_grad():
        next(second._model.parameters()).add_(1)
    assert first.provenance() != second.provenance()


def test_absent_models_and_other_precisions_are_refused(tmp_path):
    with pytest.raises(FeatureError, match=r"holds no CLAP model that can be loaded"):
        load_laion(tmp_path, "cpu")
    with pytest.raises(ConfigError, match=r"laion-clap has no precision 'bf16'"):
        load_laion(tmp_path, "cpu", "bf16")


def embedding(features):
    """The vectors of `get_*_features`: since transformers 5 they are in an output, and not of unit length."""
    return F.normalize(getattr(features, "pooler_output", features), dim=-1)


def test_the_shared_space_is_the_model_s_own(folder):
    encoder = load_laion(folder, "cpu")
    windows = np.random.default_rng(1).uniform(-0.5, 0.5, (2, encoder.window_samples)).astype(np.float32)
    texts = ["rain", "a dog barks"]
    space = shared_space(encoder)
    tokens = encoder._tokenizer(texts[1], return_tensors="pt")
    pictures = encoder._spectrogram(
        list(windows), sampling_rate=48000, truncation="rand_trunc", padding="repeatpad", return_tensors="pt"
    )
    with torch.inference_mode():
        heard = pictures["input_features"].float()
        sound = embedding(encoder._model.get_audio_features(input_features=heard))
        text = embedding(encoder._model.get_text_features(**tokens))
    vectors = space.project_rows(encoder.encode_windows(windows))
    np.testing.assert_allclose(vectors, sound.numpy(), atol=1e-6)
    words = space.project_texts(encoder.encode_texts(texts))
    assert words.shape == (2, space.dim)
    np.testing.assert_allclose(words[1], text[0].numpy(), atol=1e-6)


def test_commands_take_the_folder_of_a_model(folder, tmp_path, monkeypatch):
    point = EntryPoint("laion-clap", "clotho_long.features.encoders.laion:load_laion", ENTRY_POINT_GROUP)
    monkeypatch.setattr("clotho_long.features.encoder.entry_points", lambda **group: [point])
    write_noise(tmp_path / "a.wav", 2)
    encoder = ["--encoder", "laion-clap", "--weights", str(folder), "--device", "cpu", "--jobs", "1"]
    made = CliRunner().invoke(
        main, ["features", str(tmp_path / "a.wav"), "--out", str(tmp_path / "f"), *encoder]
    )
    assert made.exit_code == 0, made.output
    rows, _ = read_features(audio_file(tmp_path / "f", "a"), AUDIO_KEY)
    assert rows.shape == (2, load_laion(folder, "cpu").dim)
    heard = CliRunner().invoke(
        amr, ["index", str(tmp_path / "a.wav"), "--out", str(tmp_path / "i"), *encoder]
    )
    assert heard.exit_code == 0, heard.output
