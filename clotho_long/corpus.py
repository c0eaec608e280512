"""Where a corpus keeps what, and the page that says what made it (`corpus.json`)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clotho_long import __version__
from clotho_long.core.errors import ManifestError
from clotho_long.core.files import write_json
from clotho_long.core.jsonl import read_records
from clotho_long.core.records import SPLITS
from clotho_long.recipe.records import ClipRecipe
from clotho_long.sources.records import Background, Foreground

logger = logging.getLogger(__name__)

SECTIONS = ("roots", "scan", "plan")
PLAN_AGAIN = "run `clotho-long plan` again"


class Corpus:
    """The folder of one corpus. Every path in it is decided here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def foregrounds_file(self) -> Path:
        return self.root / "sources" / "foregrounds.jsonl"

    @property
    def backgrounds_file(self) -> Path:
        return self.root / "sources" / "backgrounds.jsonl"

    @property
    def skipped_file(self) -> Path:
        return self.root / "sources" / "skipped.jsonl"

    @property
    def features_dir(self) -> Path:
        return self.root / "features"

    @property
    def cache_dir(self) -> Path:
        """Decoded sources: may be deleted at any time, at the price of decoding again."""
        return self.root / "cache"

    def recipes_file(self, split: str) -> Path:
        return self.root / "recipes" / f"{split}.jsonl"

    def annotations_file(self, split: str) -> Path:
        return self.root / "text" / f"{split}.jsonl"

    def audio_dir(self, split: str) -> Path:
        return self.root / "audio" / split

    def audio_file(self, split: str, recording_id: str, suffix: str) -> Path:
        return self.audio_dir(split) / f"{recording_id}.{suffix}"

    @property
    def planned_splits(self) -> tuple[str, ...]:
        """The splits that have recipes, in the order train, valid, test."""
        return tuple(split for split in SPLITS if self.recipes_file(split).is_file())

    def recipes(self, split: str) -> Iterator[ClipRecipe]:
        return read_records(self.recipes_file(split), ClipRecipe)

    def foregrounds(self) -> list[Foreground]:
        return list(read_records(self._scanned(self.foregrounds_file), Foreground))

    def backgrounds(self) -> list[Background]:
        return list(read_records(self._scanned(self.backgrounds_file), Background))

    def _scanned(self, path: Path) -> Path:
        if not path.is_file():
            raise ManifestError("holds no sources", self.root, "run `clotho-long scan` first")
        return path

    @property
    def page_file(self) -> Path:
        return self.root / "corpus.json"

    def page(self) -> dict[str, Any]:
        """What `corpus.json` says; empty if there is none yet.

        Raises:
            ManifestError: the page is not a JSON object.
        """
        if not self.page_file.is_file():
            return {}
        try:
            page = json.loads(self.page_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ManifestError(
                f"cannot be read ({error})", self.page_file, "run `clotho-long scan` and `plan` again"
            ) from None
        if not isinstance(page, dict) or not all(isinstance(page.get(name, {}), dict) for name in SECTIONS):
            raise ManifestError(
                "is no page of a corpus", self.page_file, "run `clotho-long scan` and `plan` again"
            )
        return page

    def section(self, name: str) -> dict[str, Any]:
        """One section of `corpus.json`; empty if it is not there yet."""
        section: dict[str, Any] = self.page().get(name, {})
        return section

    def update_page(self, **sections: Any) -> None:
        """Replace sections of `corpus.json` and keep the others; a page that is torn is set aside."""
        try:
            page = self.page()
        except ManifestError:
            page = {}
            logger.warning(
                "%s: cannot be read; set aside as %s", self.page_file, self.set_aside(self.page_file)
            )
        write_json(self.page_file, {**page, "version": __version__, **sections})

    def set_aside(self, *files: Path) -> Path:
        """Move files of this corpus below `set_aside/DATE`, where nothing reads them; that folder."""
        now = time.strftime("%Y-%m-%d_%H%M%S")
        numbered = (f"{now}-{number}" for number in range(2, 1_000))
        folders = (self.root / "set_aside" / name for name in (now, *numbered))
        folder = next(folder for folder in folders if not folder.exists())
        for file in files:
            target = folder / file.relative_to(self.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        return folder

    def refuse_stale_plan(self) -> None:
        """What is mixed now must be what was planned for.

        Raises:
            ManifestError: the sources were scanned since they were planned for, and differ.
        """
        if (problem := self.stale_plan()) is not None:
            raise ManifestError(problem, self.page_file, PLAN_AGAIN)

    def stale_plan(self) -> str | None:
        """What is wrong if the sources differ from those that the plan was made for; None if nothing is."""
        planned_for = self.section("plan").get("scan_fingerprint")
        if planned_for is None or planned_for == self.section("scan").get("fingerprint"):
            return None
        return "the sources were scanned since the corpus was planned, and differ"

    def source_root(self, name: str) -> Path:
        """The folder of `clotho` or `walking_tours` as given to `scan`.

        Raises:
            ManifestError: the corpus was not scanned.
        """
        roots = self.section("roots")
        if not isinstance(roots.get(name), str):
            raise ManifestError(
                f"does not know where the {name.replace('_', ' ')} are",
                self.page_file,
                "run `clotho-long scan` first",
            )
        return Path(roots[name])
