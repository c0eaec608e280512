"""What the files that are made of recordings are called. One rule for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from clotho_long.core.files import shortened

LONGEST_STEM_BYTES = 180  # a name has 255: room for a prefix, for a cut's times and for the suffix
NAMELESS = "recording"  # whose name is no UTF-8 at all


def prefixes(recordings: Sequence[Path]) -> dict[Path, str]:
    """What the files made of each recording begin with: nothing, unless two are of one name.

    Names that a file system which ignores case takes for one count as one.
    """
    distinct = list(dict.fromkeys(recordings))
    same_names = len({file_stem(path).casefold() for path in distinct}) < len(distinct)
    return {path: f"r{at}-" if same_names else "" for at, path in enumerate(distinct, start=1)}


def file_stem(recording: Path) -> str:
    """A recording's stem in the names of files that are made of it: whole letters, and not too many."""
    return shortened(recording.stem, LONGEST_STEM_BYTES) or NAMELESS


def named_after(recording: Path, prefix_of: Mapping[Path, str], suffix: str) -> str:
    """The name of the one file that a format makes of a recording, such as `r1-street.srt`."""
    return f"{prefix_of[recording]}{file_stem(recording)}{suffix}"
