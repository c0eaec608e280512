"""Files that `torch.save` wrote, by whomever, read without running anything that is in them.

Files of others are pickles that may hold option objects, counters and optimisers beside their tensors, which
PyTorch's weights-only loader refuses. They are read by an unpickler that rebuilds tensors and plain
containers; whatever else a file names is never looked up: a class becomes a plain dictionary, and a function
is an error, since no weights need one.
"""

from __future__ import annotations

import collections
import pickle
import tarfile
import types
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

from clotho_long.core.errors import ClothoLongError

FIX = "download, copy or make the file again"

# What pickles of data name in lower case. It is stubbed like a class.
DATA_NAMES = {
    ("_codecs", "encode"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "slice"),
    ("collections", "defaultdict"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
}
# Nothing of these is data, however it is spelled.
PROGRAM_MODULES = {
    "builtins",
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "importlib",
    "runpy",
    "ctypes",
    "shutil",
}


class TensorFileError(ClothoLongError):
    """A file of tensors is damaged, of another kind, or not to be trusted."""


def read_tensor_file(path: Path, *, mapped: bool = False) -> Any:
    """What a file holds: tensors on the CPU in plain containers.

    Args:
        mapped: leave tensors in the file until they are used, where its format allows.

    Raises:
        TensorFileError: there is no such file, it is none of `torch.save`, or it asks for more than data.
    """
    import torch

    is_zip = _check_archive(path)
    options: dict[str, Any] = {"map_location": "cpu", "mmap": mapped and is_zip}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # advice to programmers on old formats
        try:
            return torch.load(path, weights_only=True, **options)
        except pickle.UnpicklingError:
            pass  # more than plain data
        # bytes of any other file are a program to the unpickler, and end in anything
        except Exception as error:
            raise _unreadable(error, path) from None
        try:
            return _plain(torch.load(path, weights_only=False, pickle_module=_restricted_pickle(), **options))
        except TensorFileError as error:
            raise TensorFileError(error.problem, path, error.fix) from None
        except Exception as error:
            raise _unreadable(error, path) from None


def _unreadable(error: Exception, path: Path) -> TensorFileError:
    reason = str(error).splitlines()[0].rstrip(" .") if str(error) else type(error).__name__
    if "weights_only" in reason:  # advice to let the file run its code
        reason = "not of torch.save"
    return TensorFileError(f"cannot be read ({reason})", path, FIX)


def _check_archive(path: Path) -> bool:
    """Whether it is a zip archive; TorchScript, compressed or overlapping ones are none of `torch.save`."""
    if not path.is_file():
        raise TensorFileError("no such file", path, "check the path")
    if not zipfile.is_zipfile(path):
        # a format that only PyTorch before 0.1.10 wrote; zeros alone count as one
        if tarfile.is_tarfile(path):
            raise TensorFileError("is a tar archive, and no weights", path, FIX)
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise _unreadable(error, path) from None
    if any(item.filename.endswith("constants.pkl") or "/code/" in item.filename for item in entries):
        # torch.load would hand it to the script loader
        raise TensorFileError("is a TorchScript program, not weights", path, "do not trust this file")
    if any(item.compress_type != zipfile.ZIP_STORED for item in entries):
        # a few kilobytes could unfold to more than the memory; torch.save never compresses
        raise TensorFileError(
            "is a compressed archive, which torch.save never writes", path, "do not trust it"
        )
    if sum(item.file_size for item in entries) > path.stat().st_size:
        raise TensorFileError("says that it holds more than its size", path, "do not trust this file")
    return True


class _Stub(dict):  # type: ignore[type-arg]
    """Stands in for an object of any class while a file is read; keeps what can be kept as a dictionary."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(fields)

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                vars(self).update({str(key): value for key, value in part.items()})

    def append(self, item: Any) -> None:
        """Lists and sets among the objects keep nothing."""

    extend = add = append


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows tensors and ordered dictionaries, stubs other classes. A function of any module is an error."""

    def find_class(self, module: str, name: str) -> Any:
        import torch

        module = "builtins" if module == "__builtin__" else module  # as pickles of protocol 2 call it
        # fresh wrappers: a pickle may set attributes on what it is given
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *args: torch._utils._rebuild_tensor_v2(*args)  # type: ignore[no-untyped-call]
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module in ("copyreg", "copy_reg") and name == "_reconstructor":
            return lambda kind, _, state: kind(**state) if isinstance(state, dict) else kind()
        is_class = name[:1].isupper() and module.partition(".")[0] not in PROGRAM_MODULES
        if is_class or (module, name) in DATA_NAMES:
            return type("Stub", (_Stub,), {})
        raise TensorFileError(
            f"asks to load {module}.{name}, which no weights need", "", "do not trust this file"
        )


def _restricted_pickle() -> types.ModuleType:
    """A module in the shape of `pickle` for `torch.load`, restricted throughout."""
    module = types.ModuleType("restricted_pickle")

    def load(file: IO[bytes], **options: Any) -> Any:
        return _RestrictedUnpickler(file, **options).load()

    module.__dict__.update(Unpickler=_RestrictedUnpickler, load=load, UnpicklingError=pickle.UnpicklingError)
    return module


def _plain(value: Any) -> Any:
    if isinstance(value, _Stub):
        value = {**vars(value), **value}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value
