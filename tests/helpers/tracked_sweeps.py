"""Sweeps for tests of trackers: made up, with cells that diverge, and with seeds that can be added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from made_store import losing, write_store

from analysis.data import load_tasks
from analysis.scoring import score
from analysis.trackers import CellRecord, SweepLabel
from lop_sweep.config import CellConfig

BASE = CellConfig(width=6, depth=2, samples=8, steps=3, tasks=12, fresh_baseline=4)


def grid(seeds: int, lrs: Sequence[float] = (0.1, 1.6)) -> list[CellConfig]:
    """Return configurations of which the odd seeds of lr 1.6 diverge."""
    return [BASE.replace(seed=seed, lr=lr) for lr in lrs for seed in range(seeds)]


def tracked_sweep(folder: Path, seeds: int = 2, missing: Sequence[CellConfig] = ()) -> Path:
    return write_store(folder, grid(seeds), losing, missing=missing, name="tracked")


def expected_curves(directory: Path, cell: str) -> dict[str, dict[int, float]]:
    """Return the finite values of each metric by task, per layer and as their mean, read as a user would."""
    rows = load_tasks(directory)
    rows = rows[rows["cell"] == cell]
    curves: dict[str, dict[int, float]] = {}
    for task, row in zip(rows["task"], rows.to_dict("records"), strict=True):
        for name, value in row.items():
            if isinstance(value, np.ndarray):
                values = {f"{name}_by_layer/{layer}": one for layer, one in enumerate(value)} | {name: value.mean()}
            elif name.endswith(("_ce", "_norm")) or name == "saturation":
                values = {name: value}
            else:
                continue
            for key, one in values.items():
                if np.isfinite(one):
                    curves.setdefault(key, {})[task] = float(one)
    return curves


def expected_scores(directory: Path) -> pd.DataFrame:
    return score(directory).set_index("cell")


class MemoryTracker:
    """A tracker that remembers what it was given, and can be made slow or broken."""

    name, option, address = "Memory", "--memory", "http://user:secret@host"

    def __init__(self, takes_pending: bool = True) -> None:
        self.takes_pending = takes_pending
        self.records: dict[str, CellRecord] = {}
        self.written: list[tuple[str, bool]] = []
        self.sweep: SweepLabel | None = None
        self.error: Exception | None = None

    def open(self, sweep: SweepLabel) -> dict[str, str]:
        self.sweep = sweep
        self._fail()
        return {cell: record.state for cell, record in self.records.items()}

    def write(self, record: CellRecord, logged: bool) -> None:
        self._fail()
        self.records[record.cell] = record
        self.written.append((record.cell, logged))

    def close(self) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error
