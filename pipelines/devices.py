"""Where to compute: one reading of `device` for all pipelines. Torch is imported when it is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clotho_long.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

NAME = re.compile(r"auto|cpu|cuda(:\d{1,3})?|mps")
WHERE = "--device"


def check_device_name(name: str) -> str:
    """The name, if it is one; for settings, which are read where torch need not be.

    Raises:
        ConfigError: no device can be called so.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"no device is called {name!r}", WHERE, "take auto, cpu, cuda, cuda:N or mps")
    return name


def find_device(name: str) -> torch.device:
    """The device of this machine that a name means. `auto`: the first NVIDIA GPU, else the CPU.

    Raises:
        ConfigError: the name means nothing, or there is no such device here.
    """
    check_device_name(name)
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ConfigError("no NVIDIA GPU can be used here", WHERE, "take auto or cpu")
        if (device.index or 0) >= count:
            raise ConfigError(f"there is no {name}: this machine has {count}", WHERE, "count from cuda:0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("no Apple GPU can be used here", WHERE, "take auto or cpu")
    return device
