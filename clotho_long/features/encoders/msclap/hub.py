"""Files of the Hugging Face hub: from the cache, else downloaded into it."""

from __future__ import annotations

from pathlib import Path

from clotho_long.core.errors import FeatureError


def hub_file(repository: str, name: str, *, fix: str) -> Path:
    """A local copy of a file of the hub; the network is asked only if the cache does not hold it.

    Raises:
        FeatureError: it is not in the cache and cannot be downloaded; `fix` says what to do then.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(hf_hub_download(repository, name))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        raise FeatureError(
            "is not in the Hugging Face cache and cannot be downloaded", f"{repository}/{name}", fix
        ) from None
