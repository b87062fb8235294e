"""The columns of the store's two tables, and how a finished pack becomes one of each.

    tasks    one row per cell and task: `cell`, `task` (from 1), the measures, and every configuration field
    cells    one row per cell: `cell`, every configuration field, `status`, the fresh baseline, how it was computed

The schema's version travels in the Parquet metadata of every file, under `VERSION_KEY`, and beside it the version of
lop-sweep that wrote the file, under `WRITER_KEY`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import StoreError, another_version
from lop_sweep.metrics import METRICS

SCHEMA_VERSION = 1
VERSION_KEY = b"lop_sweep_schema"
WRITER_KEY = b"lop_sweep_version"

FINISHED, DIVERGED = "finished", "diverged"
"""The two values of `status`: the whole sequence has finite numbers, or NaN from task `diverged_at` on."""

UNFINISHED = "unfinished"
"""The status of cells whose rows so far were read from a checkpoint; no file holds it."""

NUMERICS: tuple[str, ...] = (
    "engine", "dtype", "device", "blas", "host", "machine",
    "python_version", "numpy_version", "torch_version", "lop_sweep_version",
)  # fmt: skip
"""How a cell was computed: string columns of the cells table."""

_LAYERS = pa.list_(pa.float64())
_ARROW_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
_CONFIG_FIELDS = [pa.field(name, _ARROW_TYPES[info.type], nullable=False) for name, info in FIELDS.items()]
_METADATA = {VERSION_KEY: str(SCHEMA_VERSION).encode()}

TASKS = pa.schema(
    [
        pa.field("cell", pa.string(), nullable=False),
        pa.field("task", pa.int32(), nullable=False),
        *(
            pa.field(name, _LAYERS if metric.per_layer else pa.float64(), nullable=False)
            for name, metric in METRICS.items()
        ),
        *_CONFIG_FIELDS,
    ],
    metadata=_METADATA,
)

CELLS = pa.schema(
    [
        pa.field("cell", pa.string(), nullable=False),
        *_CONFIG_FIELDS,
        pa.field("status", pa.string(), nullable=False),
        pa.field("tasks_done", pa.int32(), nullable=False),
        pa.field("diverged_at", pa.int32()),
        pa.field("fresh_ce", _LAYERS, nullable=False),
        pa.field("fresh_mean_ce", pa.float64(), nullable=False),
        pa.field("fresh_median_ce", pa.float64(), nullable=False),
        pa.field("pack", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in NUMERICS),
    ],
    metadata=_METADATA,
)


@dataclass(frozen=True)
class PackResult:
    """Everything that a pack of P cells leaves behind, or has to show so far.

    Attributes:
        pack: the pack's id.
        cells: the P configurations.
        history: measure name to (tasks, P), or (tasks, P, depth) for the layered ones; all tasks of the sequence, if it
            is finished.
        fresh_ce: (P, fresh_baseline), nats; (P, 0) if it is not finished.
        diverged_at: (P,) the task, from 1, at which each cell diverged; 0 for those that have not.
        seconds: (P,) time that each cell took.
        numerics: a value for each of `NUMERICS`.
        finished: whether the sequence and the baseline are complete.
    """

    pack: str
    cells: Sequence[CellConfig]
    history: Mapping[str, np.ndarray]
    fresh_ce: np.ndarray
    diverged_at: np.ndarray
    seconds: np.ndarray
    numerics: Mapping[str, str]
    finished: bool = True


def tasks_table(result: PackResult) -> pa.Table:
    """The pack's rows of `TASKS`: all tasks of the first cell, then of the second, and so on."""
    tasks, cells = result.history["min_ce"].shape
    columns: dict[str, object] = {
        "cell": np.repeat([cell.id for cell in result.cells], tasks),
        "task": np.tile(np.arange(1, tasks + 1), cells),
    }
    for name, values in result.history.items():
        by_cell = np.moveaxis(values, 0, 1)
        columns[name] = by_cell.reshape(-1) if values.ndim == 2 else _lists(by_cell.reshape(tasks * cells, -1))
    for name in FIELDS:
        columns[name] = np.repeat([getattr(cell, name) for cell in result.cells], tasks)
    return _table(columns, TASKS)


def cells_table(result: PackResult) -> pa.Table:
    """The pack's rows of `CELLS`, in the order of its cells."""
    cells = len(result.cells)
    columns: dict[str, object] = {"cell": [cell.id for cell in result.cells]}
    for name in FIELDS:
        columns[name] = [getattr(cell, name) for cell in result.cells]
    nothing = np.full(cells, np.nan)
    columns |= {
        "status": [_status(result.finished, task) for task in result.diverged_at],
        "tasks_done": np.full(cells, len(result.history["min_ce"])),
        "diverged_at": [int(task) or None for task in result.diverged_at],
        "fresh_ce": _lists(result.fresh_ce),
        "fresh_mean_ce": result.fresh_ce.mean(axis=1) if result.fresh_ce.size else nothing,
        "fresh_median_ce": np.median(result.fresh_ce, axis=1) if result.fresh_ce.size else nothing,
        "pack": [result.pack] * cells,
        "seconds": result.seconds,
    }
    columns |= {name: [result.numerics[name]] * cells for name in NUMERICS}
    return _table(columns, CELLS)


def _status(finished: bool, diverged_at: int) -> str:
    if not finished:
        return UNFINISHED
    return DIVERGED if diverged_at else FINISHED


def check_version(metadata: Mapping[bytes, bytes], where: object) -> None:
    """Refuse a file that another version of the schema wrote, or that lop-sweep did not write.

    Args:
        metadata: the key-value metadata of the file.
        where: the file, for the message.

    Raises:
        SchemaVersionError: it was written with another version of the schema.
        StoreError: it has no schema version.
    """
    found = metadata.get(VERSION_KEY)
    if found is None:
        raise StoreError(f"{where}: has no schema version: it was not written by lop-sweep")
    if found != str(SCHEMA_VERSION).encode():
        number, writer = found.decode(errors="replace"), metadata.get(WRITER_KEY, b"").decode(errors="replace")
        raise another_version(where, int(number) if number.isdecimal() else number, SCHEMA_VERSION, writer)


def _table(columns: Mapping[str, object], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)


def _lists(rows: np.ndarray) -> pa.Array:
    """An array of (rows, k) as a list column, one list of k values a row."""
    count, length = rows.shape
    offsets = pa.array(np.arange(count + 1) * length, type=pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(rows).reshape(-1), type=pa.float64()))
