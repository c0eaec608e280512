"""Checkpoints of others as plain dictionaries, read without running anything that is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amr_model.errors import TrainingError
from clotho_long.core.tensor_files import TensorFileError, read_tensor_file


def read_foreign(path: Path) -> dict[str, Any]:
    """The dictionary in a third-party checkpoint; option objects become plain dictionaries.

    Raises:
        TrainingError: the file is damaged or asks for anything but tensors and options.
    """
    try:
        content = read_tensor_file(path)
    except TensorFileError as error:
        raise TrainingError(error.problem, error.where, error.fix) from None
    if not isinstance(content, dict):
        raise TrainingError("is not a dictionary", path, "give a Lighthouse or DCASE-baseline checkpoint")
    return content
