"""Ctrl-C and SIGTERM at a moment that suits: between two steps, when the state of a run is whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal has come, and this is a moment at which to heed it."""


class Held:
    """Signals that wait until `check` is called."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def note(self, number: int, frame: Any) -> None:
        self.signal = number

    def check(self) -> None:
        """Heed a signal that has come.

        Raises:
            Stopped: there was one.
        """
        if self.signal is not None:
            raise Stopped


@contextlib.contextmanager
def held_signals() -> Iterator[Held]:
    """Hold Ctrl-C and SIGTERM back; one that came is delivered, as it would have been, when the block ends.

    Whoever ignores a signal goes on to ignore it. In other threads than the main one nothing is held.
    """
    held = Held()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
        before = {number: was for number, was in before.items() if was not in (signal.SIG_IGN, None)}
        for number in before:
            signal.signal(number, held.note)
    try:
        yield held
    finally:
        for number, was in before.items():
            signal.signal(number, was)
        if held.signal is not None:
            signal.raise_signal(held.signal)
