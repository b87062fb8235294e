"""Cells and their measures task by task as arrays, streamed from a sweep directory file by file.

n is the number of cells in a block, T their number of tasks, L their depth.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.data.load import Where, load_cells, open_store, select
from lop_sweep.errors import AnalysisError
from lop_sweep.metrics import LAYERED, METRICS
from lop_sweep.storage import iter_tasks

_INCOMPLETE = "rows of tasks are missing, or there twice"


@dataclass(frozen=True)
class Block:
    """Cells of one depth and one number of tasks.

    Attributes:
        cells: n rows with the columns of `lop_sweep.storage.schema.CELLS`.
        measures: name to shape (n, T), or (n, T, L) for those of `lop_sweep.metrics.LAYERED`.
    """

    cells: pd.DataFrame
    metrics: Mapping[str, np.ndarray]

    def of_network(self, name: str) -> np.ndarray:
        """A measure of the whole network, shape (n, T): the mean over layers of a layered one."""
        values = self.metrics[name]
        return values.mean(axis=2) if values.ndim == 3 else values


def iter_blocks(
    directory: str | Path, where: Where | None = None, metrics: Collection[str] = METRICS
) -> Iterator[Block]:
    """The finished cells of a sweep, in blocks.

    What is in memory at a time are the rows of a few files (`lop_sweep.storage.reader`) and one row for each cell:
    memory grows with the cells, not with their tasks. Files without any of the wanted cells are not opened.

    Args:
        directory: a sweep directory.
        where: conditions on the cells, see `analysis.data.load.select`.
        measures: which measures are read.

    Raises:
        StoreError: it is not a sweep directory, or a file in it is damaged.
        AnalysisError: a condition cannot be met, or a cell's rows are not complete.
    """
    yield from blocks_of(select(load_cells(directory), where or {}), directory, metrics)


def blocks_of(cells: pd.DataFrame, directory: str | Path, metrics: Collection[str] = METRICS) -> Iterator[Block]:
    """As `iter_blocks`, for cells that have been loaded already."""
    store = open_store(directory)
    ids = pd.Index(cells["cell"])  # once: it makes a table of hashes when it is first asked
    left = set(ids)
    for table in iter_tasks(store, ["cell", "task", *metrics], cells["pack"].unique()):
        blocks = list(split(cells, table, ids))
        left -= {cell for block in blocks for cell in block.cells["cell"]}
        yield from blocks
    if left:
        raise AnalysisError(f"{directory}: {len(left)} finished cells have no rows; lop-sweep audit says which")


def split(cells: pd.DataFrame, tasks: pa.Table, ids: pd.Index | None = None) -> Iterator[Block]:
    """The blocks that the rows of these cells form; rows of other cells are left out.

    Args:
        cells: as `Block.cells`; each cell once.
        tasks: `cell`, `task` and measures, in any order of rows.
        ids: the column `cell` of `cells` as an index, if it is at hand.

    Raises:
        AnalysisError: a cell's rows are not complete.
    """
    encoded = tasks["cell"].combine_chunks().dictionary_encode()
    ids = pd.Index(cells["cell"]) if ids is None else ids
    known = ids.get_indexer(encoded.dictionary.to_pandas())
    cell = known[encoded.indices.to_numpy()]
    task = tasks["task"].to_numpy()
    order = np.flatnonzero(cell >= 0)
    if not _sorted(cell[order], task[order]):
        order = order[np.lexsort((task[order], cell[order]))]
    rows = np.bincount(cell[order], minlength=len(cells))
    names = [name for name in tasks.column_names if name in METRICS]
    present = np.flatnonzero(rows)
    lengths, depths = (cells[name].to_numpy()[present] for name in ("tasks", "depth"))
    if (rows[present] != lengths).any():
        raise AnalysisError(f"cell {ids[present[(rows[present] != lengths).argmax()]]}: {_INCOMPLETE}")
    for length, depth in dict.fromkeys(zip(lengths.tolist(), depths.tolist(), strict=True)):
        chosen = order[np.isin(cell[order], present[(lengths == length) & (depths == depth)])]
        block = tasks.take(chosen) if len(chosen) < len(tasks) or not _rising(chosen) else tasks
        inside = cell[chosen[::length]]  # each cell's rows are together
        in_turn = (task[chosen].reshape(-1, length) == np.arange(1, length + 1)).all(axis=1)
        if not in_turn.all():
            raise AnalysisError(f"cell {ids[inside[in_turn.argmin()]]}: {_INCOMPLETE}")
        shape = (len(inside), length)
        metrics = {name: _flat(block[name]).reshape((*shape, depth) if name in LAYERED else shape) for name in names}
        yield Block(cells.iloc[inside].reset_index(drop=True), metrics)


def _sorted(cell: np.ndarray, task: np.ndarray) -> bool:
    """Whether the rows of each cell are together, in the order of its tasks."""
    same = cell[1:] == cell[:-1]
    return bool((task[1:][same] > task[:-1][same]).all() and (~same).sum() + 1 == len(np.unique(cell)))


def _rising(positions: np.ndarray) -> bool:
    return bool((np.diff(positions) > 0).all())


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of a column, those of its lists one after the other."""
    column = column.combine_chunks()
    return (column.flatten() if pa.types.is_list(column.type) else column).to_numpy(zero_copy_only=False)
