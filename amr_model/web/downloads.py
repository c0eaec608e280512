"""What people take home from the page: the moments as files of other programs, and their sound."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amr_model.answer.answers import Answer
from amr_model.answer.exports.choice import Exports
from amr_model.answer.exports.raven import selection_table, top_of
from amr_model.answer.exports.writing import write_exports
from clotho_long.core.files import atomic_path, write_text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Takeaway:
    """What a search found, to be written into files."""

    stem: str  # of the files' names
    answers: Sequence[Answer]
    names: Mapping[Path, str]  # what visitors call a recording; where it lies on this machine is not theirs
    lines: Sequence[Mapping[str, Any]]  # JSON-like, as the commands print them
    cuts: Mapping[str, Path]  # by their names in the archive
    one_ranking: bool = False  # ranks count over all recordings

    @property
    def answers_by_name(self) -> list[Answer]:
        """The answers, about recordings as visitors call them."""
        return [
            dataclasses.replace(answer, recording=Path(self.names[answer.recording]))
            for answer in self.answers
        ]


def write_downloads(found: Takeaway, folder: Path) -> dict[str, Path]:
    """Write the files into `folder`; returns them by what they are called on the page.

    Where nothing was found there are no labels and no sounds, only the answer that says so.
    """
    files = {
        "JSON": folder / f"{found.stem}-moments.json",
        "table (csv)": folder / f"{found.stem}-moments.csv",
    }
    write_text(files["JSON"], "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in found.lines))
    write_exports(Exports(csv=files["table (csv)"]), found.answers_by_name, one_ranking=found.one_ranking)
    if any(answer.moments for answer in found.answers):
        files["labels (zip)"] = folder / f"{found.stem}-labels.zip"
        _write_labels(found, folder / "labels")
        _pack(files["labels (zip)"], _files_below(folder / "labels"))
        shutil.rmtree(folder / "labels")
    if found.cuts:
        files["sounds (zip)"] = folder / f"{found.stem}-moments.zip"
        _pack(files["sounds (zip)"], found.cuts)
    return files


def _write_labels(found: Takeaway, folder: Path) -> None:
    """The moments as Audacity, Praat, players, Reaper and Raven read them."""
    answers = found.answers_by_name
    exports = Exports(
        audacity=folder / "audacity",
        textgrid=folder / "textgrid",
        srt=folder / "srt",
        reaper=folder / "reaper.csv",
    )
    write_exports(exports, answers)
    lies_at = {Path(name): path for path, name in found.names.items()}
    # Raven asks for a file that does not lie where its table says
    table = selection_table(answers, top_of=lambda name: top_of(lies_at[name]), path_of=lambda name: name)
    write_text(folder / "raven.txt", table)


def _files_below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _pack(archive: Path, files: Mapping[str, Path]) -> None:
    with atomic_path(archive) as part, zipfile.ZipFile(part, "w") as packed:
        for name, file in files.items():
            packed.write(file, name)
