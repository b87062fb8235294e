"""What a tracker gets of a cell: its configuration, its metrics task by task, and what is known about its plasticity.

A cell's metrics never change once it is finished. Its scores and verdict also depend on the fresh networks of the other
seeds, so they are final only when all requested seeds of its configuration are finished. Until then a cell is
*pending*: it has no scores, and its verdict is `PENDING`. Seeds that are added later change the scores again.

`state_of` names a version of a cell's scores without computing them. A tracker keeps it, so what has to be written
again is known without reading the rows of any task.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import Block, plain
from analysis.scoring import LossCriterion, score_block
from lop_sweep.config import FIELDS
from lop_sweep.metrics import METRICS
from lop_sweep.version import __version__

PENDING = "pending"
"""State and verdict of a cell of whose configuration some requested seeds are not finished."""

_POOLED = ("fresh_networks", "fresh_failures", "fresh_pooled_ce")
"""Columns through which the other seeds of a configuration affect a cell's scores."""


@dataclass(frozen=True)
class CellRecord:
    """A finished cell as trackers log it.

    Attributes:
        cell: its id.
        config: its configuration fields.
        curves: name to the values task by task, shape (T,), NaN where undefined. A metric per layer is its mean over
            layers under its own name, and `name_by_layer/0` and so on.
        scores: name to value, finite ones only; none while the cell is pending.
        labels: `status`, `verdict`, the other scores that are words, and `diverged_at` if the cell has diverged.
        state: from `state_of`.
    """

    cell: str
    config: Mapping[str, Any]
    curves: Mapping[str, np.ndarray]
    scores: Mapping[str, float]
    labels: Mapping[str, str]
    state: str

    @property
    def points(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield each task, from 1, with the metrics that are defined at it."""
        length = len(next(iter(self.curves.values()), ()))
        for task in range(length):
            yield task + 1, {name: float(row[task]) for name, row in self.curves.items() if np.isfinite(row[task])}


def complete_configurations(cells: pd.DataFrame, requested: pd.DataFrame) -> np.ndarray:
    """Return which finished cells have all requested seeds of their configuration finished, (n,).

    Args:
        cells: n finished cells with the configuration fields.
        requested: the cells of the newest request, likewise.
    """
    fields = ["cell", *FIELDS]
    missing = requested[~requested["cell"].isin(cells["cell"])] if len(requested) else requested
    if missing.empty:
        return np.ones(len(cells), bool)
    both = pd.concat([cells[fields], missing[fields]], ignore_index=True)
    groups = both.groupby([name for name in FIELDS if name != "seed"], sort=False, dropna=False).ngroup().to_numpy()
    return ~np.isin(groups[: len(cells)], groups[len(cells) :])


def state_of(cells: pd.DataFrame, complete: np.ndarray, criterion: LossCriterion) -> np.ndarray:
    """Return the state of each cell's scores, (n,) strings: `PENDING`, or a digest of what they are computed from.

    Args:
        cells: from `with_fresh_pool`.
        complete: from `complete_configurations`.
        criterion: of the scores.
    """
    pooled = zip(*(cells[name].tolist() for name in _POOLED), strict=True)
    return np.array(
        [_digest([str(criterion), __version__, *row]) if final else PENDING
         for row, final in zip(pooled, complete, strict=True)],
        dtype=object,
    )  # fmt: skip


def records(block: Block, states: Mapping[str, str], criterion: LossCriterion) -> Iterator[CellRecord]:
    """Yield the records of a block's cells.

    Args:
        block: of cells from `with_fresh_pool`.
        states: cell id to state.
        criterion: of the scores.
    """
    scored = score_block(block, criterion) if any(states[cell] != PENDING for cell in block.cells["cell"]) else None
    for place, row in enumerate(block.cells.to_dict("records")):
        state = states[row["cell"]]
        labels = {"status": row["status"], "verdict": PENDING}
        scores: dict[str, float] = {}
        if scored is not None and state != PENDING:
            scores, words = _split(scored.iloc[place].to_dict())
            labels |= words | {"criterion": str(criterion)}
        if row["diverged_at"] == row["diverged_at"] and row["diverged_at"]:
            labels["diverged_at"] = str(int(row["diverged_at"]))
        config = {name: plain(row[name]) for name in FIELDS}
        yield CellRecord(row["cell"], config, _curves(block, place), scores, labels, state)


def _curves(block: Block, place: int) -> dict[str, np.ndarray]:
    curves = {}
    for name, values in block.metrics.items():
        if METRICS[name].per_layer:
            curves[name] = values[place].mean(axis=1)
            curves |= {f"{name}_by_layer/{layer}": values[place, :, layer] for layer in range(values.shape[2])}
        else:
            curves[name] = values[place]
    return {name: row for name, row in curves.items() if not np.isnan(row).all()}


def _split(row: Mapping[Any, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Return a row of scores as finite numbers and as words; the configuration and what may be at risk are left out."""
    values = {name: plain(value) for name, value in row.items() if name not in (*FIELDS, "cell", "status")}
    numbers = {name: float(value) for name, value in values.items() if type(value) in (int, float)}
    words = {name: value for name, value in values.items() if isinstance(value, str)}
    return {name: value for name, value in numbers.items() if np.isfinite(value)}, words


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
