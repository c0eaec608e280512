"""Walking Tours: a folder of long city walks, of which the sound is taken.

Venkataramanan et al., "Is ImageNet worth 1 video? Learning strong image encoders from 1 long unlabelled
video", ICLR 2024. The published split of Clotho-Moment is by recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass

from clotho_long.audio.io import AUDIO_SUFFIXES
from clotho_long.core.errors import ConfigError, ManifestError
from clotho_long.core.records import SPLITS
from clotho_long.core.settings import shown
from clotho_long.sources.records import Skipped, composed, is_utf8, not_utf8

MAX_PART = 1e6  # of a ratio
PUBLISHED_SPLITS = {
    "train": ("Venice", "Stockholm", "Bangkok", "Zurich", "Amsterdam", "Chiang_Mai", "Kuala_Lampur"),
    "valid": ("Singapore",),
    "test": ("Wildlife", "Istanbul"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TourFile:
    """A recording that was found."""

    background_id: str
    file: str  # relative to the Walking Tours folder


def find_tours(root: Path) -> Iterator[TourFile | Skipped]:
    """Every recording below `root` by name, sub-folders included, and what has an unusable name.

    Raises:
        ManifestError: there is no recording, or two share a name.
    """
    files = sorted(
        p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith(".")
    )
    if not files:
        raise ManifestError("holds no recording", root, "give the folder of the tours as --walking-tours")
    by_name: dict[str, Path] = {}
    for path in files:
        file, name = path.relative_to(root).as_posix(), composed(path.stem)
        if not is_utf8(file):
            yield not_utf8(file)
            continue
        if name in by_name:
            raise ManifestError(
                f"has the same name as {by_name[name]}", path, "a recording's id is its name: rename one"
            )
        by_name[name] = path
        yield TourFile(background_id=name, file=file)


def split_recordings(names: Iterable[str], rule: str, *, where: str) -> dict[str, str]:
    """The split of each name, by the published table or by a ratio over the sorted names."""
    ordered = sorted(names)
    if rule == "published":
        known = {name: split for split, members in PUBLISHED_SPLITS.items() for name in members}
        if unknown := [name for name in ordered if name not in known]:
            raise ConfigError(
                f"{unknown[0]!r} is none of the ten published recordings",
                where,
                "use --split ratio:7,1,2 (in a pipeline --set split=ratio:7,1,2)",
            )
        return {name: known[name] for name in ordered}
    sizes = _sizes_by_ratio(len(ordered), parse_ratio(rule))
    splits = [split for split, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]
    return dict(zip(ordered, splits, strict=True))


def parse_ratio(rule: str) -> tuple[float, ...]:
    """The three shares of `ratio:7,1,2`.

    Raises:
        ConfigError: it is no such rule.
    """
    kind, _, text = rule.partition(":")
    try:
        ratio = tuple(float(part) for part in text.split(","))
    except ValueError:
        ratio = ()
    possible = len(ratio) == len(SPLITS) and all(0 <= part <= MAX_PART for part in ratio)
    if kind != "ratio" or not possible or sum(ratio) <= 0:
        raise ConfigError(
            f"{shown(rule)} is no split", "--split", "write `published` or for example `ratio:7,1,2`"
        )
    return ratio


def _sizes_by_ratio(total: int, ratio: Sequence[float]) -> list[int]:
    """Sizes by largest remainder; where there are enough recordings, no wanted split stays empty."""
    exact = [total * share / sum(ratio) for share in ratio]
    sizes = [int(size) for size in exact]
    for index in sorted(range(len(ratio)), key=lambda i: sizes[i] - exact[i])[: total - sum(sizes)]:
        sizes[index] += 1
    wanted = [index for index, share in enumerate(ratio) if share > 0]
    for index in wanted:
        if sizes[index] == 0 and total >= len(wanted):
            sizes[sizes.index(max(sizes))] -= 1
            sizes[index] = 1
    return sizes
