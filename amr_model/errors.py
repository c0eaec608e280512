"""What the trainer raises on purpose, under the tree of `clotho_long.core.errors`."""

from __future__ import annotations

from clotho_long.core.errors import ClothoLongError


class TrainingError(ClothoLongError):
    """Training cannot start or go on, or a checkpoint is damaged, not trusted, or of another model."""
