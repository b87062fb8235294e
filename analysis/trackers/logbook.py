"""Bring a tracker up to date with a sweep directory. The directory alone says what there is to log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.data import blocks_of, load_cells, load_requested, open_store
from analysis.scoring import LossCriterion, with_fresh_pool
from analysis.trackers.records import PENDING, complete_configurations, records, state_of
from analysis.trackers.tracker import SweepLabel, Tracker, tracker_errors
from lop_sweep.errors import TrackerError


@dataclass(frozen=True)
class Count:
    """How far a tracker is.

    Attributes:
        finished: finished cells of the directory.
        logged: of them, cells that have a run.
        behind: of them, cells to log now: they have no run, or their scores have changed.
        pending: of them, cells that wait for other seeds of their configuration.
    """

    finished: int
    logged: int
    behind: int
    pending: int

    def __str__(self) -> str:
        waiting = f", {self.pending:,} wait for other seeds" if self.pending else ""
        return f"{self.logged:,} of {self.finished:,} finished cells logged{waiting}"


class Logbook:
    """What a tracker has of a sweep directory, and what it lacks.

    Args:
        directory: a sweep directory; a sweep may be writing to it.
        tracker: is opened by the first `catch_up`.
        criterion: of scores and verdicts.

    Attributes:
        count: how far the tracker is, as of the newest `catch_up`, complete or not; None before the first.
    """

    def __init__(self, directory: str | Path, tracker: Tracker, criterion: LossCriterion | None = None) -> None:
        self.tracker = tracker
        self.count: Count | None = None
        self._directory, self._criterion = directory, criterion or LossCriterion()
        self._logged: dict[str, str] = {}
        self._is_open = False

    def catch_up(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Log what the tracker lacks: whole cells, and scores that have changed.

        Cells are read file by file, and only those that have to be written.

        Args:
            stopped: asked before each cell; True ends the call early.

        Raises:
            StoreError: the directory is not a sweep directory, or a file in it is damaged.
            TrackerError: the tracker cannot be reached or refuses something. What was logged before stays logged.
        """
        cells = with_fresh_pool(load_cells(self._directory), self._criterion)
        complete = complete_configurations(cells, load_requested(self._directory))
        states = dict(zip(cells["cell"], state_of(cells, complete, self._criterion), strict=True))
        self.count = self._counted(states, self._logged)
        logged = self._open()
        wanted = [cell for cell, state in states.items() if self._is_wanted(state, logged.get(cell))]
        try:
            self._write(cells[cells["cell"].isin(wanted)], states, logged, stopped)
        finally:
            self.count = self._counted(states, logged)

    def forget(self) -> None:
        """Ask the tracker again what it has, at the next `catch_up`."""
        self._is_open = False

    def close(self) -> None:
        """Close the tracker.

        Raises:
            TrackerError: it cannot finish what it has begun.
        """
        with tracker_errors(self.tracker):
            self.tracker.close()

    def _counted(self, states: dict[str, str], logged: dict[str, str]) -> Count:
        behind = sum(self._is_wanted(state, logged.get(cell)) for cell, state in states.items())
        pending = sum(state == PENDING for state in states.values())
        return Count(len(states), len(states.keys() & logged.keys()), behind, pending)

    def _is_wanted(self, state: str, logged: str | None) -> bool:
        """Return whether to log a cell in this state; scores of a request with fewer seeds stay until there are new."""
        if state == PENDING:
            return logged is None and self.tracker.takes_pending
        return logged != state

    def _write(
        self, cells: pd.DataFrame, states: dict[str, str], logged: dict[str, str], stopped: Callable[[], bool]
    ) -> None:
        if cells.empty:
            return
        for block in blocks_of(cells.reset_index(drop=True), self._directory):
            for record in records(block, states, self._criterion):
                if stopped():
                    return
                with tracker_errors(self.tracker):
                    self.tracker.write(record, record.cell in logged)
                logged[record.cell] = record.state

    def _open(self) -> dict[str, str]:
        if not self._is_open:
            store = open_store(self._directory)
            origin = store.origin()
            if origin is None:
                raise TrackerError(
                    f"{self._directory}: sweep.json has no origin, by which runs are found again; "
                    "run the same lop-sweep sweep once more, which adds it"
                )
            label = SweepLabel(str((store.read_sweep() or {}).get("space") or "sweep"), origin)
            with tracker_errors(self.tracker):
                self._logged = self.tracker.open(label)
            self._is_open = True
        return self._logged
