"""The notebook runs, offline, and what lies in the repository is what it gave."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "searching.ipynb"
MOST_BYTES = 100_000
ON_THIS_MACHINE = re.compile(r"/(?:tmp|home|root|Users|work)/")


def cells(notebook) -> list:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(cell) -> set[str]:
    """The media types of what a cell shows."""
    return {kind for output in cell["outputs"] for kind in output.get("data", ())}


def said(cell) -> str:
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])


def test_what_is_committed_was_run_in_order_and_is_small():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert [cell["execution_count"] for cell in cells(notebook)] == [*range(1, len(cells(notebook)) + 1)]
    outputs = json.dumps([cell["outputs"] for cell in cells(notebook)])
    assert not ON_THIS_MACHINE.search(outputs)
    assert '"error"' not in outputs
    assert NOTEBOOK.stat().st_size < MOST_BYTES


@pytest.mark.slow
def test_the_notebook_runs_and_finds_something(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat: pip install nbclient")
    nbclient = pytest.importorskip("nbclient", reason="runs a notebook: pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="runs a notebook: pip install nbclient ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in cells(notebook):
        cell["outputs"] = []
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()  # an error ends it
    shown = cells(notebook)
    assert any("image/png" in kinds(cell) for cell in shown)
    (table,) = [cell for cell in shown if "text/html" in kinds(cell)]
    html = "".join(output.get("data", {}).get("text/html", "") for output in table["outputs"])
    for column in ("query", "recording", "onset_s", "offset_s", "score"):
        assert f"<th>{column}</th>" in html
    assert html.count("<tr") > 2
    (found,) = [said(cell) for cell in shown if "truly at" in said(cell)]
    ((onset_s, offset_s),) = json.loads(re.search(r"truly at (.*)", found).group(1))
    best = re.search(r"([\d.]+) to +([\d.]+) s, score", found)
    assert float(best.group(1)) < offset_s
    assert float(best.group(2)) > onset_s
    assert re.search(r"^labels/\S+\.txt \d+\.\d{6}\t\d+\.\d{6}\t", said(shown[-1]), re.MULTILINE)
    (written,) = tmp_path.glob("tmp*")
    assert list((written / "moments").glob("*.wav"))
