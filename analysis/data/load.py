"""From a sweep directory to tidy data frames, also while a sweep writes to it.

A tasks file counts once its cells file, which is written after it, is there. Rows of unfinished packs are in their
checkpoints, and are read on request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list
from lop_sweep.metrics import LAYERED
from lop_sweep.storage import TASKS, Store, cells_table, iter_tasks, requested_cells, tasks_table

Where = Mapping[str, Sequence[Any]]
"""Conditions: field name to the values that it may have."""


def open_store(directory: str | Path) -> Store:
    """The store of a sweep directory.

    Raises:
        StoreError: it is not one.
    """
    store = Store(directory)
    store.check()
    return store


def load_cells(directory: str | Path, unfinished: bool = False) -> pd.DataFrame:
    """One row per finished cell: the columns of `lop_sweep.storage.schema.CELLS`.

    A cell that is there twice counts once; its rows are the same.

    Args:
        directory: a sweep directory.
        unfinished: whether to add the cells of unfinished packs that have a checkpoint; their status is "unfinished",
            `tasks_done` says how far they are, and they have no baseline yet.

    Raises:
        StoreError: it is not one, or a file in it is damaged.
    """
    store = open_store(directory)
    # First what is unfinished: a pack that is finished between the two looks is then seen twice, not never.
    so_far = [cells_table(state.result()) for state in store.checkpoints.so_far()] if unfinished else []
    table = pa.concat_tables([store.read_cells(), *so_far])
    return table.to_pandas().drop_duplicates("cell", ignore_index=True)


def load_requested(directory: str | Path) -> pd.DataFrame:
    """One row per cell that the sweep asked for last, finished or not: `cell` and the configuration fields.

    Raises:
        StoreError: `directory` is not a sweep directory, or its `sweep.json` is damaged.
    """
    cells = requested_cells(open_store(directory).read_sweep() or {})
    return pd.DataFrame([{"cell": cell.id, **cell.model_dump()} for cell in cells])


def load_tasks(
    directory: str | Path,
    columns: Sequence[str] | None = None,
    unfinished: bool = False,
    where: Where | None = None,
) -> pd.DataFrame:
    """One row per finished cell and task: the columns of `lop_sweep.storage.schema.TASKS`.

    The measures of each layer are lists; `load_layers` gives them in long form. All rows are in memory at once, several
    kB a cell and a hundred tasks: leave out columns and cells, or take `analysis.data.sequences.iter_blocks`.

    Args:
        directory: a sweep directory.
        columns: which columns; None for all.
        where: conditions on the cells, see `select`; None for all.
        unfinished: whether to add the rows so far of unfinished packs, from their checkpoints. A last column,
            `finished`, then says which rows are of finished cells.

    Raises:
        StoreError: it is not a sweep directory, or a file in it is damaged.
        AnalysisError: a column does not exist, or a condition cannot be met.
    """
    store = open_store(directory)
    unknown = [column for column in columns or () if column not in TASKS.names]
    if unknown:
        raise AnalysisError(f"no such column of tasks: {comma_list(unknown)}; there are {comma_list(TASKS.names)}")
    keys = ["cell", "task"]
    wanted = list(columns) if columns is not None else TASKS.names
    needed = list(dict.fromkeys([*keys, *wanted]))
    so_far = [tasks_table(state.result()).select(needed) for state in store.checkpoints.so_far()] if unfinished else []
    cells = select(load_cells(directory, unfinished), where or {})
    frame = _rows(iter_tasks(store, needed, cells["pack"].unique()), needed, cells)
    if not unfinished:
        return frame[wanted]
    more = _rows(so_far, needed, cells)
    more = more[~more["cell"].isin(set(frame["cell"]))]
    both = pd.concat([frame.assign(finished=True), more.assign(finished=False)], ignore_index=True)
    return both[[*wanted, "finished"]]


def _rows(tables: Iterable[pa.Table], columns: Sequence[str], cells: pd.DataFrame) -> pd.DataFrame:
    """The rows of these cells, each once."""
    wanted = pa.array(cells["cell"], pa.string())
    chosen = [table.filter(pc.is_in(table["cell"], value_set=wanted)) for table in tables]
    whole = pa.concat_tables([pa.schema([TASKS.field(name) for name in columns]).empty_table(), *chosen])
    return whole.to_pandas().drop_duplicates(["cell", "task"], ignore_index=True)


def load_layers(directory: str | Path, where: Where | None = None) -> pd.DataFrame:
    """One row per finished cell, task and hidden layer: `cell`, `task`, `layer` (from 0) and the layered measures.

    Args:
        directory: a sweep directory.
        where: conditions on the cells, see `select`; None for all.

    Raises:
        StoreError: `directory` is not a sweep directory, or a file in it is damaged.
    """
    tasks = load_tasks(directory, ["cell", "task", *LAYERED], where=where)
    depths = tasks[LAYERED[0]].map(len).to_numpy(dtype=np.int64)
    rows = np.repeat(np.arange(len(tasks)), depths)
    first = np.repeat(np.cumsum(depths) - depths, depths)
    return pd.DataFrame(
        {
            "cell": tasks["cell"].to_numpy()[rows],
            "task": tasks["task"].to_numpy()[rows],
            "layer": (np.arange(len(rows)) - first).astype(np.int32),
            **{name: np.concatenate([*tasks[name], np.empty(0)]) for name in LAYERED},
        }
    )


def select(frame: pd.DataFrame, where: Where, required: bool = True) -> pd.DataFrame:
    """The rows that fulfil all conditions. A float that no cell has exactly matches what looks like it in six digits.

    Args:
        frame: with the configuration fields as columns.
        where: the conditions.
        required: whether it is an error if no row fulfils them.

    Raises:
        AnalysisError: a name is no configuration field, or no row has any of the values asked for.
    """
    for field, values in where.items():
        if field not in FIELDS:
            raise AnalysisError(f"{field!r} is no configuration field; there are {comma_list(FIELDS)}")
        present = frame[field].unique()
        chosen = {match for value in values for match in _matches(present, value)}
        if required and not chosen:
            there = comma_list(f"{value:g}" for value in sorted(present)) or "nothing"
            raise AnalysisError(f"no cell has {field} = {comma_list(map(str, values))}; there is {field} = {there}")
        frame = frame[frame[field].isin(chosen)]
    return frame


def _matches(present: np.ndarray, wanted: int | float) -> list[Any]:
    """The values that equal `wanted`; if none does, those that look like it when written with six digits."""
    exact = [value for value in present if value == wanted]
    return exact or [value for value in present if isinstance(value, float) and f"{value:g}" == f"{wanted:g}"]


def varying_fields(cells: pd.DataFrame) -> list[str]:
    """The configuration fields in which cells differ, without the seed, those of the grid first to last."""
    return [field for field in FIELDS if field != "seed" and cells[field].nunique() > 1]


def shared_configuration(cells: pd.DataFrame, without: Collection[str] = ()) -> str:
    """The main fields in which all cells agree, as text for a title or caption; not those in `without`."""
    main = ("depth", "width", "lr", "delta", "sigma", "steps", "tasks")
    return comma_list(
        f"{field} = {cells[field].iloc[0]:g}" for field in main if field not in without and cells[field].nunique() == 1
    )


def seed_count(seeds: Collection[int]) -> str:
    """Numbers of seeds for a caption: "3", or "2 to 3" where they differ."""
    return " to ".join(str(count) for count in dict.fromkeys([min(seeds), max(seeds)]))


def parse_where(conditions: Sequence[str]) -> dict[str, list[int | float]]:
    """Conditions from a command line: "depth=5", or "lr=0.1,0.2" for several values.

    Raises:
        AnalysisError: one is not of that form.
    """
    where: dict[str, list[int | float]] = {}
    for condition in conditions:
        field, equals, values = condition.partition("=")
        if not equals:
            raise AnalysisError(f"{condition!r} is no condition; write FIELD=VALUE or FIELD=VALUE,VALUE, like depth=5")
        where.setdefault(field.strip(), []).extend(_value(text, condition) for text in values.split(","))
    return where


def _value(text: str, condition: str) -> int | float:
    """A whole number exactly: seeds may be larger than what a float holds."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    raise AnalysisError(f"--where {condition}: {text!r} is no number")
