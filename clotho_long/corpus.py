"""Where a corpus keeps what, and the page that says what made it (`corpus.json`)."""

from __future__ import annotations

import json
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
                f"cannot be read ({error})", self.page_file, "run `clotho-long scan` again"
            ) from None
        if not isinstance(page, dict):
            raise ManifestError("is not a JSON object", self.page_file, "run `clotho-long scan` again")
        return page

    def update_page(self, **sections: Any) -> None:
        """Replace sections of `corpus.json` and keep the others."""
        write_json(self.page_file, {**self.page(), "version": __version__, **sections})

    def source_root(self, name: str) -> Path:
        """The folder of `clotho` or `walking_tours` as given to `scan`.

        Raises:
            ManifestError: the corpus was not scanned.
        """
        roots = self.page().get("roots", {})
        if not isinstance(roots, dict) or not isinstance(roots.get(name), str):
            raise ManifestError(
                f"does not know where the {name.replace('_', ' ')} are",
                self.page_file,
                "run `clotho-long scan` first",
            )
        return Path(roots[name])
