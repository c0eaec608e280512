"""Where visitors' files lie: in one folder, which goes with the server, if it is killed at the next start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from clotho_long.core.units import Seconds

PREFIX = "amr-serve-"
LOCK_NAME = ".in-use"
KEPT_S: Seconds = 3600  # files that somebody gave or got stay for an hour after the last use
SWEEP_S: Seconds = 60


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder for this process, readable by this user alone; it is removed at the end.

    What servers left behind that were killed is removed first: their locks are free.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_unless_locked(left)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, (Path(name) / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


class Keeper:
    """Files of visitors in the folders `uploads` and `searches`: kept while in use and `kept_s` after that.

    What lies directly in one of the two, with all that is in it, is kept and removed as a whole.
    """

    def __init__(self, folder: Path, *, kept_s: Seconds = KEPT_S) -> None:
        self.uploads, self.searches = folder / "uploads", folder / "searches"
        for place in (self.uploads, self.searches):
            place.mkdir(mode=0o700, exist_ok=True)
        self._kept_s = kept_s
        self._in_use: Counter[Path] = Counter()
        self._last_use: dict[Path, float] = {}
        self._lock = threading.Lock()

    def new_search(self) -> Path:
        """A new folder for the files of one search, whose name nobody can guess."""
        folder = self.searches / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        return folder

    def find_search(self, name: str) -> Path | None:
        """The folder of an earlier search, which counts as a use of it; None if it is gone."""
        known = {path.name: path for path in self.searches.iterdir()}  # never a path made of foreign text
        if (folder := known.get(name)) is not None:
            with self.using(folder):
                pass
        return folder

    @contextlib.contextmanager
    def using(self, *paths: Path) -> Iterator[None]:
        """While the block runs, nothing that belongs to `paths` is removed, however old it is."""
        entries = [entry for path in paths if (entry := self._entry(path)) is not None]
        with self._lock:
            self._in_use.update(entries)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.subtract(entries)
                self._last_use.update(dict.fromkeys(entries, time.time()))

    def sweep(self, now: float | None = None) -> None:
        """Remove what nobody has used for long enough."""
        now = time.time() if now is None else now
        for place in (self.uploads, self.searches):
            for entry in place.iterdir():
                with self._lock:
                    used = max(self._last_use.get(entry, 0.0), _last_change(entry))
                    if self._in_use[entry] > 0 or now - used < self._kept_s:
                        continue
                    self._last_use.pop(entry, None)
                    _remove(entry)

    @contextlib.contextmanager
    def sweeping(self) -> Iterator[None]:
        """Sweep once a minute while the block runs."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(SWEEP_S):
                with contextlib.suppress(OSError):  # a disk that fails now may work in a minute
                    self.sweep()

        thread = threading.Thread(target=work, name="sweep", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _entry(self, path: Path) -> Path | None:
        """What lies directly in one of our folders and holds `path`; None for files that are not ours."""
        for place in (self.uploads, self.searches):
            if path.is_relative_to(place) and path != place:
                return place / path.relative_to(place).parts[0]
        return None


def _last_change(entry: Path) -> float:
    """When something in a file or folder was last written or moved there."""
    newest = 0.0
    for path in [entry, *entry.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            newest = max(newest, status.st_mtime, status.st_ctime)
    return newest


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _remove_unless_locked(folder: Path) -> None:
    """Remove the folder of a server that is no more; another user's, or a living one's, stays."""
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
