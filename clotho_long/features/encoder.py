"""What an encoder is, and how one is found by name.

An encoder of another package joins by an entry point of the group `clotho_long.encoders` whose object is
called as `factory(weights=..., device=..., precision=...)` and returns an `Encoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from clotho_long.core.errors import ConfigError
from clotho_long.core.extras import describe_missing
from clotho_long.core.units import Hertz

ENTRY_POINT_GROUP = "clotho_long.encoders"
BUILT_IN: tuple[EntryPoint, ...] = (
    EntryPoint("msclap-2023", "clotho_long.features.encoders.msclap:load_msclap", ENTRY_POINT_GROUP),
    EntryPoint(
        "msclap-reference",
        "clotho_long.features.encoders.msclap_reference:load_msclap_reference",
        ENTRY_POINT_GROUP,
    ),
    EntryPoint("logmel", "clotho_long.features.encoders.logmel:LogMelEncoder", ENTRY_POINT_GROUP),
)

ON_CPU_ONLY = ("logmel",)

Matrix = npt.NDArray[np.float32]


class Encoder(Protocol):
    """Turns windows of audio and sentences into vectors; holds its weights and device, no other state."""

    name: str
    sample_rate_hz: Hertz  # of the waveforms that `encode_windows` expects
    window_samples: int  # length of one window; the hop is chosen by the window grid
    dim: int
    device: object  # where it computes: as text it starts with "cpu" or names a GPU, as a torch.device does

    def provenance(self) -> dict[str, Any]:
        """JSON-like facts that decide the numbers: name, hash of the weights, precision."""
        ...

    def encode_windows(self, windows: Matrix) -> Matrix:
        """[window, window_samples] mono in [-1, 1] -> [window, dim] float32, the same in every process."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> list[Matrix]:
        """One [token, dim] float32 matrix for each text, in the order of `texts`."""
        ...


class SharedSpace(Protocol):
    """One space for sounds and sentences: where their vectors point the same way, they mean the same.

    Both projections start from what the encoder gives anyway, so that nothing is encoded twice.
    """

    dim: int

    def project_rows(self, rows: Matrix) -> Matrix:
        """[window, encoder.dim] as `encode_windows` gives them -> [window, dim], each of unit length."""
        ...

    def project_texts(self, states: Sequence[Matrix]) -> Matrix:
        """[token, ...] of each text as `encode_texts` gives them -> [text, dim], each of unit length."""
        ...


@runtime_checkable
class InSharedSpace(Protocol):
    """What an encoder may have beside `Encoder`."""

    def shared_space(self) -> SharedSpace | None:
        """The space of its sounds and sentences; None if these weights hold none."""
        ...


def shared_space(encoder: Encoder) -> SharedSpace | None:
    """The space in which an encoder's sounds and sentences can be compared; None if it has none."""
    return encoder.shared_space() if isinstance(encoder, InSharedSpace) else None


def encoder_device(name: str, device: str) -> str:
    """The `--device` of an encoder beside a network on `device`: the same GPU where one is named.

    Else `auto` instead of `cuda`, since an encoder that cannot use a GPU is free not to.
    """
    if device == "cpu" or name in ON_CPU_ONLY:
        return "cpu"
    return device if ":" in device else "auto"


def load_encoder(
    name: str, *, weights: Path | None = None, device: str = "auto", precision: str = "float32"
) -> Encoder:
    """The encoder called `name`: a built-in one, or one that an installed package registers.

    Raises:
        ConfigError: no such encoder is installed, or it needs a package that is not.
        FeatureError: its weights are missing or do not fit.
    """
    known = {point.name: point for point in (*entry_points(group=ENTRY_POINT_GROUP), *BUILT_IN)}
    if name not in known:
        raise ConfigError(f"no encoder is called {name!r}", "--encoder", f"known: {', '.join(sorted(known))}")
    try:
        encoder: Encoder = known[name].load()(
            weights=None if weights is None else Path(weights), device=device, precision=precision
        )
    except ModuleNotFoundError as error:
        problem = describe_missing(error.name or "") or f"needs {error.name}, which is not installed"
        raise ConfigError(problem, f"encoder {name}") from None
    return encoder
