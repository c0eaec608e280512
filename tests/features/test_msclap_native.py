"""The C++ kernel gives the torch tower's numbers, whatever the width of registers; it may be absent."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess

import pytest
import torch

from clotho_long.features.encoders.msclap import native
from clotho_long.features.encoders.msclap.native import NativeTower, load_kernel
from clotho_long.features.encoders.msclap_reference import reference_htsat
from tests.features.test_msclap_audio import assert_same, make_tower, synthetic_windows
from tests.random_clap_weights import random_audio_state

SOURCE = native.FOLDER / "swin.cpp"
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.fixture(scope="module")
def tower():
    return make_tower()


@pytest.fixture(scope="module", params=[4, 8, 16])
def kernel(request, tmp_path_factory):
    """Compiled for this processor with vectors of so many floats, narrower or wider than its registers."""
    if COMPILER is None:
        pytest.skip("no C++ compiler here")
    file = tmp_path_factory.mktemp("kernel") / "swin.so"
    machine = ["-march=native"] if platform.machine() == "x86_64" else []
    flags = ["-O2", "-std=c++17", "-shared", "-fPIC", "-pthread", "-Wno-psabi", f"-DLANES={request.param}"]
    subprocess.run([COMPILER, *flags, *machine, str(SOURCE), "-o", str(file)], check=True)
    return ctypes.CDLL(str(file))


@torch.inference_mode()
def test_kernel_equals_the_torch_tower(tower, kernel):
    windows = torch.stack([synthetic_windows()[name] for name in ("rising tone", "one-sample impulse")])
    expected, actual = tower(windows), NativeTower(kernel, tower)(windows)
    error = (actual - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.max() < 3e-6, error


@torch.inference_mode()
def test_numbers_depend_neither_on_threads_nor_on_neighbours(tower, kernel):
    windows = torch.stack([synthetic_windows()[name] for name in ("noise", "silence")])
    embed = NativeTower(kernel, tower)
    alone = embed(windows[:1])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(embed(windows)[:1], alone)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def test_installed_kernel_equals_the_reference(tower):
    kernel = load_kernel()
    if kernel is None:
        pytest.skip("the kernel is not compiled here")
    reference = reference_htsat(random_audio_state(7))
    windows = torch.stack([synthetic_windows()[name] for name in ("noise", "silence", "square wave")])
    assert_same(reference, NativeTower(kernel, tower), windows)


def test_kernel_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("CLOTHO_LONG_NATIVE", "0")
    assert load_kernel() is None


def test_absent_and_foreign_kernels_are_passed_over(monkeypatch, tmp_path, caplog):
    monkeypatch.delenv("CLOTHO_LONG_NATIVE", raising=False)
    assert load_kernel(tmp_path) is None
    monkeypatch.setattr(native, "BUILDS", {"DEFAULT": ("base",)})
    (tmp_path / f"_swin_base{native.sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"no library")
    assert load_kernel(tmp_path) is None
    assert "cannot be loaded" in caplog.text
