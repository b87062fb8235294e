"""Check the rows of a segment, a tasks table and its cells table: pure functions that name what is wrong.

A metric is NaN from the task on at which its cell diverged. A metric that is newer than the first release may also be
NaN in the first tasks of a cell: an earlier lop-sweep computed them and did not measure it. An optional metric is NaN
in all cells that do not name it, and an accuracy in all cells whose task stream has no classes. A metric of control
networks may be NaN anywhere, because they may diverge, and is in tasks without a control.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lop_sweep.components import TaskStream
from lop_sweep.config import FIELDS, FIRST_RELEASE, CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.metrics import METRICS, measured
from lop_sweep.pack import Pack
from lop_sweep.registry import component, components
from lop_sweep.storage.schema import DIVERGED, FINISHED

_ROUNDING = 1e-6


def problems(tasks: pa.Table, cells: pa.Table, packs: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with the rows of a segment.

    Args:
        tasks: in the schema `tasks_schema()`.
        cells: in the schema `CELLS`.
        packs: ids of the packs that the files should hold.
    """
    frame = cells.to_pandas()
    if frame["cell"].duplicated().any():
        yield f"{_first(frame.loc[frame['cell'].duplicated(), 'cell'])} is there more than once"
        return
    configs: dict[str, CellConfig] = {}
    for row in cells.select(["cell", *FIELDS]).to_pylist():
        cell = row.pop("cell")
        try:
            configs[cell] = CellConfig(**row)
            measured(configs[cell])
        except ConfigError as error:
            yield f"cell {cell} has an impossible configuration: {error}"
            return
    yield from _pack_problems(cells, configs, packs)
    for row in cells.to_pylist():
        yield from _cell_problems(row, configs[row["cell"]])
    yield from _task_problems(tasks, frame.set_index("cell"), configs)


def _pack_problems(cells: pa.Table, configs: dict[str, CellConfig], packs: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with the ids of cells and packs."""
    wrong = [cell for cell, config in configs.items() if config.id != cell]
    if wrong:
        yield f"the id of {_first(wrong)} does not fit its configuration"
    members: dict[str, list[CellConfig]] = {}
    for row in cells.select(["cell", "pack"]).to_pylist():
        members.setdefault(row["pack"], []).append(configs[row["cell"]])
    for pack, members_of in members.items():
        if pack != Pack(tuple(members_of)).id:
            yield f"the cells of pack {pack} are not those that its id stands for"
    if set(members) != set(packs):
        yield "it does not hold the packs that it should"


def _cell_problems(row: dict[str, Any], config: CellConfig) -> Iterator[str]:
    """Yield what is wrong with a row of the cells table."""
    fresh = np.array(row["fresh_ce"], dtype=float)
    mean, median = (float(fresh.mean()), float(np.median(fresh))) if fresh.size else (np.nan, np.nan)
    at = row["diverged_at"]
    checks = {
        "tasks_done": row["tasks_done"] == config.tasks,
        "diverged_at": at is None or 1 <= at <= config.tasks,
        "status": row["status"] == (FINISHED if at is None else DIVERGED),
        "fresh_ce": len(fresh) == config.fresh_baseline and not (fresh < 0).any() and not np.isinf(fresh).any(),
        "fresh_mean_ce": _equal(row["fresh_mean_ce"], mean),
        "fresh_median_ce": _equal(row["fresh_median_ce"], median),
        "seconds": row["seconds"] >= 0,
    }
    for name, holds in checks.items():
        if not holds:
            yield f"{name} of cell {row['cell']} cannot be right"


def _task_problems(table: pa.Table, cells: pd.DataFrame, configs: dict[str, CellConfig]) -> Iterator[str]:
    """Yield what is wrong with the rows of the tasks table."""
    keys = pd.DataFrame({"cell": table["cell"].to_pandas(), "task": table["task"].to_numpy()})
    names = keys["cell"]
    unknown = set(names) - set(configs)
    if unknown:
        yield f"it has rows of {_first(unknown)}, which its cells file does not name"
        return
    wrong = _cells_without_each_task_once(keys, {cell: config.tasks for cell, config in configs.items()})
    if wrong:
        yield f"{_first(wrong)} does not have each of its tasks once"
        return
    for field in FIELDS:
        if not np.array_equal(table[field].to_numpy(), cells[field].reindex(names).to_numpy()):
            yield f"{field} differs from the cells file"
    diverged_at = cells["diverged_at"].reindex(names).to_numpy(dtype=float)
    diverged = keys["task"].to_numpy() >= np.where(np.isnan(diverged_at), np.inf, diverged_at)
    for name in METRICS:
        yield from _metric_problems(name, table[name], keys, diverged, configs)
    if (table["min_ce"].to_numpy() > table["final_ce"].to_numpy()).any():
        yield "min_ce is larger than final_ce"


def _cells_without_each_task_once(keys: pd.DataFrame, lengths: dict[str, int]) -> list[str]:
    counts = keys["cell"].value_counts()
    incomplete = [cell for cell, length in lengths.items() if counts.get(cell, 0) != length]
    beyond = (keys["task"] < 1) | (keys["task"] > keys["cell"].map(lengths))
    return incomplete or list(keys["cell"][keys.duplicated() | beyond])


def _metric_problems(
    name: str, column: pa.ChunkedArray, keys: pd.DataFrame, diverged: np.ndarray, configs: dict[str, CellConfig]
) -> Iterator[str]:
    """Yield what is wrong with a metric.

    Args:
        name: of the metric.
        column: its values, one per row or one list per row.
        keys: `cell` and `task` of each row.
        diverged: whether each row's cell has diverged by then.
        configs: the configuration of each cell.
    """
    metric = METRICS[name]
    depths = keys["cell"].map({cell: config.depth for cell, config in configs.items()}).to_numpy()
    values = _padded(column, depths) if metric.per_layer else column.to_numpy()[:, None]
    if values is None:
        yield f"{name} does not have one value per layer in every row"
        return
    undefined = diverged
    if metric.optional:
        asked = {cell: name in measured(config) for cell, config in configs.items()}
        undefined = diverged | ~keys["cell"].map(asked).to_numpy(dtype=bool) | _unusual(values, keys)
        if metric.of_classes:
            without = {cell: not _has_classes(config) for cell, config in configs.items()}
            undefined |= keys["cell"].map(without).to_numpy(dtype=bool)
        if metric.of_control:
            every = (
                keys["cell"].map({cell: config.control_every or 1 for cell, config in configs.items()}).to_numpy(int)
            )
            undefined |= (keys["task"].to_numpy() % every != 0) | np.isnan(values).all(axis=1)
    elif metric.since != FIRST_RELEASE:
        undefined = diverged | _before_first_measured(values, keys)
    if np.isinf(values).any() or (np.isnan(values) != undefined[:, None]).any():
        yield f"{name} is undefined where the cell has not diverged, or defined where it has"
    bounds = {cell: metric.bounds(config) for cell, config in configs.items()}
    lowest, highest = (keys["cell"].map({cell: both[end] for cell, both in bounds.items()}) for end in (0, 1))
    low, high = lowest.to_numpy(dtype=float)[:, None], highest.to_numpy(dtype=float)[:, None]
    if ((values < low - _ROUNDING) | (values > high + _ROUNDING)).any():
        yield f"{name} is out of range"


def _has_classes(config: CellConfig) -> bool:
    """Return whether a cell's targets are classes, as those of a stream that is not registered here may be."""
    stream: TaskStream | None = components("stream").get(config.stream)
    return stream is None or component("loss", stream.loss).has_classes


def _unusual(values: np.ndarray, keys: pd.DataFrame) -> np.ndarray:
    """Return which rows are NaN of cells that have other values: (rows,). An optional metric alone may overflow."""
    missing = np.isnan(values).all(axis=1)
    return missing & ~pd.Series(missing).groupby(keys["cell"].to_numpy()).transform("all").to_numpy()


def _before_first_measured(values: np.ndarray, keys: pd.DataFrame) -> np.ndarray:
    """Return which rows come before the first task of their cell in which a metric has a value: (rows,)."""
    measured = keys["task"].where(~np.isnan(values).all(axis=1))
    first = measured.groupby(keys["cell"]).transform("min")
    return (keys["task"] < first.fillna(np.inf)).to_numpy()


def _padded(column: pa.ChunkedArray, depths: np.ndarray) -> np.ndarray | None:
    """Return lists of different lengths as one array, each padded with its first value; None if a length is wrong."""
    lists = column.combine_chunks()
    offsets = np.asarray(lists.offsets)
    lengths = np.diff(offsets)
    if not np.array_equal(lengths, depths):
        return None
    values = np.asarray(lists.values)
    index = np.arange(int(depths.max(initial=1)))[None, :]
    return values[offsets[:-1, None] + np.where(index < depths[:, None], index, 0)] if len(values) else None


def _equal(a: float, b: float) -> bool:
    return bool(a == b or (np.isnan(a) and np.isnan(b)))


def _first(cells: Iterable[str]) -> str:
    """Return the first of some cells, and how many more there are, for a message."""
    listed = list(dict.fromkeys(cells))
    more = f" and {len(listed) - 1} more" if len(listed) > 1 else ""
    return f"cell {listed[0]}{more}"
