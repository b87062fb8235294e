"""The outcomes of finished cells, pack by pack as they arrive in a sweep directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import Block, blocks_of, load_cells, measured_metrics, split
from analysis.refinement.fits import Outcome
from analysis.scoring import DECIDABLE, VERDICTS, LossCriterion, control_loss, judge, judged_loss, with_fresh_pool
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, MissingFileError, comma_list
from lop_sweep.storage import DIVERGED, Store

RATE = "late_failure_rate"
TARGETS = (*VERDICTS[:5], RATE)
"""What a boundary can be of: the share of seeds with a verdict, or the share of late tasks that fail."""


@dataclass(frozen=True)
class _Row:
    """A finished cell: its row of the cells file, and its losses and those of its controls, (T,) each."""

    cell: Mapping[str, Any]
    loss: np.ndarray
    controls: np.ndarray


class FinishedCells:
    """The finished cells of a sweep directory, with their verdicts.

    A verdict depends on the fresh networks of all seeds of a configuration, so that a new cell can change those of
    others.

    Args:
        directory: a sweep directory.
        target: one of `TARGETS`.
        criterion: when plasticity counts as lost.

    Raises:
        AnalysisError: the target is unknown.
    """

    def __init__(self, directory: str | Path, target: str = "lost", criterion: LossCriterion | None = None) -> None:
        if target not in TARGETS:
            raise AnalysisError(f"target = {target!r}: must be one of {comma_list(TARGETS)}")
        self._store, self._target, self._criterion = Store(directory), target, criterion or LossCriterion()
        self._groups: dict[tuple[Any, ...], dict[str, _Row]] = {}

    def load(self) -> dict[str, Outcome]:
        """Read all finished cells of the directory; return their outcomes by cell id.

        Raises:
            StoreError: it is not a sweep directory, or a file in it is damaged.
        """
        self._groups = {}
        cells = load_cells(self._store.root)
        if cells.empty:
            return {}
        found: dict[str, Outcome] = {}
        pooled = with_fresh_pool(cells, self._criterion)
        for block in blocks_of(pooled, self._store.root, _losses(cells)):
            loss, controls = self._add(block)
            found |= self._outcomes(block.cells, loss, controls)
        return found

    def add(self, pack: str) -> dict[str, Outcome]:
        """Read a pack that has just been finished; return the outcomes that are new or may have changed.

        Raises:
            StoreError: the pack is not finished, or a file is damaged.
        """
        try:
            table, tasks = self._store.read_pack(pack, ["cell", "task", *_LOSSES])
        except MissingFileError:  # merged meanwhile
            return self.load()
        cells = table.to_pandas()
        if (cells["control_every"] > 0).any():
            tasks = self._store.read_pack(pack, ["cell", "task", *_losses(cells)])[1]
        touched: dict[tuple[Any, ...], None] = {}
        for block in split(cells, tasks):
            self._add(block)
            touched |= dict.fromkeys(map(_configuration, _records(block.cells)))
        return self._judge(touched)

    def _add(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Keep the losses of a block's cells; return them and those of the controls, (n, T) each."""
        diverged = (block.cells["status"] == DIVERGED).to_numpy()[:, None]
        loss = np.where(diverged, np.nan, judged_loss(block)[0])
        controls = np.where(diverged, np.nan, control_loss(block))
        for number, row in enumerate(_records(block.cells)):
            self._keep(row, loss[number], controls[number])
        return loss, controls

    def _keep(self, row: Mapping[str, Any], loss: np.ndarray, controls: np.ndarray) -> None:
        kept = self._groups.setdefault(_configuration(row), {})
        kept[str(row["cell"])] = _Row(row, loss, controls)

    def _judge(self, configurations: Iterable[tuple[Any, ...]]) -> dict[str, Outcome]:
        every = [row for configuration in configurations for row in self._groups[configuration].values()]
        found: dict[str, Outcome] = {}
        for tasks in dict.fromkeys(len(row.loss) for row in every):
            rows = [row for row in every if len(row.loss) == tasks]
            cells = with_fresh_pool(pd.DataFrame([row.cell for row in rows]), self._criterion)
            losses, controls = (np.stack([getattr(row, name) for row in rows]) for name in ("loss", "controls"))
            found |= self._outcomes(cells, losses, controls)
        return found

    def _outcomes(self, cells: pd.DataFrame, loss: np.ndarray, controls: np.ndarray) -> dict[str, Outcome]:
        judged = judge(cells, loss, controls, self._criterion)
        if self._target == RATE:
            successes = judged.failures["late_failures"]
            trials = np.where(np.isnan(successes), 0, self._criterion.window(loss.shape[1]))
        else:
            successes = (judged.verdict == self._target).astype(float)
            others = DECIDABLE if self._target in DECIDABLE else TARGETS
            trials = np.isin(judged.verdict, others).astype(float)
        counted = np.where(trials > 0, successes, 0.0)
        return {str(cell): (float(k), float(n)) for cell, k, n in zip(cells["cell"], counted, trials, strict=True)}


_LOSSES = ("final_ce", "end_ce")
_KEPT = ("cell", "status", "fresh_ce", "fresh_mean_ce", "fresh_median_ce")
_NAMES = tuple(name for name in FIELDS if name != "seed")


def _losses(cells: pd.DataFrame) -> list[str]:
    """Return the metrics that verdicts need of these cells."""
    control = [name for name in ("control_final_ce", "control_end_ce") if name in measured_metrics(cells)]
    return [*_LOSSES, *control]


def _records(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what verdicts need of each cell."""
    names = [str(name) for name in cells.columns if name in FIELDS or name in _KEPT]
    return [{str(name): value for name, value in row.items()} for row in cells[names].to_dict("records")]


def _configuration(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _NAMES)
