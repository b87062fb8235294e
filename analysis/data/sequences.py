"""Blocks of cells with their metrics as arrays over tasks, streamed from a sweep directory file by file.

n is the number of cells in a block, T their number of tasks, L their depth.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.data.load import Where, load_cells, measured_metrics, open_store, select
from lop_sweep.errors import AnalysisError
from lop_sweep.metrics import METRICS
from lop_sweep.storage import iter_tasks

_INCOMPLETE = "rows of tasks are missing, or stored twice"


@dataclass(frozen=True)
class Block:
    """Cells of one depth and one number of tasks.

    Attributes:
        cells: n rows with the columns of `lop_sweep.storage.schema.CELLS`.
        metrics: name to an array of shape (n, T), or (n, T, L) for a metric per layer. NaN where a cell has diverged,
            or the metric was not measured.
    """

    cells: pd.DataFrame
    metrics: Mapping[str, np.ndarray]

    def of_network(self, name: str) -> np.ndarray:
        """Return a metric of the whole network, shape (n, T): of a metric per layer the mean over layers."""
        values = self.metrics[name]
        return values.mean(axis=2) if values.ndim == 3 else values


def iter_blocks(
    directory: str | Path, where: Where | None = None, metrics: Collection[str] | None = None
) -> Iterator[Block]:
    """Yield the finished cells of a sweep in blocks.

    The rows of a few files (`lop_sweep.storage.reader`) and one row per cell are in memory at a time. So memory grows
    with the cells, not with their tasks. Files without any of the wanted cells are not opened.

    Args:
        directory: a sweep directory.
        where: conditions on the cells, see `select`; None for all cells.
        metrics: the metrics to read; None for all that any of the cells measured.

    Raises:
        StoreError: `directory` is not a sweep directory, or a file in it is damaged.
        AnalysisError: no cell fulfils a condition, or a cell's rows are incomplete.
    """
    yield from blocks_of(select(load_cells(directory), where or {}), directory, metrics)


def blocks_of(cells: pd.DataFrame, directory: str | Path, metrics: Collection[str] | None = None) -> Iterator[Block]:
    """Yield blocks as `iter_blocks` does, of cells that have been loaded already."""
    store = open_store(directory)
    metrics = measured_metrics(cells) if metrics is None else metrics
    ids = pd.Index(cells["cell"])  # made once, because its first lookup builds a hash table
    left = set(ids)
    for table in iter_tasks(store, ["cell", "task", *metrics], cells["pack"].unique()):
        blocks = list(split(cells, table, ids))
        left -= {cell for block in blocks for cell in block.cells["cell"]}
        yield from blocks
    if left:
        raise AnalysisError(f"{directory}: {len(left)} finished cells have no rows; lop-sweep audit names them")


def split(cells: pd.DataFrame, tasks: pa.Table, ids: pd.Index | None = None) -> Iterator[Block]:
    """Yield the rows of these cells in blocks; rows of other cells are left out.

    Args:
        cells: as `Block.cells`; each cell once.
        tasks: `cell`, `task` and metrics, in any order of rows.
        ids: the column `cell` of `cells` as an index, where the caller has one.

    Raises:
        AnalysisError: a cell's rows are incomplete.
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
        inside = cell[chosen[::length]]  # a cell's rows are adjacent
        in_turn = (task[chosen].reshape(-1, length) == np.arange(1, length + 1)).all(axis=1)
        if not in_turn.all():
            raise AnalysisError(f"cell {ids[inside[in_turn.argmin()]]}: {_INCOMPLETE}")
        shape = (len(inside), length)
        metrics = {name: _array(block[name], shape, depth) for name in names}
        yield Block(cells.iloc[inside].reset_index(drop=True), metrics)


def _sorted(cell: np.ndarray, task: np.ndarray) -> bool:
    """Return whether each cell's rows are adjacent and in the order of its tasks."""
    same = cell[1:] == cell[:-1]
    return bool((task[1:][same] > task[:-1][same]).all() and (~same).sum() + 1 == len(np.unique(cell)))


def _rising(positions: np.ndarray) -> bool:
    return bool((np.diff(positions) > 0).all())


def _array(column: pa.ChunkedArray, shape: tuple[int, int], depth: int) -> np.ndarray:
    """Return a column as an array of this shape, or (*shape, depth) if it holds lists; nulls become NaN."""
    values = column.combine_chunks()
    if not pa.types.is_list(values.type):
        return values.to_numpy(zero_copy_only=False).astype(float, copy=False).reshape(shape)
    flat = values.flatten().to_numpy(zero_copy_only=False)
    if values.null_count:
        measured = values.is_valid().to_numpy(zero_copy_only=False)
        rows = np.full((len(values), depth), np.nan)
        rows[measured] = flat.reshape(-1, depth)
        flat = rows
    return flat.reshape(*shape, depth)
