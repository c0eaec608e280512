"""What people take home from the page: the moments as JSON and as a table, and their sound."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

from amr_model.answer.exports.table import as_csv, moments_table
from amr_model.web.listener import Heard
from clotho_long.core.files import atomic_path, write_text


def write_downloads(heard: Heard, folder: Path) -> dict[str, Path]:
    """Write the files into `folder`; returns them by what they are called on the page."""
    name = heard.answers[0].recording.stem[:80]
    files = {
        "JSON": folder / f"{name}-moments.json",
        "table (csv)": folder / f"{name}-moments.csv",
        "sounds (zip)": folder / f"{name}-moments.zip",
    }
    write_text(files["JSON"], _as_json(heard))
    write_text(files["table (csv)"], _as_table(heard))
    cuts = [cut for cuts_of_query in heard.cuts for cut in cuts_of_query]
    with atomic_path(files["sounds (zip)"]) as part, zipfile.ZipFile(part, "w") as archive:
        for place, cut in enumerate(cuts, start=1):
            archive.write(cut, f"{place:02d}-{cut.name}")
    return files


def _as_json(heard: Heard) -> str:
    """One object a line as `amr predict --json` prints it, with the recording's bare name."""
    lines = [{**answer.to_json(), "recording": answer.recording.name} for answer in heard.answers]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def _as_table(heard: Heard) -> str:
    """As `amr predict --csv` writes it, with the recording's bare name."""
    answers = [dataclasses.replace(answer, recording=Path(answer.recording.name)) for answer in heard.answers]
    return as_csv(moments_table(answers))
