"""Checkpoints are plain data, whole, strict; public ones convert; files that ask for more are refused."""

from __future__ import annotations

import argparse
import collections
import errno
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from amr_model.checkpoint import (
    Checkpoint,
    _write,
    convert,
    initialise,
    load_checkpoint,
    load_model,
    load_weights,
    save_checkpoint,
)
from amr_model.errors import TrainingError
from amr_model.public.presets import compat_dcase, compat_lighthouse
from amr_model.public.renaming import convert_foreign, key_table
from clotho_long.core.errors import ConfigError
from clotho_long.core.files import atomic_path
from clotho_long.core.settings import override
from tests.model.builders import make_batch, make_model, small

CPU = torch.device("cpu")
PUBLIC_SIZES = (
    "model.audio_dim=6", "model.text_dim=5", "model.hidden_dim=16", "model.num_heads=2",
    "model.feedforward_dim=24", "model.slot_inner_dim=16", "model.similarity_inner_dim=16",
)  # fmt: skip


class EasyDict(dict):  # type: ignore[type-arg]
    """Looks to a pickle like the third-party class of the public files."""


EasyDict.__module__ = "easydict"


def public_state(architecture: Any, config: Any) -> dict[str, torch.Tensor]:
    """Random weights under the public names, with the tensors that they carry without use."""
    ours = make_model(config, seed=3).state_dict()
    state = {theirs: ours[name] for theirs, name in key_table(architecture, config.model).items()}
    for theirs in ("CIM.conv_local.0.weight", "CIM.conv_local.2.weight"):
        if theirs in state:
            state[theirs] = state[theirs].unsqueeze(-1)
    state["txt_position_embed.LayerNorm.bias"] = torch.zeros(16)
    if architecture == "uvcom":
        state["global_rep_token"] = torch.zeros(16)
    return state


def write_public(path: Path, state: dict[str, torch.Tensor], options: Any) -> Path:
    """A file as Lighthouse saves it, class of the options included."""
    import sys
    import types

    module = types.ModuleType("easydict")
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules["easydict"] = module
    try:
        torch.save({"model": collections.OrderedDict(state), "epoch": 7, "opt": options}, path)
    finally:
        del sys.modules["easydict"]
    return path


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    config = small("S8")
    model = make_model(config)
    saved = Checkpoint(
        config=config, model=model.state_dict(), history=({"epoch": 0, "valid": {"mAP": 1.5}},)
    )
    save_checkpoint(tmp_path / "a.pt", saved)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert loaded.config == config
    assert loaded.history == saved.history
    assert all(torch.equal(loaded.model[key], value) for key, value in model.state_dict().items())
    again, _ = load_model(tmp_path / "a.pt", CPU)
    batch = make_batch(config, [9, 5], [3, 2])
    assert torch.equal(again(batch).spans_cxw, model(batch).spans_cxw)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("keep", [0, 10, 1000, -20])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.pt"
    config = small("S1")
    save_checkpoint(path, Checkpoint(config=config, model=make_model(config).state_dict()))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrainingError, match=r"a\.pt: cannot be read"):
        load_checkpoint(path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=40))
@example(content=b"system: S8\nmodel:\n  hidden_dim: 64\n")
def test_any_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"a\.pt: "):
        load_checkpoint(path)


def test_a_full_disk_is_said_as_such(tmp_path: Path) -> None:
    config = small("S1")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match="No space left on device"):
        _write({"model": make_model(config).state_dict()}, full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.pt'"), atomic_path(tmp_path / "a.pt"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_sizes_are_compared_before_memory_is_taken(tmp_path: Path) -> None:
    config = small("S1")
    checkpoint = Checkpoint(config=config, model=make_model(config).state_dict())
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    content["config"]["model"] |= {"hidden_dim": 65536, "feedforward_dim": 65536, "encoder_layers": 40}
    torch.save(content, tmp_path / "a.pt")  # 1.4 TB of weights, by its settings
    with pytest.raises(TrainingError, match=r"weights do not fit the model \(.* and \d+ more\)"):
        load_model(tmp_path / "a.pt", CPU)


@pytest.mark.parametrize(
    "change",
    [
        {"config": 3}, {"model": [1]}, {"model": {"x": 1}}, {"history": 5}, {"training": {"epoch": 1}},
        {"training": 7}, {"config": None},
    ],
)  # fmt: skip
def test_a_checkpoint_with_foreign_parts_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    config = small("S1")
    save_checkpoint(tmp_path / "a.pt", Checkpoint(config=config, model=make_model(config).state_dict()))
    torch.save({**torch.load(tmp_path / "a.pt", weights_only=True), **change}, tmp_path / "a.pt")
    with pytest.raises(TrainingError, match=r"a\.pt: is a damaged checkpoint; copy or make the file again"):
        load_checkpoint(tmp_path / "a.pt")


def test_paths_may_be_texts(tmp_path: Path) -> None:
    config = small("S1")
    save_checkpoint(tmp_path / "a.pt", Checkpoint(config=config, model=make_model(config).state_dict()))
    assert load_model(str(tmp_path / "a.pt"), CPU)[1] == config
    convert(str(tmp_path / "a.pt"), str(tmp_path / "b.pt"))
    assert load_checkpoint(str(tmp_path / "b.pt")).config == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EasyDict(nheads=0), "options are out of range"),
        (EasyDict(nheads="many"), "of another kind"),
        (EasyDict(nheads=2, dropout=2.0), "options are out of range"),
        ([3], "`opt` holds no options"),
    ],
)
def test_public_options_out_of_range_are_refused(tmp_path: Path, options: Any, message: str) -> None:
    config = override(compat_lighthouse("qd_detr"), PUBLIC_SIZES)
    path = write_public(tmp_path / "best.ckpt", public_state("qd_detr", config), options)
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(path)


def test_objects_of_any_class_beside_the_tensors_are_plain_values(tmp_path: Path) -> None:
    config = override(compat_lighthouse("qd_detr"), PUBLIC_SIZES)
    options = argparse.Namespace(nheads=2, seen={1, 2}, at=Path("x"), loss=np.float64(3.0), left=[EasyDict()])
    path = write_public(tmp_path / "best.ckpt", public_state("qd_detr", config), options)
    assert load_checkpoint(path).config.model.num_heads == 2


def test_the_later_generation_is_chosen_by_name(tmp_path: Path) -> None:
    config = override(compat_lighthouse("qd_detr"), PUBLIC_SIZES)
    path = write_public(tmp_path / "best.ckpt", public_state("qd_detr", config), EasyDict(nheads=2))
    assert load_checkpoint(path).config.model.cross_mask == "reference"
    later = load_checkpoint(path, cross_mask="item").config
    assert later == override(load_checkpoint(path).config, ["model.cross_mask=item"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"none\.pt: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_weights_of_another_configuration_are_refused(tmp_path: Path) -> None:
    config = small("S1")
    with pytest.raises(TrainingError, match="weights do not fit the model"):
        load_weights(make_model(config), make_model(small("S8")).state_dict(), where="a.pt")
    save_checkpoint(tmp_path / "a.pt", Checkpoint(config=small("S8"), model=make_model(config).state_dict()))
    with pytest.raises(TrainingError, match="weights do not fit the model"):
        load_model(tmp_path / "a.pt", CPU)


def test_settings_that_we_do_not_know_are_refused(tmp_path: Path) -> None:
    config = small("S1")
    save_checkpoint(tmp_path / "a.pt", Checkpoint(config=config, model=make_model(config).state_dict()))
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    content["config"]["model"]["hidden_dims"] = 3
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(
        ConfigError, match=r"unknown setting model\.hidden_dims; did you mean model\.hidden_dim"
    ):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("architecture", ["qd_detr", "uvcom"])
@pytest.mark.parametrize(
    "options", [EasyDict(nheads=2, dropout=0.2), argparse.Namespace(nheads=2, dropout=0.2)]
)
def test_a_public_checkpoint_gives_its_model(tmp_path: Path, architecture: Any, options: Any) -> None:
    config = override(compat_lighthouse(architecture), PUBLIC_SIZES)
    path = write_public(tmp_path / "best.ckpt", public_state(architecture, config), options)
    expected = make_model(config, seed=3)
    model, read = load_model(path, CPU)
    assert read.model.num_heads == 2
    assert read.model.dropout == 0.2
    assert read.model.num_queries == config.model.num_queries
    assert read.targets == config.targets
    batch = make_batch(config, [9, 5], [3, 2])
    if architecture == "qd_detr":
        assert torch.equal(model(batch).spans_cxw, expected(batch).spans_cxw)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in expected.state_dict().items())
    convert(path, tmp_path / "ours.pt")
    assert torch.equal(load_model(tmp_path / "ours.pt", CPU)[0](batch).logits, model(batch).logits)


def test_a_dcase_baseline_checkpoint_has_its_columns_moved(tmp_path: Path) -> None:
    config = override(compat_dcase(), PUBLIC_SIZES)
    state = public_state("qd_detr", config)
    for key in ("0.LayerNorm.weight", "0.LayerNorm.bias", "0.net.1.weight"):
        columns = state[f"input_vid_proj.{key}"]
        state[f"input_vid_proj.{key}"] = torch.cat((columns[..., 2:], columns[..., :2]), dim=-1)
    dcase = {key.replace("input_vid_proj", "input_aud_proj"): value for key, value in state.items()}
    path = write_public(tmp_path / "best.ckpt", dcase, EasyDict(nheads=2))
    model, read = load_model(path, CPU)
    assert not read.features.text_normalise
    assert read.features.text_max is None
    expected = make_model(config, seed=3).state_dict()
    assert all(torch.equal(model.state_dict()[key], value) for key, value in expected.items())


@pytest.mark.parametrize("change", ["missing", "surplus"])
def test_a_public_checkpoint_with_other_tensors_is_refused(tmp_path: Path, change: str) -> None:
    config = override(compat_lighthouse("qd_detr"), PUBLIC_SIZES)
    state = public_state("qd_detr", config)
    if change == "missing":
        del state["saliency_proj1.bias"]
        expected = r"1 tensors are missing \(saliency_proj1\.bias\), 0 are left over"
    else:
        state["extra.weight"] = torch.zeros(1)
        expected = r"0 tensors are missing \(none\), 1 are left over \(extra\.weight\)"
    with pytest.raises(TrainingError, match=expected):
        convert_foreign(write_public(tmp_path / "best.ckpt", state, EasyDict(nheads=2)))


class _Calls:
    """A pickle that calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "payload",
    [
        lambda mark: _Calls(subprocess.run, ["touch", str(mark)]),
        lambda mark: _Calls(eval, f"open({str(mark)!r}, 'w')"),
        lambda mark: _Calls(getattr, Path(mark), "touch"),
        lambda mark: _Calls(Path(mark).touch),
    ],
)
def test_a_file_that_asks_to_run_code_is_refused_and_runs_none(
    tmp_path: Path, payload: Any, legacy: bool
) -> None:
    path, mark = tmp_path / "evil.ckpt", tmp_path / "mark"
    content = {"model": {"class_embed.weight": torch.zeros(2, 16)}, "opt": payload(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(TrainingError, match=r"asks to load .* which no weights need; do not trust this file"):
        load_checkpoint(path)
    assert not mark.exists()


def test_a_bare_pickle_and_a_program_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(_Calls(eval, "1 + 1")))
    with pytest.raises(TrainingError, match=r"do not trust|cannot be read"):
        load_checkpoint(tmp_path / "bare.pt")
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "program.pt"))
    with pytest.raises(TrainingError, match=r"TorchScript|cannot be read"):
        load_checkpoint(tmp_path / "program.pt")


def test_plain_data_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(TrainingError, match="holds no `model` weights"):
        load_checkpoint(tmp_path / "a.pt")


def test_starting_from_nothing_shared_is_refused() -> None:
    with pytest.raises(TrainingError, match="holds no tensor of this model"):
        initialise(make_model(small("S1")), {"other": torch.zeros(1)}, where="a.pt")


def test_starting_lists_what_is_fresh_and_what_is_unused() -> None:
    first, second = small("S7"), small("S1")
    result = initialise(make_model(second), make_model(first).state_dict(), where="a.pt")
    assert "global_token" in result.fresh
    assert any(key.startswith("quality_head.") for key in result.unused)
    assert not set(result.fresh) & set(result.unused)
