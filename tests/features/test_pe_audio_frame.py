"""PE-A-Frame as an encoder of the common protocol, on a small model with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.features.encoder import shared_space
from clotho_long.features.encoders.pe_audio_frame import PeAudioFrameEncoder, load_pe_audio_frame

transformers = pytest.importorskip("transformers")
with_the_model = pytest.mark.skipif(
    not hasattr(transformers, "PeAudioFrameLevelModel"), reason="needs transformers 5 (extra `pe`)"
)
TEXTS = ["rain", "a dog barks"]


def tiny_config():
    return transformers.PeAudioConfig(
        text_config={
            "model_type": "modernbert",
            "vocab_size": 128,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "cls_token_id": 0,
            "eos_token_id": 2,
            "sep_token_id": 2,
        },
        audio_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "head_dim": 12,
            "dac_config": {
                "model_type": "dac",
                "downsampling_ratios": [2, 8, 10, 12],
                "encoder_hidden_size": 4,
                "hidden_size": 16,
                "codebook_dim": 8,
            },
        },
    )


def save_tokenizer(folder):
    """A letter a token, between the begin and end tokens that ModernBERT's tokenizer adds."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    letters = {
        text: index for index, text in enumerate(["<s>", "<pad>", "</s>", "<unk>", *map(chr, range(32, 127))])
    }
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pe-a-frame")
    torch.manual_seed(0)
    model = transformers.PeAudioFrameLevelModel(tiny_config())
    for value in model.parameters():  # the library starts many at values that hide an error
        torch.nn.init.normal_(value, std=0.3)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 48000)).astype(np.float32)


@with_the_model
def test_windows_and_texts_become_finite_vectors_that_differ(folder):
    encoder = load_pe_audio_frame(folder, "cpu")
    windows = noise(3)
    windows[1] = 0
    rows = encoder.encode_windows(windows)
    assert (rows.dtype, rows.shape) == (np.float32, (3, encoder.dim))
    assert np.isfinite(rows).all()
    assert np.abs(rows[0] - rows[2]).max() > 1e-3
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    np.testing.assert_array_equal(encoder.encode_windows(windows), rows)
    short, long = encoder.encode_texts(TEXTS)
    assert (short.dtype, short.shape, long.shape) == (np.float32, (6, 32), (13, 32))
    assert encoder.encode_windows(windows[:0]).shape == (0, encoder.dim)


@with_the_model
def test_a_row_does_not_depend_on_the_windows_it_comes_with(folder):
    encoder, windows = load_pe_audio_frame(folder, "cpu"), noise(11)
    rows = encoder.encode_windows(windows)
    halves = np.concatenate([encoder.encode_windows(part) for part in (windows[:3], windows[3:])])
    np.testing.assert_allclose(halves, rows, atol=1e-5)


@with_the_model
def test_the_shared_space_is_the_mean_of_the_model_s_own_frames(folder):
    encoder = load_pe_audio_frame(folder, "cpu")
    space, windows = shared_space(encoder), noise(2, seed=1)
    model = transformers.PeAudioFrameLevelModel.from_pretrained(folder).eval()
    sounds = transformers.PeAudioFeatureExtractor()(list(windows), sampling_rate=48000, return_tensors="pt")
    vectors, words = space.project_rows(encoder.encode_windows(windows)), []
    for text in TEXTS:
        tokens = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
        with torch.inference_mode():
            theirs = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], **sounds)
        assert theirs.audio_embeds.shape == (2, 25, space.dim)
        expected = F.normalize(theirs.audio_embeds.mean(dim=1), dim=-1).numpy()
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
        words.append(F.normalize(theirs.text_audio_embeds, dim=-1).numpy()[0])
    np.testing.assert_allclose(space.project_texts(encoder.encode_texts(TEXTS)), words, atol=1e-5)


@with_the_model
def test_provenance_follows_the_weights(folder):
    first, second = load_pe_audio_frame(folder, "cpu"), load_pe_audio_frame(folder, "cpu")
    assert first.provenance() == second.provenance()
    with torch.no_grad():
        next(second._model.parameters()).add_(1)
    assert first.provenance() != second.provenance()


@with_the_model
def test_models_without_all_weights_or_of_another_kind_are_refused(folder, tmp_path):
    with pytest.raises(FeatureError, match=r"holds no PE-A-Frame model that can be loaded"):
        load_pe_audio_frame(tmp_path, "cpu")
    model = transformers.PeAudioFrameLevelModel.from_pretrained(folder)
    weights = {name: value for name, value in model.state_dict().items() if "audio_head" not in name}
    model.save_pretrained(tmp_path / "torn", state_dict=weights)
    save_tokenizer(tmp_path / "torn")
    with pytest.raises(FeatureError, match=r"lacks \d+ weights, such as (text_)?audio_head\.\w+"):
        load_pe_audio_frame(tmp_path / "torn", "cpu")
    transformers.PeAudioModel(tiny_config()).save_pretrained(tmp_path / "clips")
    save_tokenizer(tmp_path / "clips")
    with pytest.raises(FeatureError, match=r"is a PeAudioModel, not a PeAudioFrameLevelModel"):
        load_pe_audio_frame(tmp_path / "clips", "cpu")


def test_other_precisions_and_older_libraries_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"pe-a-frame has no precision 'bf16'; use float32"):
        load_pe_audio_frame(tmp_path, "cpu", "bf16")
    monkeypatch.setattr("clotho_long.features.encoders.pe_audio_frame.MODEL", "NotYetThere")
    with pytest.raises(ConfigError, match=r"needs transformers 5, and .* is installed; .*\[pe\]"):
        load_pe_audio_frame(tmp_path, "cpu")


def test_a_second_is_a_whole_number_of_frames():
    assert PeAudioFrameEncoder.window_samples == PeAudioFrameEncoder.sample_rate_hz == 25 * 1920
