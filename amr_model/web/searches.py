"""A search from what was asked to what the page shows, kept for a while so that a reload brings it back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from amr_model.web import markup
from amr_model.web.keeping import Keeper
from amr_model.web.telling import Refused, Stopped
from clotho_long.core.errors import ClothoLongError
from clotho_long.core.files import write_json, write_text

MAX_QUERIES = 12
RESULTS, ASKED = "results.html", "asked.json"  # in the folder of a search


def sentences(text: str) -> list[str]:
    """The queries that somebody typed, one a line.

    Raises:
        Refused: they are too many.
    """
    queries = [line.strip() for line in text.splitlines() if line.strip()]
    if len(queries) > MAX_QUERIES:
        raise Refused(f"These are {len(queries)} sentences.", f"Ask at most {MAX_QUERIES} at a time.")
    return queries


def answered(
    keeper: Keeper,
    search: Callable[[Path], str],
    asked: Mapping[str, Any],
    *,
    given: Sequence[Path] = (),
) -> str:
    """What the page shows for a search, whose files lie in a new folder of the keeper's.

    What is wrong becomes a message on the page, and nothing is kept of the search.

    Args:
        search: gets the folder, and returns the results as HTML.
        asked: what the form held, JSON-like, to be brought back with the results.
        given: files of the visitor's that are read meanwhile.
    """
    folder = keeper.new_search()
    try:
        with keeper.using(*given, folder):
            html = search(folder)
            write_json(folder / ASKED, dict(asked))
            write_text(folder / RESULTS, html)
            return html
    except Stopped:
        problem, fix = "Stopped.", "Press the button to ask again."
    except Refused as error:
        problem, fix = error.problem, error.fix
    except ClothoLongError as error:
        # a file's name, not where it lies on this machine
        where = Path(error.where)
        name = f"{where.name} " if where.is_absolute() else ""
        problem, fix = f"{name}{error.problem}.", f"{error.fix.capitalize()}." if error.fix else ""
    except OSError as error:
        problem = f"The server cannot read or write a file: {(error.strerror or str(error)).lower()}."
        fix = "Whoever runs it can put that right."
    shutil.rmtree(folder, ignore_errors=True)
    return markup.message(problem, fix)


def brought_back(keeper: Keeper, name: str) -> tuple[str, dict[str, Any]] | None:
    """The results of an earlier search as HTML, and what was asked; None if they are gone."""
    folder = keeper.find_search(name)
    if folder is None or not (folder / RESULTS).is_file():
        return None
    asked: dict[str, Any] = json.loads((folder / ASKED).read_text(encoding="utf-8"))
    return (folder / RESULTS).read_text(encoding="utf-8"), asked


def address(file: Path) -> str:
    """Where the page gets a file of a search from."""
    return f"gradio_api/file={quote(str(file))}"
