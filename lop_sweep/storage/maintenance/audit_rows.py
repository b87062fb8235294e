"""What must hold within a pair of files, a tasks table and its cells table: pure functions that name what does not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.metrics import LAYERED, METRICS
from lop_sweep.pack import Pack
from lop_sweep.storage.schema import DIVERGED, FINISHED

_ROUNDING = 1e-6


def problems(tasks: pa.Table, cells: pa.Table, packs: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the rows of a pair of files.

    Args:
        tasks: in the schema `TASKS`.
        cells: in the schema `CELLS`.
        packs: the packs that the files should hold.
    """
    frame = cells.to_pandas()
    if frame["cell"].duplicated().any():
        yield f"{_some(frame.loc[frame['cell'].duplicated(), 'cell'])} is there more than once"
        return
    configs: dict[str, CellConfig] = {}
    for row in cells.select(["cell", *FIELDS]).to_pylist():
        cell = row.pop("cell")
        try:
            configs[cell] = CellConfig(**row)
        except ConfigError as error:
            yield f"cell {cell} has an impossible configuration: {error}"
            return
    yield from _cell_problems(cells, configs, packs)
    yield from _task_problems(tasks, frame.set_index("cell"), configs)


def _cell_problems(table: pa.Table, configs: dict[str, CellConfig], packs: tuple[str, ...]) -> Iterator[str]:
    wrong = [cell for cell, config in configs.items() if config.id != cell]
    if wrong:
        yield f"the id of {_some(wrong)} does not fit its configuration"
    rows = table.to_pylist()
    members: dict[str, list[CellConfig]] = {}
    for row in rows:
        members.setdefault(row["pack"], []).append(configs[row["cell"]])
    for pack, cells in members.items():
        if pack != Pack(tuple(cells)).id:
            yield f"the cells of pack {pack} are not those that its id stands for"
    if set(members) != set(packs):
        yield "it does not hold the packs that it should"
    for row in rows:
        config = configs[row["cell"]]
        fresh = np.array(row["fresh_ce"], dtype=float)
        means = (float(fresh.mean()), float(np.median(fresh))) if fresh.size else (np.nan, np.nan)
        at = row["diverged_at"]
        checks = {
            "tasks_done": row["tasks_done"] == config.tasks,
            "diverged_at": at is None or 1 <= at <= config.tasks,
            "status": row["status"] == (FINISHED if at is None else DIVERGED),
            "fresh_ce": len(fresh) == config.fresh_baseline and not (fresh < 0).any() and not np.isinf(fresh).any(),
            "fresh_mean_ce": _equal(row["fresh_mean_ce"], means[0]),
            "fresh_median_ce": _equal(row["fresh_median_ce"], means[1]),
            "seconds": row["seconds"] >= 0,
        }
        for name, holds in checks.items():
            if not holds:
                yield f"{name} of cell {row['cell']} cannot be right"


def _task_problems(table: pa.Table, cells: pd.DataFrame, configs: dict[str, CellConfig]) -> Iterator[str]:
    names = table["cell"].to_pandas()
    unknown = set(names) - set(configs)
    if unknown:
        yield f"it has rows of {_some(unknown)}, which its cells file does not name"
        return
    tasks = table["task"].to_numpy()
    lengths = {cell: config.tasks for cell, config in configs.items()}
    counts = names.value_counts()
    incomplete = [cell for cell, length in lengths.items() if counts.get(cell, 0) != length]
    keys = pd.DataFrame({"cell": names, "task": tasks})
    beyond = (tasks < 1) | (tasks > names.map(lengths).to_numpy())
    if incomplete or keys.duplicated().any() or beyond.any():
        which = incomplete or names[keys.duplicated().to_numpy() | beyond]
        yield f"{_some(which)} does not have each of its tasks once"
        return
    for field in FIELDS:
        if not np.array_equal(table[field].to_numpy(), cells[field].reindex(names).to_numpy()):
            yield f"{field} differs from the cells file"
    diverged_at = cells["diverged_at"].reindex(names).to_numpy(dtype=float)
    lost = tasks >= np.where(np.isnan(diverged_at), np.inf, diverged_at)
    for name, (values, lowest, highest) in _measures(table, names, configs).items():
        if values is None:
            yield f"{name} does not have one value a layer in every row"
            continue
        finite, nan = np.isfinite(values), np.isnan(values)
        layers = values.shape[1]
        expected = np.repeat(lost[:, None], layers, axis=1)
        if not (nan == expected).all() or not (finite | nan).all():
            yield f"{name} is undefined where the cell has not diverged, or defined where it has"
        if ((values < lowest - _ROUNDING) | (values > highest + _ROUNDING)).any():
            yield f"{name} is out of range"
    if (table["min_ce"].to_numpy() > table["final_ce"].to_numpy()).any():
        yield "min_ce is larger than final_ce"


def _measures(
    table: pa.Table, names: pd.Series, configs: dict[str, CellConfig]
) -> dict[str, tuple[np.ndarray | None, np.ndarray | float, np.ndarray | float]]:
    """Every measure as (rows, layers), padded with its first layer, and its range; None where layers are missing."""
    depths = names.map({cell: config.depth for cell, config in configs.items()}).to_numpy()
    ranks = names.map({cell: min(config.samples - 1, config.width) for cell, config in configs.items()}).to_numpy()
    highest: dict[str, float | np.ndarray] = {
        "saturation": 1.0,
        "duplicate_fraction": 1.0,
        "effective_rank": np.fmax(ranks, 1)[:, None],
    }
    found: dict[str, tuple[np.ndarray | None, np.ndarray | float, np.ndarray | float]] = {}
    for name in METRICS:
        lowest = 1.0 if name == "effective_rank" else 0.0
        values = _padded(table[name], depths) if name in LAYERED else table[name].to_numpy()[:, None]
        found[name] = (values, lowest, highest.get(name, np.inf))
    return found


def _padded(column: pa.ChunkedArray, depths: np.ndarray) -> np.ndarray | None:
    """Lists of different lengths as one array, each filled up with its first value; None if a length is wrong."""
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


def _some(cells: object) -> str:
    """The first of some cells, and how many more there are."""
    listed = list(dict.fromkeys(cells))  # type: ignore[call-overload]
    more = f" and {len(listed) - 1} more" if len(listed) > 1 else ""
    return f"cell {listed[0]}{more}"
