"""A small collection whose sounds are known, its index by the stand-in encoder, and who searches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from amr_model.index.catalog import Hearing
from amr_model.index.opening import open_index
from amr_model.index.update import update_index
from amr_model.web.searcher import Searcher
from clotho_long.core.work import Workers
from tests.index import standin
from tests.index.standin import NAME, write_sound

NUM_RECORDINGS = 20
LENGTH_S = 24
MADE_BY = {"model": "S0", "checkpoint": None}


def event_of(number: int) -> tuple[int, int, int]:
    """Band, first second and second after the last of the one sound of a recording."""
    return number % 5, 6 + number % 7, 9 + number % 7  # nothing is ever heard in band 5


def make_collection(root: Path, *, count: int = NUM_RECORDINGS) -> Path:
    """Recordings below `root/walks`, and an index of them, which is returned; needs `standin.install`."""
    for number in range(count):
        folder = root / "walks" / ("market" if number % 2 else "harbour")
        write_sound(folder / f"take {number:02d}.wav", [event_of(number)], length_s=LENGTH_S, seed=number)
    update_index(root / "heard", [root / "walks"], Hearing(encoder=NAME), workers=Workers())
    return root / "heard"


def make_searcher(index: Path) -> Searcher:
    return Searcher(open_index(index, device="cpu"), made_by=MADE_BY, made_by_sound=MADE_BY)


@pytest.fixture(scope="module")
def standin_encoder():
    """The stand-in is known by its name while a module's tests run."""
    with pytest.MonkeyPatch.context() as patch:
        standin.install(patch)
        yield
