"""The columns of the store's two tables, and the rows of a finished pack.

    tasks    one row per cell and task: `cell`, `task` (from 1), the metrics, and every configuration field
    cells    one row per cell: `cell`, every configuration field, `status`, the fresh baseline, how it was computed

The schema's version is in the Parquet metadata of every file, under `VERSION_KEY`. The version of lop-sweep that wrote
the file is beside it, under `WRITER_KEY`.

The schema is additive: a new field or metric does not change its version. A column that a file lacks reads as

    a configuration field that is newer than the first release    its default
    a metric                                                      NaN: it was not measured (a list of NaN per layer)

In the tasks table, optional metrics have columns only in files of cells that measure them, and hyperparameters that are
newer than the first release only in files of cells whose components have them. In the cells table, every file has every
field. Metrics of a user's own are optional. Their columns are part of `tasks_schema` once they are registered, or
declared by the `sweep.json` of a directory.

All other columns are in every file, so a file without one is damaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lop_sweep.components import hyperparameters_of
from lop_sweep.config import FIELDS, FIRST_RELEASE, CellConfig
from lop_sweep.errors import SchemaVersionError, StoreError, another_version, comma_list, safe_repr
from lop_sweep.metrics import METRICS
from lop_sweep.registry import is_recorded, own_component
from lop_sweep.version import __version__

SCHEMA_VERSION = 1
VERSION_KEY = b"lop_sweep_schema"
WRITER_KEY = b"lop_sweep_version"

FINISHED, DIVERGED = "finished", "diverged"
"""The two values of `status`: all numbers of the sequence are finite, or they are NaN from task `diverged_at` on."""

UNFINISHED = "unfinished"
"""The status of cells whose rows were read from a checkpoint; no file holds it."""

NUMERICS: tuple[str, ...] = (
    "engine", "dtype", "device", "blas", "host", "machine",
    "python_version", "numpy_version", "torch_version", "lop_sweep_version",
)  # fmt: skip
"""String columns of the cells table that say how a cell was computed."""

_LAYERS = pa.list_(pa.float64())
_ARROW_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
_CONFIG_FIELDS = [pa.field(name, _ARROW_TYPES[info.type], nullable=False) for name, info in FIELDS.items()]
_VALUE_BYTES = 8
_MAX_NAMES = 5
_METADATA = {VERSION_KEY: str(SCHEMA_VERSION).encode()}


def _tasks_schema(metrics: Iterable[str]) -> pa.Schema:
    return pa.schema(
        [
            pa.field("cell", pa.string(), nullable=False),
            pa.field("task", pa.int32(), nullable=False),
            *(pa.field(name, _LAYERS if METRICS[name].per_layer else pa.float64(), nullable=False) for name in metrics),
            *_CONFIG_FIELDS,
        ],
        metadata=_METADATA,
    )


_BUILT_IN = [name for name in METRICS if not (own_component("metric", name) or is_recorded("metric", name))]

TASKS = _tasks_schema(_BUILT_IN)
"""Without metrics of a user's own."""

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
    """The results of a pack of P cells, finished or not.

    Attributes:
        pack: the pack's id.
        cells: the P configurations.
        history: metric name to (tasks, P), or (tasks, P, depth) for metrics per layer. If the pack is finished, these
            are all tasks of the sequence.
        fresh_ce: (P, fresh_baseline); (P, 0) if it is not finished.
        diverged_at: (P,) the task, from 1, at which each cell diverged; 0 for cells that have not.
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


def tasks_schema() -> pa.Schema:
    """Return the columns of tasks, with those of the metrics of a user's own that are known by now."""
    own = [name for name in METRICS if name not in TASKS.names]
    return _tasks_schema([*_BUILT_IN, *own]) if own else TASKS


def tasks_table(result: PackResult) -> pa.Table:
    """Return the pack's rows of `tasks_schema`: all tasks of the first cell, then of the second, and so on.

    It has the columns of the metrics in the pack's history and of the hyperparameters that its components have.
    """
    tasks, cells = result.history["min_ce"].shape
    columns: dict[str, object] = {
        "cell": np.repeat([cell.id for cell in result.cells], tasks),
        "task": np.tile(np.arange(1, tasks + 1), cells),
    }
    for name, values in result.history.items():
        by_cell = np.moveaxis(values, 0, 1)
        columns[name] = by_cell.reshape(-1) if values.ndim == 2 else _lists(by_cell.reshape(tasks * cells, -1))
    used = hyperparameters_of(result.cells[0])
    for name in FIELDS:
        if name in used or not is_optional(name):
            columns[name] = np.repeat([getattr(cell, name) for cell in result.cells], tasks)
    return _table(columns, tasks_schema())


def cells_table(result: PackResult) -> pa.Table:
    """Return the pack's rows of `CELLS`, in the order of its cells."""
    cells = len(result.cells)
    columns: dict[str, object] = {"cell": [cell.id for cell in result.cells]}
    for name in FIELDS:
        columns[name] = [getattr(cell, name) for cell in result.cells]
    undefined = np.full(cells, np.nan)
    columns |= {
        "status": [_status(result.finished, task) for task in result.diverged_at],
        "tasks_done": np.full(cells, len(result.history["min_ce"])),
        "diverged_at": [int(task) or None for task in result.diverged_at],
        "fresh_ce": _lists(result.fresh_ce),
        "fresh_mean_ce": result.fresh_ce.mean(axis=1) if result.fresh_ce.size else undefined,
        "fresh_median_ce": np.median(result.fresh_ce, axis=1) if result.fresh_ce.size else undefined,
        "pack": [result.pack] * cells,
        "seconds": result.seconds,
    }
    columns |= {name: [result.numerics[name]] * cells for name in NUMERICS}
    return _table(columns, CELLS)


def has_default(column: str) -> bool:
    """Return whether a file may lack a column: a metric, or a field that is newer than the first release."""
    return column in METRICS or (column in FIELDS and FIELDS[column].since != FIRST_RELEASE)


def is_optional(column: str) -> bool:
    """Return whether only files of some cells have a column of the tasks table."""
    if column in METRICS:
        return METRICS[column].optional
    return column in FIELDS and bool(FIELDS[column].of) and FIELDS[column].since != FIRST_RELEASE


def columns_for(missing: Sequence[str]) -> list[str]:
    """Return the columns that `missing_column` needs for these columns; none if none is missing."""
    return ["cell", "depth"] if missing else []


def filled_bytes(missing: Sequence[str], rows: pa.Table) -> int:
    """Return about what `missing_column` takes in memory for these columns, in bytes.

    Args:
        missing: names of columns.
        rows: with `columns_for(missing)`.

    Raises:
        ValueError: a depth is negative.
    """
    if not missing:
        return 0
    depths = rows["depth"].to_numpy()
    if (depths < 0).any():
        raise ValueError("its column depth has negative numbers")
    lists = sum(name in METRICS and METRICS[name].per_layer for name in missing)
    return _VALUE_BYTES * (lists * int(depths.sum(dtype=object) or 0) + len(missing) * len(rows))


def missing_column(name: str, rows: pa.Table) -> pa.Array:
    """Return the values of a column that a file lacks.

    Args:
        name: of the column; `has_default` holds for it.
        rows: the file's rows, with `columns_for([name])`.
    """
    if name in FIELDS:
        return pa.repeat(pa.scalar(FIELDS[name].default, _ARROW_TYPES[FIELDS[name].type]), len(rows))
    if not METRICS[name].per_layer:
        return pa.array(np.full(len(rows), np.nan))
    depths = rows["depth"].to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(depths)]), type=pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(np.full(int(depths.sum()), np.nan)))


def with_columns(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return these columns of a table of tasks. Those for which `has_default` holds are filled if it lacks them."""
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(tasks_schema().field(name), missing_column(name, table))
    return table.select(list(columns))


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


def refuse_newer(where: object, names: Iterable[str], writer: object) -> None:
    """Refuse fields and metrics that this lop-sweep does not know, if another version wrote them.

    Args:
        where: the file that has them, for the message.
        names: of fields and metrics.
        writer: the version of lop-sweep that wrote the file; not a string if the file does not name it.

    Raises:
        SchemaVersionError: a name is unknown, and the writer is another version.
    """
    unknown = [name for name in names if name not in FIELDS and name not in METRICS]
    if unknown and isinstance(writer, str) and writer != __version__:
        shown = comma_list(safe_repr(name)[:40] for name in unknown[:_MAX_NAMES])
        raise SchemaVersionError(
            f"{where}: has fields or metrics that this lop-sweep, {__version__}, does not know: {shown}; "
            f"use lop-sweep {safe_repr(writer)[:40]}, or move the file out of the directory"
        )


def _table(columns: Mapping[str, object], schema: pa.Schema) -> pa.Table:
    present = pa.schema([field for field in schema if field.name in columns], schema.metadata)
    return pa.table([pa.array(columns[field.name], type=field.type) for field in present], schema=present)


def _lists(rows: np.ndarray) -> pa.Array:
    """Return an array of (rows, k) as a list column, with one list of k values per row."""
    count, length = rows.shape
    offsets = pa.array(np.arange(count + 1) * length, type=pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(rows).reshape(-1), type=pa.float64()))
