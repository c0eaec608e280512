"""Checkpoints by name: files of the Hugging Face hub, of archives with a DOI, and short names of public ones.

    hf://OWNER/REPOSITORY/FILE[@REVISION]     in the hub's own cache (HF_HOME)
    doi:10.5281/zenodo.NUMBER/FILE            Zenodo, figshare, Dataverse; in AMR_CACHE
    lighthouse-qd_detr-clotho-moment          a name of `PUBLIC`

A file is downloaded once, checked against what its host says of it (SHA-256 on the hub, the archive's
checksum), and from then on used without a network. See docs/public_weights.md.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from amr_model.errors import TrainingError
from clotho_long.core.extras import require_package
from clotho_long.core.hub import hub_file, shows_progress

# Public checkpoints for audio moment retrieval whose address is known and which `renaming` reads.
PUBLIC = {
    # api_example/amr_demo.py of Lighthouse d095eaa
    "lighthouse-qd_detr-clotho-moment": "doi:10.5281/zenodo.13961029/clap_qd_detr_clotho-moment.ckpt",
}

CACHE_VARIABLE = "AMR_CACHE"
OFFLINE_FIX = "connect to the internet once, or download the file elsewhere and give its path"
# the hub's own tools write the revision after the repository
_HUB = re.compile(
    r"hf://(?P<repository>[^/@]+/[^/@]+)(@(?P<first>[^/@]+))?/(?P<file>[^@]+)(@(?P<last>[^@]+))?"
)
_ARCHIVE = re.compile(r"doi:(?P<doi>10\.[0-9.]+/[^/\s]+)/(?P<file>(?!.*\.\.).+)")
TIMEOUT_S = 30.0


def local_checkpoint(name: Path | str) -> Path:
    """The file that a path or a name means, downloaded if it is not on this machine yet.

    A file of that name always comes first. What is no name is returned as a path, whether it exists or not.

    Raises:
        TrainingError: the name is malformed, there is no such file, or it cannot be downloaded whole.
    """
    path, asked = Path(name), str(name)
    if path.is_file():
        return path
    source = PUBLIC.get(asked, asked)
    if source.startswith("hf://"):
        return _from_hub(source, asked)
    if source.startswith("doi:"):
        return _from_archive(source, asked)
    return path


def is_remote(name: Path | str) -> bool:
    """Whether a checkpoint is named, not given as a file."""
    asked = str(name)
    return not Path(name).is_file() and (asked in PUBLIC or asked.startswith(("hf://", "doi:")))


def _from_hub(source: str, asked: str) -> Path:
    match = _HUB.fullmatch(source)
    if match is None or (match["first"] and match["last"]):
        raise TrainingError(
            "is no address of a file on the hub",
            asked,
            "write hf://OWNER/REPOSITORY/FILE[@REVISION]",
        )
    require_package("huggingface_hub")
    return hub_file(
        match["repository"],
        match["file"],
        revision=match["first"] or match["last"],
        fix=OFFLINE_FIX,
        error=TrainingError,
    )


def _from_archive(source: str, asked: str) -> Path:
    match = _ARCHIVE.fullmatch(source)
    if match is None:
        raise TrainingError(
            "is no address of a file in an archive", asked, "write doi:10.5281/zenodo.NUMBER/FILE"
        )
    require_package("pooch")
    import pooch

    doi, file = match["doi"], match["file"]
    archive = pooch.create(
        Path(pooch.os_cache("audio-moment-retrieval")), base_url=f"doi:{doi}/", env=CACHE_VARIABLE
    )
    archive.path = Path(archive.path, *doi.split("/"))
    kept = Path(archive.path, file)
    if kept.is_file():  # it was checked before it got there
        return kept
    return _downloaded(archive, file, asked)


def _downloaded(archive: Any, file: str, asked: str) -> Path:
    """A file of an archive, checked against the checksum that the archive publishes of it."""
    import pooch
    from requests.exceptions import ConnectionError, HTTPError, RequestException, Timeout

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        archive.load_registry_from_doi()
    except (ConnectionError, Timeout):
        raise TrainingError("is not on this machine and cannot be downloaded", asked, OFFLINE_FIX) from None
    except (RequestException, ValueError, KeyError) as error:
        reason = f" ({error})" if isinstance(error, HTTPError) else ""
        raise TrainingError(f"is in no archive that can be read{reason}", asked, "check the DOI") from None
    if file not in archive.registry:
        known = ", ".join(sorted(archive.registry))
        raise TrainingError("is a file that the archive does not have", asked, f"it has: {known}")
    try:
        downloader = pooch.DOIDownloader(progressbar=shows_progress(), timeout=TIMEOUT_S)
        return Path(archive.fetch(file, downloader=downloader))
    except (RequestException, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrainingError(
            f"could not be downloaded as the archive has it ({reason})", asked, "run the command again"
        ) from None
