"""Reads checkpoints of others without running anything that is in them.

Their files are pickles with a third-party options object, which PyTorch's weights-only loader refuses. They
are read by an unpickler that can rebuild tensors and plain containers and nothing else.
"""

from __future__ import annotations

import argparse
import collections
import pickle
import types
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from amr_model.errors import TrainingError


def read_foreign(path: Path) -> dict[str, Any]:
    """The dictionary in a third-party checkpoint; option objects become plain dictionaries.

    Raises:
        TrainingError: the file is damaged or asks for anything but tensors and options.
    """
    _refuse_programs(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about typed storages, which old files hold
            content = torch.load(
                path, map_location="cpu", weights_only=False, pickle_module=_restricted_pickle()
            )
    except TrainingError as error:
        raise TrainingError(error.problem, path, error.fix) from None
    except Exception as error:  # bytes of any other file are a program to the unpickler, and end in anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"cannot be read ({reason})", path, "download or copy the file again") from None
    if not isinstance(content, dict):
        raise TrainingError("is not a dictionary", path, "give a Lighthouse or DCASE-baseline checkpoint")
    plain: dict[str, Any] = _plain(content)
    return plain


class _Options(dict):  # type: ignore[type-arg]
    """Stands in for option objects (`EasyDict`, `Namespace`) while a file is read."""


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows tensors, ordered dictionaries and option objects. Whatever else is named is an error."""

    def find_class(self, module: str, name: str) -> Any:
        # fresh wrappers: a pickle may set attributes on what it is given
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *args: torch._utils._rebuild_tensor_v2(*args)  # type: ignore[no-untyped-call]
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("argparse", argparse.Namespace.__name__) or name == "EasyDict":
            return type("Options", (_Options,), {})
        raise TrainingError(
            f"asks to load {module}.{name}, which no weights need", "", "do not trust this file"
        )


def _restricted_pickle() -> types.ModuleType:
    """A module in the shape of `pickle` for `torch.load`, restricted throughout."""
    module = types.ModuleType("restricted_pickle")

    def load(file: IO[bytes], **options: Any) -> Any:
        return _RestrictedUnpickler(file, **options).load()

    module.__dict__.update(Unpickler=_RestrictedUnpickler, load=load, UnpicklingError=pickle.UnpicklingError)
    return module


def _refuse_programs(path: Path) -> None:
    """TorchScript archives are programs; torch.load would hand them to the script loader."""
    if not path.exists():
        raise TrainingError("no such file", path, "check the path")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") or "/code/" in name for name in archive.namelist()):
                raise TrainingError("is a TorchScript program, not weights", path, "do not trust this file")


def _plain(value: Any) -> Any:
    if isinstance(value, _Options):
        value = {**vars(value), **value}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value
