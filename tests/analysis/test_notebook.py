"""The example notebook runs from its first to its last cell, and is committed with what it showed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "analysis.ipynb"


def outputs(notebook: nbformat.NotebookNode) -> list[set[str]]:
    """The kinds of output of each code cell."""
    return [
        {kind for output in cell.outputs for kind in output.get("data", {output.get("name"): ""})}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_outputs_are_of_the_committed_kinds(store_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOP_SWEEP_DIR", str(store_dir))
    committed = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert outputs(notebook) == outputs(committed)
    assert sum("image/png" in kinds for kinds in outputs(committed)) == 4
