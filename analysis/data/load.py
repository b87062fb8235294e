"""Load a sweep directory as tidy data frames, also while a sweep writes to it.

A tasks file counts once its cells file exists, which is written after it. Rows of unfinished packs are read from their
checkpoints on request.

Frames say in `attrs` where they come from: `directory`, and the conditions `where`. Both are plain values, so that
`DataFrame.to_parquet` stores them and `pandas.read_parquet` restores them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.data.fields import NO_TEXT, check_fields, format_value, plain
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import AnalysisError, comma_list
from lop_sweep.metrics import METRICS, measured_with
from lop_sweep.storage import (
    Store,
    cells_table,
    is_optional,
    iter_tasks,
    requested_cells,
    tasks_schema,
    tasks_table,
    with_columns,
)

Where = Mapping[str, Sequence[Any]]
"""Conditions on cells: field name to the values that it may have."""


def open_store(directory: str | Path) -> Store:
    """Open the store of a sweep directory.

    Raises:
        StoreError: `directory` is not a sweep directory.
    """
    store = Store(directory)
    store.check()
    return store


def load_cells(directory: str | Path, unfinished: bool = False) -> pd.DataFrame:
    """Load one row per finished cell: the columns of `lop_sweep.storage.schema.CELLS`.

    A cell that is stored twice counts once, because its rows are the same.

    Args:
        directory: a sweep directory.
        unfinished: whether to add the cells of unfinished packs that have a checkpoint. Their status is "unfinished",
            `tasks_done` is the number of their tasks, and they have no baseline yet.

    Raises:
        StoreError: `directory` is not a sweep directory, or a file in it is damaged.
    """
    store = open_store(directory)
    # Checkpoints are read first: a pack that finishes between the two reads is then seen twice, not never.
    partial = [cells_table(state.result()) for state in store.checkpoints.so_far()] if unfinished else []
    table = pa.concat_tables([store.read_cells(), *partial])
    table = table.combine_chunks()  # pandas takes rows of a column in one piece much faster
    cells = table.to_pandas().drop_duplicates("cell", ignore_index=True)
    cells.attrs["directory"] = str(directory)
    return cells


def load_requested(directory: str | Path) -> pd.DataFrame:
    """Load one row per cell of the newest request, finished or not: `cell` and the configuration fields.

    Raises:
        StoreError: `directory` is not a sweep directory, or its `sweep.json` is damaged.
    """
    cells = requested_cells(open_store(directory).read_sweep() or {})
    return pd.DataFrame([{"cell": cell.id, **dict(cell)} for cell in cells])


def load_tasks(
    directory: str | Path,
    columns: Sequence[str] | None = None,
    unfinished: bool = False,
    where: Where | None = None,
) -> pd.DataFrame:
    """Load one row per finished cell and task: the columns of `lop_sweep.storage.tasks_schema`.

    Of the optional metrics, those that any of the cells measured have columns; they are NaN in the others. Of the
    hyperparameters that are newer than the first release, those that some cell sets have columns.

    Metrics per layer are lists; `load_layers` gives them in long form. All rows are in memory at once, several kB per
    cell and hundred tasks. Leave out columns and cells, or use `iter_blocks`.

    Args:
        directory: a sweep directory.
        columns: the columns to load; None for all that were measured.
        unfinished: whether to add rows of unfinished packs, from their checkpoints. A last column, `finished`, then
            says which rows belong to finished cells.
        where: conditions on the cells, see `select`; None for all cells.

    Raises:
        StoreError: `directory` is not a sweep directory, or a file in it is damaged.
        AnalysisError: a column does not exist, or no cell fulfils a condition.
    """
    store = open_store(directory)
    known = tasks_schema().names
    unknown = [column for column in columns or () if column not in known]
    if unknown:
        raise AnalysisError(f"unknown column of tasks {comma_list(unknown)}; choose from: {comma_list(known)}")
    keys = ["cell", "task"]
    states = list(store.checkpoints.so_far()) if unfinished else []  # before the cells, see `load_cells`
    cells = select(load_cells(directory, unfinished), where or {})
    wanted = list(columns) if columns is not None else _measured_columns(cells)
    needed = list(dict.fromkeys([*keys, *wanted]))
    partial = [with_columns(tasks_table(state.result()), needed) for state in states]
    frame = _rows(iter_tasks(store, needed, cells["pack"].unique()), needed, cells)
    if not unfinished:
        return frame[wanted]
    more = _rows(partial, needed, cells)
    more = more[~more["cell"].isin(set(frame["cell"]))]
    both = pd.concat([frame.assign(finished=True), more.assign(finished=False)], ignore_index=True)
    return both[[*wanted, "finished"]]


def measured_metrics(cells: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the metrics that any of these cells measured, in the order of `METRICS`.

    Raises:
        ConfigError: a cell names a metric that this lop-sweep does not have.
    """
    return measured_with(*cells["metrics"].unique(), control=bool((cells["control_every"] > 0).any()))


def _measured_columns(cells: pd.DataFrame) -> list[str]:
    """Return the columns of tasks: metrics that were measured, and hyperparameters that some cell has set."""
    measured = measured_metrics(cells)
    return [
        name
        for name in tasks_schema().names
        if not is_optional(name) or name in measured or (name in FIELDS and (cells[name] != FIELDS[name].default).any())
    ]


def _rows(tables: Iterable[pa.Table], columns: Sequence[str], cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of these cells, each once."""
    wanted = pa.array(cells["cell"], pa.string())
    chosen = [table.filter(pc.is_in(table["cell"], value_set=wanted)) for table in tables]
    schema = tasks_schema()
    whole = pa.concat_tables([pa.schema([schema.field(name) for name in columns]).empty_table(), *chosen])
    return whole.to_pandas().drop_duplicates(["cell", "task"], ignore_index=True)


def load_layers(directory: str | Path, where: Where | None = None) -> pd.DataFrame:
    """Load one row per finished cell, task and hidden layer: `cell`, `task`, `layer` (from 0), the metrics per layer.

    A metric that was not measured is NaN.

    Args:
        directory: a sweep directory.
        where: conditions on the cells, see `select`; None for all cells.

    Raises:
        StoreError: `directory` is not a sweep directory, or a file in it is damaged.
    """
    cells = select(load_cells(directory), where or {})
    layered = [name for name in measured_metrics(cells) if METRICS[name].per_layer]
    tasks = load_tasks(directory, ["cell", "task", "depth", *layered], where=where)
    depths = tasks["depth"].to_numpy(np.int64)
    rows = np.repeat(np.arange(len(tasks)), depths)
    first = np.repeat(np.cumsum(depths) - depths, depths)
    return pd.DataFrame(
        {
            "cell": tasks["cell"].to_numpy()[rows],
            "task": tasks["task"].to_numpy()[rows],
            "layer": (np.arange(len(rows)) - first).astype(np.int32),
            **{name: np.concatenate([*_lists(tasks[name], depths), np.empty(0)]) for name in layered},
        }
    )


def _lists(column: pd.Series, depths: np.ndarray) -> list[np.ndarray]:
    """Return the lists of a column, and lists of NaN where the metric was not measured."""
    return [
        np.full(depth, np.nan) if values is None else values for values, depth in zip(column.array, depths, strict=True)
    ]


def select(frame: pd.DataFrame, where: Where, required: bool = True) -> pd.DataFrame:
    """Return the rows that fulfil all conditions, which `attrs["where"]` of the result then holds.

    A float that no cell has exactly matches those that look the same with six digits.

    Args:
        frame: any frame with the configuration fields as columns.
        where: the conditions.
        required: whether it is an error if no row fulfils them.

    Raises:
        AnalysisError: a name is not a configuration field, or no row has any of the requested values.
    """
    check_fields(where)
    for field, values in where.items():
        present = frame[field].unique()
        chosen = {match for value in values for match in _matches(present, value)}
        if required and not chosen:
            wanted, found = (comma_list(map(format_value, some)) for some in (values, sorted(present)))
            raise AnalysisError(f"no cell has {field} = {wanted}; available: {field} = {found or 'nothing'}")
        frame = frame[frame[field].isin(chosen)]
        asked = {field: [plain(value) for value in values]}
        frame.attrs = {**frame.attrs, "where": {**frame.attrs.get("where", {}), **asked}}
    return frame


def _matches(present: Any, wanted: Any) -> list[Any]:
    """Return the values that equal `wanted`, or else those that look like it when written with six digits."""
    exact = [value for value in present if value == wanted]
    similar = [value for value in present if isinstance(value, float) and format_value(value) == format_value(wanted)]
    return exact or similar


def parse_where(conditions: Sequence[str]) -> dict[str, list[Any]]:
    """Parse conditions from a command line: "depth=5", "lr=0.1,0.2" for several values, "name=text", "flag=true".

    All of "metrics=srank,test_ce" is one value, and "metrics=none" stands for cells without optional metrics.

    Raises:
        AnalysisError: a condition has another form, its field does not exist, or a value has the wrong type.
    """
    where: dict[str, list[Any]] = {}
    for condition in conditions:
        field, equals, values = (part.strip() for part in condition.partition("="))
        if not equals:
            raise AnalysisError(f"condition {condition!r} must be FIELD=VALUE or FIELD=VALUE,VALUE, like depth=5")
        check_fields([field])
        if field == "metrics":  # commas are part of its values
            where.setdefault(field, []).append(CellConfig(metrics="" if values == NO_TEXT else values).metrics)
            continue
        where.setdefault(field, []).extend(_value(field, text.strip(), condition) for text in values.split(","))
    return where


def _value(field: str, text: str, condition: str) -> Any:
    """Return a value of the field's type; whole numbers exactly, because seeds may be larger than a float holds."""
    kind = FIELDS[field].type
    if kind is str:
        return text
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise AnalysisError(f"--where {condition}: {field} must be true or false, got {text!r}")
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    raise AnalysisError(f"--where {condition}: {field} must be a number, got {text!r}")
