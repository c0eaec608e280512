"""One hypothesis profile, Ctrl-C as usual, and the folder of recordings that only some machines have."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# torch's and numba's first calls overrun the default deadline of a property test
settings.register_profile("suite", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("suite")

# a test is to see what a user is told in one line only where somebody meant it
os.environ["CLOTHO_LONG_TRACEBACK"] = "1"

# a shell's background jobs ignore Ctrl-C, and so would every program that a test starts and interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"needs {name}, which is not part of the repository")
    return path


@pytest.fixture(scope="session")
def published() -> Path:
    """The published facts of Clotho-Moment and CASTELLA."""
    return _shared("published")


@pytest.fixture(scope="session")
def real_audio() -> Path:
    """Real recordings in the layouts of Clotho and Walking Tours."""
    return _shared("real_audio")
