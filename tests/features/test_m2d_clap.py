"""M2D-CLAP's wrapper, on a stand-in with the interface of `PortableM2D`; on the real one where it is named.

PORTABLE_M2D=m2d/examples/portable_m2d.py pytest tests/features/test_m2d_clap.py
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.features.encoder import shared_space
from clotho_long.features.encoders.m2d_clap import load_m2d_clap

REAL = os.environ.get("PORTABLE_M2D")
STANDIN = """
import torch
from types import SimpleNamespace

class PortableM2D(torch.nn.Module):
    def __init__(self, weight_file, flat_features=None):
        super().__init__()
        assert flat_features
        print("as chatty as the real one")
        state = torch.load(weight_file, weights_only=True)["model"]
        self.cfg = SimpleNamespace(sample_rate=16000)
        self.patches, self.text = torch.nn.Linear(1000, 6), torch.nn.Embedding(128, 4)
        self.backbone = torch.nn.Module()
        if "backbone.audio_proj.weight" in state:
            self.backbone.audio_proj = torch.nn.Linear(6, 4)
        self.load_state_dict(state)

    def forward(self, audio):
        return self.patches(audio.unflatten(1, (16, 1000)))

    def encode_clap_audio(self, audio):
        return self.backbone.audio_proj(self(audio).mean(dim=-2))

    def encode_clap_text(self, texts, truncate=False):
        letters = [torch.tensor([ord(letter) for letter in text]) for text in texts]
        return torch.stack([self.text(several).mean(0) for several in letters])
"""


def noise(count):
    return np.random.default_rng(0).uniform(-0.5, 0.5, (count, 16000)).astype(np.float32)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    (tmp_path / "portable.py").write_text(STANDIN)
    monkeypatch.setenv("PORTABLE_M2D", str(tmp_path / "portable.py"))
    torch.manual_seed(0)
    state = {
        "patches.weight": torch.randn(6, 1000),
        "patches.bias": torch.randn(6),
        "text.weight": torch.randn(128, 4),
        "backbone.audio_proj.weight": torch.randn(4, 6),
        "backbone.audio_proj.bias": torch.randn(4),
    }
    torch.save({"model": state}, tmp_path / "m2d.pth")
    return tmp_path / "m2d.pth"


def test_rows_texts_and_space_are_the_module_s_own(weights, capsys):
    encoder, windows = load_m2d_clap(weights, "cpu"), noise(11)
    rows, space = encoder.encode_windows(windows), shared_space(encoder)
    assert (rows.dtype, rows.shape, encoder.dim, space.dim) == (np.float32, (11, 6), 6, 4)
    with torch.inference_mode():
        expected = F.normalize(encoder._model.encode_clap_audio(torch.from_numpy(windows)), dim=-1).numpy()
        said = F.normalize(encoder._model.encode_clap_text(["rain"]), dim=-1).numpy()
    np.testing.assert_allclose(space.project_rows(rows), expected, atol=1e-6)
    states = encoder.encode_texts(["rain", "a dog barks"])
    assert [state.shape for state in states] == [(1, 4), (1, 4)]
    np.testing.assert_allclose(space.project_texts(states)[:1], said, atol=1e-6)
    assert encoder.encode_windows(windows[:0]).shape == (0, 6)
    assert capsys.readouterr().out == ""


def test_a_projection_over_all_patches_gives_the_rows_themselves(weights):
    encoder = load_m2d_clap(weights, "cpu")
    model = encoder._model
    model.backbone.audio_proj.dont_average = True
    newer = type(encoder)(model, {}, torch.device("cpu"))
    rows = newer.encode_windows(noise(2))
    assert newer.dim == 4
    np.testing.assert_allclose(
        shared_space(newer).project_rows(rows), F.normalize(torch.from_numpy(rows), dim=-1)
    )
    assert newer.provenance()["rows"] == "embedding"


def test_provenance_follows_weights_and_code(weights):
    before = load_m2d_clap(weights, "cpu").provenance()
    assert load_m2d_clap(weights, "cpu").provenance() == before
    path = Path(os.environ["PORTABLE_M2D"])
    path.write_text(path.read_text() + "\n")
    assert load_m2d_clap(weights, "cpu").provenance() != before


def test_what_cannot_be_used_is_said_in_a_line(weights, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"m2d-clap has no weights of its own; download"):
        load_m2d_clap(None, "cpu")
    with pytest.raises(ConfigError, match=r"no precision 'bf16'"):
        load_m2d_clap(weights, "cpu", "bf16")
    content = torch.load(weights, weights_only=True)
    bare = {name: value for name, value in content["model"].items() if "audio_proj" not in name}
    torch.save({"model": bare}, tmp_path / "bare.pth")
    with pytest.raises(FeatureError, match=r"is an M2D without CLAP; take one of the m2d_clap files"):
        load_m2d_clap(tmp_path / "bare.pth", "cpu")
    torch.save({"model": {}}, tmp_path / "empty.pth")
    with pytest.raises(FeatureError, match=r"be loaded by portable_m2d \(.*\); keep the folder's name"):
        load_m2d_clap(tmp_path / "empty.pth", "cpu")
    torch.save({"model": _Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(FeatureError, match=r"asks to load .*, which no weights need"):
        load_m2d_clap(tmp_path / "bomb.pth", "cpu")
    monkeypatch.setenv("PORTABLE_M2D", str(tmp_path / "nowhere.py"))
    with pytest.raises(ConfigError, match=r"needs the file portable_m2d\.py, .*set PORTABLE_M2D=m2d/exam"):
        load_m2d_clap(weights, "cpu")


class _Bomb:
    def __reduce__(self):
        return pytest.fail, ("a checkpoint ran code",)


@pytest.mark.skipif(REAL is None, reason="needs PORTABLE_M2D, the file of a checkout of nttcslab/m2d")
def test_the_real_module_gives_the_same_numbers(tmp_path, monkeypatch):
    """Random weights of the published shape of 2024, in a folder named as theirs."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("portable_m2d", REAL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sizes = {"img_size": [80, 608], "patch_size": [16, 16], "embed_dim": 768, "depth": 12, "num_heads": 12}
    state = dict(module.LocalViT(in_chans=1, **sizes).state_dict())
    projector = module.get_MLP_projector(768, 768, 768)
    state |= {f"audio_proj.{name}": value for name, value in projector.state_dict().items()}
    path = tmp_path / "m2d_clap_vit_base-80x608p16x16-240128" / "checkpoint-300.pth"
    path.parent.mkdir()
    torch.save({"model": state}, path)
    encoder, windows = load_m2d_clap(path, "cpu"), noise(2)
    with torch.inference_mode():
        expected = F.normalize(encoder._model.encode_clap_audio(torch.from_numpy(windows)), dim=-1).numpy()
    rows = encoder.encode_windows(windows)
    assert rows.shape == (2, 768)
    np.testing.assert_allclose(shared_space(encoder).project_rows(rows), expected, atol=1e-5)
