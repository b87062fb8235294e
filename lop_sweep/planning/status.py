"""Where a sweep stands, from its directory alone: while it runs or afterwards, from any machine that sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.storage import DIVERGED, Failure, LockState, Store, is_held, read_lock, requested_cells

STATES: tuple[str, ...] = ("finished", "diverged", "running", "failed", "missing")
"""What a cell can be: its whole sequence has finite numbers; its sequence is complete but has NaN from some task on; a
worker is at it; it kept failing; none of these."""


_MANY_CELLS = 1e15
"""More than any sweep has."""


@dataclass(frozen=True)
class Driver:
    """The newest command that computes, or computed, cells of a sweep.

    Attributes:
        process: which process, on which machine.
        alive: whether it still runs, as far as can be told from here.
        released: whether it has ended in order.
        cells: how many cells it set out to compute.
        done: how many of them it has done; those under way count by their share of tasks.
        seconds: how long it has been at it.
    """

    process: str
    alive: bool
    released: bool
    cells: float
    done: float
    seconds: float

    @property
    def rate(self) -> float:
        """Cells a second; NaN as long as nothing is done."""
        return self.done / self.seconds if self.done > 0 and self.seconds > 0 else float("nan")

    @property
    def seconds_left(self) -> float:
        """How long the rest will take at this rate; NaN as long as nothing is done."""
        return (self.cells - self.done) / self.rate if self.rate > 0 else float("nan")


@dataclass(frozen=True)
class Status:
    """How many of the cells that a sweep asked for are in which state.

    Attributes:
        cells: cells that were asked for; the sum of the five after it.
        finished, diverged, running, failed, missing: as in `STATES`.
        others: finished cells in the directory that the newest request does not name.
        axes: for each field that varies, for each of its values, how many of its cells are in which state.
        driver: who is, or was, at work; None where that is not known.
        failures: the newest first.
        kept_states, kept_bytes: packs whose last state is kept for longer sequences, and what that takes on the disk.
    """

    cells: int
    finished: int
    diverged: int
    running: int
    failed: int
    missing: int
    others: int
    axes: Mapping[str, Mapping[Any, Counter[str]]]
    driver: Driver | None = None
    failures: tuple[Failure, ...] = ()
    kept_states: int = 0
    kept_bytes: int = 0

    @property
    def complete(self) -> bool:
        """Whether every cell's sequence is complete."""
        return self.finished + self.diverged == self.cells


def sweep_status(store: Store) -> Status:
    """Where a sweep stands.

    Raises:
        StoreError: the directory is not a sweep directory, or a file in it is damaged.
    """
    store.check()
    cells = requested_cells(store.read_sweep() or {})
    return count_states(store, cells, [f for f in FIELDS if len({getattr(cell, f) for cell in cells}) > 1])


def count_states(store: Store, cells: Iterable[CellConfig], axes: Iterable[str] = ()) -> Status:
    """In which state each of `cells` is.

    Args:
        store: the sweep directory.
        cells: the cells that were asked for.
        axes: the fields to count by, too.

    Raises:
        StoreError: a file is damaged.
    """
    requested = {cell.id: cell for cell in cells}
    table = store.read_cells(["cell", "status"])
    done = dict(zip(table["cell"].to_pylist(), table["status"].to_pylist(), strict=True))
    failures = tuple(f for f in store.failures.read() if not done.keys() >= set(f.cells))
    lock = read_lock(store.driver)
    at_work = lock is None or is_held(lock, store.driver)
    signs = store.checkpoints.heartbeats() if at_work else []  # workers end with their driver
    running = {cell for sign in signs if sign.alive() for cell in sign.cells}
    failed = {cell for failure in failures for cell in failure.cells}

    def state(cell: str) -> str:
        if cell in done:
            return "diverged" if done[cell] == DIVERGED else "finished"
        return "running" if cell in running else "failed" if cell in failed else "missing"

    states = {cell: state(cell) for cell in requested}
    count = Counter(states.values())
    by_axis: dict[str, dict[Any, Counter[str]]] = {axis: {} for axis in axes}
    for axis, values in by_axis.items():
        for cell, config in sorted(requested.items(), key=lambda item: getattr(item[1], axis)):
            values.setdefault(getattr(config, axis), Counter())[states[cell]] += 1
    return Status(
        cells=len(requested),
        **{name: count[name] for name in STATES},
        others=len(done.keys() - requested.keys()),
        axes=by_axis,
        driver=_driver(lock, store.driver),
        failures=failures,
        kept_states=len(store.checkpoints.kept()),
        kept_bytes=store.checkpoints.kept_bytes(),
    )


def _driver(lock: LockState | None, folder: Path) -> Driver | None:
    if lock is None:
        return None
    return Driver(
        process=str(lock.process),
        alive=is_held(lock, folder),
        released=lock.released,
        cells=_number(lock.activity.get("cells")),
        done=_number(lock.activity.get("done")),
        seconds=max(lock.time - lock.started, 0.0),  # clocks may be set back
    )


def _number(value: object) -> float:
    """A number from a file that another program may have written; 0 for what is none."""
    return value if isinstance(value, (int, float)) and abs(value) < _MANY_CELLS else 0
