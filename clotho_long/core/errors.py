"""One exception tree: whatever we raise on purpose says what is wrong, where, and what to do."""

from __future__ import annotations


class ClothoLongError(Exception):
    """Root of every failure raised on purpose.

    Printed as one line, `WHERE: PROBLEM; FIX`, where WHERE is `FILE`, `FILE:LINE`, or the option of a command
    that is wrong, such as `--set`.
    """

    def __init__(self, problem: str, where: object = "", fix: str = "") -> None:
        self.problem, self.where, self.fix = problem, str(where), fix
        # args must rebuild the exception: joblib pickles the errors of its workers
        super().__init__(self.problem, self.where, self.fix)

    @property
    def is_usage(self) -> bool:
        """Whether an option is wrong, and not a file."""
        return self.where.startswith("--")

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f"; {self.fix}" if self.fix else ""
        return f"{place}{self.problem}{remedy}"


class ConfigError(ClothoLongError):
    """A setting is unknown, missing, of the wrong type or out of range."""


class ManifestError(ClothoLongError):
    """A record (source, recipe, annotation, prediction) is malformed or contradicts another."""


class AudioError(ClothoLongError):
    """A recording cannot be read, or what it holds cannot be used."""


class FeatureError(ClothoLongError):
    """A feature file is missing, malformed, or made by another encoder."""
