"""The optional parts of the installation: what needs which, and how one gets it."""

from __future__ import annotations

import importlib.util

from clotho_long.core.errors import ConfigError

# Top-level package -> the extra of this project that brings it.
EXTRA_OF = {
    "torch": "model",
    "scipy": "model",
    "transformers": "model",
    "tokenizers": "model",
    "huggingface_hub": "model",
    "pooch": "model",
    "requests": "model",
    "gradio": "web",
    "dask": "dask",
    "distributed": "dask",
    "msclap": "msclap",
    "lancedb": "search",
    "pyarrow": "search",
}


def how_to_install(extra: str) -> str:
    """What to type, in the folder of this project, for an extra."""
    return f"pip install '.[{extra}]'"


def describe_missing(module: str) -> str | None:
    """One line on a module that is not installed; None for one that no extra brings."""
    package = module.partition(".")[0]
    extra = EXTRA_OF.get(package)
    return extra and f"needs {package}, which is not installed; install it with {how_to_install(extra)}"


def require_package(package: str) -> None:
    """Say in time, before any work, that a package is needed which is not installed.

    Raises:
        ConfigError: it is not.
    """
    try:
        installed = importlib.util.find_spec(package) is not None
    except ValueError:  # a module that was taken out by hand
        installed = False
    if not installed:
        raise ConfigError(describe_missing(package) or f"needs {package}, which is not installed")
