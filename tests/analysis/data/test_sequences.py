"""Streaming a sweep file by file: every cell once, whatever happens to the files meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sweeping import compute_here

from analysis.data.load import load_cells, load_tasks, open_store
from analysis.data.sequences import blocks_of, iter_blocks
from lop_sweep.errors import AnalysisError, StoreError
from lop_sweep.metrics import LAYERED, measured_with
from lop_sweep.planning.space import expand_space
from lop_sweep.storage import reader
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.reader import iter_tasks


@pytest.fixture
def copy(store_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_dir, tmp_path / "copy"))


def test_blocks_hold_the_rows_of_the_tasks_folder(store_dir: Path) -> None:
    tasks = load_tasks(store_dir).set_index(["cell", "task"])
    seen = []
    for block in iter_blocks(store_dir):
        for index, cell in enumerate(block.cells["cell"]):
            rows = tasks.loc[cell]
            for name in measured_with():
                expected = np.stack(rows[name].to_list()) if name in LAYERED else rows[name]
                np.testing.assert_array_equal(block.metrics[name][index], expected)
            np.testing.assert_allclose(
                block.of_network("effective_rank")[index], rows["effective_rank"].map(np.mean), rtol=1e-12
            )
            seen.append(cell)
    assert sorted(seen) == sorted(load_cells(store_dir)["cell"])


def test_cells_of_several_lengths_and_depths_in_one_file(tmp_path: Path) -> None:
    space = {"depth": {"grid_search": [1, 3]}, "tasks": {"grid_search": [2, 5]}, "seed": {"grid_search": [1, 2]},
             "width": 4, "samples": 8, "steps": 2, "fresh_baseline": 0}  # fmt: skip
    folder = compute_here(expand_space(space), tmp_path / "sweep").root
    compact(open_store(folder))
    shapes = sorted(block.metrics["effective_rank"].shape for block in iter_blocks(folder))
    assert shapes == [(2, 2, 1), (2, 2, 3), (2, 5, 1), (2, 5, 3)]


def test_files_without_wanted_cells_are_not_opened(copy: Path) -> None:
    cells = load_cells(copy)
    other = cells[cells["depth"] == 1]["pack"].iloc[0]
    (copy / "tasks" / f"{other}.parquet").write_bytes(b"PAR1 not really")
    assert sum(len(block.cells) for block in iter_blocks(copy, {"depth": [2.0]})) == 12
    with pytest.raises(StoreError, match="cannot be read"):
        list(iter_blocks(copy))


def test_files_that_are_merged_meanwhile_are_found_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_PENDING", 1)
    store = open_store(copy)
    rows = iter_tasks(store, ["cell", "task"], load_cells(copy)["pack"].unique())
    tables = [next(rows)]
    compact(store)
    tables += list(rows)
    cells = [cell for table in tables for cell in table["cell"].unique().to_pylist()]
    assert sorted(cells) == sorted(load_cells(copy)["cell"])
    assert len(tables) == 2  # the first pack, and all others from the merged file


def test_at_most_a_few_files_are_read_ahead(store_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def remember(path: Path, *arguments: object) -> object:
        read.append(path)
        return original(path, *arguments)

    original = reader.read_table
    monkeypatch.setattr(reader, "read_table", remember)
    packs = load_cells(store_dir)["pack"].unique()
    rows = iter_tasks(open_store(store_dir), ["cell"], packs)
    next(rows)
    assert len(read) <= reader.MAX_PENDING < len(packs)
    rows.close()


def test_cells_without_rows_are_an_error(copy: Path) -> None:
    cells = load_cells(copy)
    for path in (copy / "tasks").glob("*.parquet"):
        path.unlink()
    with pytest.raises(AnalysisError, match="24 finished cells have no rows; lop-sweep audit names them"):
        list(blocks_of(cells, copy))
