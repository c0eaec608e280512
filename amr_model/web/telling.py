"""How a search says what it is doing while it lasts, and how it ends if there is no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from clotho_long.core.clock import clock
from clotho_long.core.units import Seconds
from clotho_long.core.work import Watch

Item = TypeVar("Item")

# told what is being done, in words, and which share of it is behind (None: not known); what it raises ends
# the search
Tell = Callable[[str, float | None], None]


class Stopped(Exception):
    """The visitor does not want the answer any more."""


class Refused(Exception):
    """What was asked cannot be searched for; it says why and what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix


def untold(doing: str, share: float | None) -> None:
    """For a search that nobody watches."""


def tell_seconds(tell: Tell, doing: str, done_s: Seconds, of_s: Seconds | None = None) -> None:
    """Say how many seconds of a recording are behind."""
    if of_s is None:
        tell(f"{doing}: {clock(done_s // 1)}", None)
    else:
        tell(f"{doing}: {clock(done_s // 1)} of {clock(of_s // 1)}", min(done_s / max(of_s, 1e-9), 1.0))


def watching(tell: Tell) -> Watch:
    """A watch that says which item of how many is worked on."""

    def watch(items: Iterable[Item], *, total: int, label: str, unit: str) -> Iterator[Item]:
        for place, item in enumerate(items):
            tell(f"{label.capitalize()}: {unit} {place + 1} of {total}", place / total)
            yield item

    return watch
