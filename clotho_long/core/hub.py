"""Files of the Hugging Face hub: from its cache, else downloaded into it and checked."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clotho_long.core.errors import ClothoLongError, FeatureError
from clotho_long.core.files import READ_BYTES

_SHA256 = re.compile(r"[0-9a-f]{64}")


def hub_file(
    repository: str,
    name: str,
    *,
    fix: str,
    revision: str | None = None,
    error: type[ClothoLongError] = FeatureError,
) -> Path:
    """A local copy of a file of the hub; the network is asked only if the cache does not hold it.

    Args:
        fix: what to do where the hub cannot be reached.
        revision: branch, tag or commit; None: the main branch as it was when the file was downloaded.

    Raises:
        error: it is not in the cache and cannot be downloaded, or what came is not what the hub has.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    where = f"{repository}/{name}" + (f"@{revision}" if revision else "")
    try:
        return Path(hf_hub_download(repository, name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        raise error("is no name of a repository", where, "check its spelling") from None
    try:
        with _quiet_as_logged():
            path = Path(hf_hub_download(repository, name, revision=revision))
    except Exception as failure:  # of requests or httpx, by the hub's version
        problem, remedy = _describe(failure, fix)
        raise error(problem, where, remedy) from None
    if not _is_whole(path):
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise error("was not downloaded as the hub has it (other SHA-256)", where, "run the command again")
    return path


def _describe(failure: Exception, fix: str) -> tuple[str, str]:
    """What went wrong with a download, and what to do."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(failure, LocalEntryNotFoundError):
        return "is not in the Hugging Face cache and cannot be downloaded", fix
    if isinstance(failure, GatedRepoError):
        return "is given to those only who asked for it", "ask on its page, then `hf auth login`"
    if isinstance(failure, RepositoryNotFoundError):
        return (
            "is in no public repository",
            "check its name; a private one needs `hf auth login`",
        )
    if isinstance(failure, RevisionNotFoundError):
        return "is in a repository without that revision", "check what follows the @"
    if isinstance(failure, EntryNotFoundError):
        return "is a file that the repository does not have", "see its page for the names of its files"
    reason = next(iter(str(failure).splitlines()), "") or type(failure).__name__
    return f"could not be downloaded ({reason})", "run the command again; it goes on where it stopped"


def _is_whole(path: Path) -> bool:
    """Whether a file of the cache is what the hub announced: large ones are kept under their SHA-256.

    Small ones, and any where the system has no links, are kept under another name, and pass.
    """
    announced = path.resolve().name
    if not _SHA256.fullmatch(announced):
        return True
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest() == announced


def shows_progress() -> bool:
    """Whether downloads are to show how far they are: not where logging was set to warnings (`--quiet`)."""
    root = logging.getLogger()
    return not root.handlers or root.isEnabledFor(logging.INFO)


@contextlib.contextmanager
def _quiet_as_logged() -> Iterator[None]:
    import huggingface_hub.utils

    utils: Any = huggingface_hub.utils  # it names no exports

    silenced = not shows_progress() and not utils.are_progress_bars_disabled()
    if silenced:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if silenced:
            utils.enable_progress_bars()
