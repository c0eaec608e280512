"""The encoder as users meet it: a weights file in, numbers or a one-line error out."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from clotho_long.cli import main
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.features.encoder import load_encoder
from clotho_long.features.encoders.msclap import load_msclap
from clotho_long.features.encoders.msclap.weights import AUDIO_PREFIX, HUB_FILE, read_weights
from clotho_long.features.encoders.msclap_reference import reference_model
from tests.features.tiny_corpus import tree, write_noise
from tests.random_clap_weights import random_state, write_tokenizer

QKV = f"{AUDIO_PREFIX}layers.0.blocks.0.attn.qkv.weight"


@pytest.fixture(scope="module")
def state():
    return random_state(7)


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / HUB_FILE
    torch.save({"model": state}, file)
    write_tokenizer(file.parent / "gpt2")
    return file


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save(tmp_path, content):
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    return file


def test_encoder_is_found_by_its_name_and_encodes_sound_and_text(weights):
    encoder = load_encoder("msclap-2023", weights=weights, device="cpu")
    windows = np.random.default_rng(0).uniform(-0.1, 0.1, (5, encoder.window_samples)).astype(np.float32)
    rows = encoder.encode_windows(windows)
    assert (rows.dtype, rows.shape) == (np.float32, (5, encoder.dim))
    np.testing.assert_array_equal(encoder.encode_windows(windows[4:]), rows[4:])
    (states,) = encoder.encode_texts(["a dog barks"])
    assert (states.dtype, states.shape) == (np.float32, (6, encoder.dim))
    made_by = encoder.provenance()
    assert made_by["name"] == "msclap-2023"
    assert re.fullmatch(r"[0-9a-f]{64}", made_by["weights"])


def test_no_windows_give_no_rows(weights):
    assert load_msclap(weights, "cpu").encode_windows(np.empty((0, 44100), np.float32)).shape == (0, 768)


def test_windows_of_another_length_are_refused(weights):
    with pytest.raises(FeatureError, match=r"windows of shape \(2, 32000\) instead of \(windows, 44100\)"):
        load_msclap(weights, "cpu").encode_windows(np.zeros((2, 32000), np.float32))


def test_reference_accepts_exactly_the_state_that_the_encoder_accepts(state):
    # strict: the names, shapes and constants of the random state are msclap's
    model = reference_model(state)
    for name, value in model.state_dict().items():
        if name.endswith(("relative_position_index", "attn_mask")):
            torch.testing.assert_close(state[name], value, check_dtype=False)


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state, "epoch": 3}])
def test_bare_and_wrapped_states_are_read_and_surplus_is_listed(tmp_path, state, wrap):
    file = save(tmp_path, wrap(state))
    read = read_weights(file)
    torch.testing.assert_close(read.audio["layers.0.blocks.0.attn.qkv.weight"], state[QKV])
    assert "logit_scale" in read.unused
    assert f"{AUDIO_PREFIX}head.weight" in read.unused


def test_state_of_a_parallel_model_is_read(tmp_path, state):
    file = save(tmp_path, {"model": {f"module.{name}": value for name, value in state.items()}})
    torch.testing.assert_close(read_weights(file).audio["norm.bias"], state[f"{AUDIO_PREFIX}norm.bias"])


def test_missing_keys_are_refused_and_surplus_ones_left_aside(tmp_path, state, caplog):
    without = {name: value for name, value in state.items() if name != QKV}
    with pytest.raises(FeatureError, match=rf"weights\.pth: lacks {re.escape(QKV)}; use CLAP_weights_2023"):
        read_weights(save(tmp_path, {"model": without}))
    extra = {**state, "audio_encoder.base.cnn.weight": torch.zeros(1), "epoch": 3}
    caplog.set_level("INFO")
    read = read_weights(save(tmp_path, {"model": extra}))
    assert "weights.pth: audio_encoder.base.cnn.weight left aside" in caplog.text
    assert "audio_encoder.base.cnn.weight" in read.unused


def test_objects_beside_the_tensors_are_left_aside(tmp_path, state):
    options = argparse.Namespace(rate=44100, numbers=np.float64(3.5), path=Path("x"), seen={1, 2})
    read = read_weights(save(tmp_path, {"model": state, "opt": options, "loss": np.arange(3)}))
    torch.testing.assert_close(read.audio["norm.bias"], state[f"{AUDIO_PREFIX}norm.bias"])


def test_misshapen_weights_and_other_constants_are_named(tmp_path, state):
    with pytest.raises(
        FeatureError, match=r"holds misshapen .*qkv\.weight \(288, 95\) instead of \(288, 96\)"
    ):
        read_weights(save(tmp_path, {"model": {**state, QKV: state[QKV][:, 1:].clone()}}))
    name = f"{AUDIO_PREFIX}layers.1.blocks.1.attn_mask"
    with pytest.raises(FeatureError, match=rf"other constants than HTS-AT's in {re.escape(name)}"):
        read_weights(save(tmp_path, {"model": {**state, name: torch.zeros_like(state[name])}}))


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path):
    text = tmp_path / "text.pth"
    text.write_text("no weights here\n")
    with pytest.raises(FeatureError, match=r"text\.pth: cannot be read \((?!.*weights_only)"):
        read_weights(text)
    with pytest.raises(FeatureError, match=r"holds no state of a CLAP"):
        read_weights(save(tmp_path, [1, 2, 3]))
    with pytest.raises(FeatureError, match=r"no such weights file; check --weights"):
        load_msclap(tmp_path / "absent.pth", "cpu")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    with pytest.raises(FeatureError, match=r"asks to load .*[Ff]ail, which no weights need; use CLAP"):
        read_weights(save(tmp_path, {"model": _Bomb()}))


class _Bomb:
    def __reduce__(self):
        return pytest.fail, ("a checkpoint ran code",)


def test_without_cache_or_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FeatureError, match=r"cannot be downloaded; .* pass it with --weights FILE"):
        load_msclap(device="cpu")


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("abacus", "float32", r"--device: no device is called 'abacus'"),
        ("meta", "float32", r"no device is called 'meta'"),
        ("cuda:63", "float32", r"no NVIDIA GPU can be used here|there is no cuda:63"),
        ("cpu", "int3", r"no precision 'int3'; use float32, tf32, bf16"),
        ("cpu", "tf32", r"tf32 exists on GPUs only"),
    ],
)
def test_unknown_devices_and_precisions_are_refused(weights, device, precision, message):
    with pytest.raises(ConfigError, match=message):
        load_msclap(weights, device, precision)


def test_bf16_is_refused_where_the_processor_lacks_it(weights, monkeypatch):
    monkeypatch.setattr("clotho_long.features.encoders.msclap.cpu_has_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"this processor has no bfloat16 arithmetic"):
        load_msclap(weights, "cpu", "bf16")


@pytest.mark.slow
def test_extracted_files_do_not_depend_on_the_number_of_workers(weights, tmp_path):
    names = [str(write_noise(tmp_path / f"{seed}.wav", 3, seed=seed)) for seed in range(2)]
    for jobs in ("1", "2"):
        run = ["features", *names, "--out", str(tmp_path / jobs), "--weights", str(weights), "--jobs", jobs]
        result = CliRunner().invoke(main, [*run, "--device", "cpu", "--quiet"])
        assert result.exit_code == 0, result.output
    assert set(tree(tmp_path / "1")) == {"clap/0.npz", "clap/1.npz"}
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
