"""Report the state of a sweep from its directory alone: during or after it, on any machine that sees the directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from lop_sweep.config import CellConfig
from lop_sweep.planning.choosing import Refinement, refinement_in
from lop_sweep.planning.space import axes_of
from lop_sweep.storage import DIVERGED, READERS, Failure, LockState, Store, is_held, read_lock, requested_cells

STATES: tuple[str, ...] = ("finished", "diverged", "running", "failed", "missing")
"""The states of a cell.

finished: its sequence is complete and finite. diverged: its sequence is complete, with NaN from some task on. running:
a worker computes it. failed: its trial kept failing. missing: none of these.
"""

_MAX_CELLS = 1e15
"""A larger number in a lock file is damage."""


@dataclass(frozen=True)
class Driver:
    """The newest process that computes, or computed, cells of a sweep.

    Attributes:
        process: the process and its host.
        alive: whether it still runs; on another host, whether its heartbeat is recent.
        released: whether it ended gracefully.
        cells: number of cells it has to compute.
        done: number of cells it has computed; unfinished ones count by their share of tasks.
        seconds: time since it started.
        shard: which part of the sweep it computes, as `--shard` names it; empty for the whole.
    """

    process: str
    alive: bool
    released: bool
    cells: float
    done: float
    seconds: float
    shard: str = ""

    @property
    def rate(self) -> float:
        """Cells per second; NaN while nothing is done."""
        return self.done / self.seconds if self.done > 0 and self.seconds > 0 else float("nan")

    @property
    def seconds_left(self) -> float:
        """Seconds that the rest will take at this rate; NaN while nothing is done."""
        return (self.cells - self.done) / self.rate if self.rate > 0 else float("nan")


@dataclass(frozen=True)
class Status:
    """The number of requested cells in each state.

    Attributes:
        cells: number of requested cells: the sum of the five states.
        finished, diverged, running, failed, missing: number of cells in each of `STATES`.
        others: finished cells in the directory that the newest request does not include.
        axes: for each field that varies and each of its values, the number of cells in each state.
        driver: the process that computes, or last computed, cells of the whole sweep; None if there was none.
        shards: the same for the parts of it that were started last, or that are at work (`lop-sweep sweep --shard`).
        failures: failures of packs, newest first.
        kept_states, kept_bytes: number of packs whose last state is kept for longer sequences, and its size on disk.
        refinement: what the directory's refinement looks for; None if its newest request is a sweep.
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
    shards: tuple[Driver, ...] = ()
    failures: tuple[Failure, ...] = ()
    kept_states: int = 0
    kept_bytes: int = 0
    refinement: Refinement | None = None

    @property
    def complete(self) -> bool:
        """Whether every cell's sequence is complete."""
        return self.finished + self.diverged == self.cells


def sweep_status(store: Store) -> Status:
    """Return the state of a sweep.

    Raises:
        StoreError: the directory is not a sweep directory, or a file in it is damaged.
    """
    store.check()
    description = store.read_sweep() or {}
    cells = requested_cells(description)
    return count_states(store, cells, axes_of(cells), refinement_in(description))


def count_states(
    store: Store, cells: Iterable[CellConfig], axes: Iterable[str] = (), refinement: Refinement | None = None
) -> Status:
    """Count cells by state.

    Args:
        store: the sweep directory.
        cells: the requested cells.
        axes: fields; cells are also counted for each of their values.
        refinement: what the directory's refinement looks for.

    Raises:
        StoreError: a file is damaged.
    """
    requested = {cell.id: cell for cell in cells}
    table = store.read_cells(["cell", "status"])
    done = dict(zip(table["cell"].to_pylist(), table["status"].to_pylist(), strict=True))
    failures = tuple(f for f in store.failures.read() if not done.keys() >= set(f.cells))
    folders = store.lock_folders()
    with ThreadPoolExecutor(READERS) as pool:
        locks = [(lock, folder) for lock, folder in zip(pool.map(read_lock, folders), folders, strict=True) if lock]
    may_run = not locks or any(is_held(lock, folder) for lock, folder in locks)  # workers end with their driver
    locks = [(lock, folder) for lock, folder in locks if not lock.was_idle]
    drivers = [_driver(lock, folder) for lock, folder in locks]
    parts = [(lock.started, folder.name.partition("-of-")[2]) for lock, folder in locks if folder != store.driver]
    newest = max(parts)[1] if parts else ""
    heartbeats = store.checkpoints.heartbeats() if may_run else []
    running = {cell for heartbeat in heartbeats if heartbeat.alive() for cell in heartbeat.cells}
    failed = {cell for failure in failures for cell in failure.cells}

    def state(cell: str) -> str:
        if cell in done:
            return "diverged" if done[cell] == DIVERGED else "finished"
        return "running" if cell in running else "failed" if cell in failed else "missing"

    states = [state(cell) for cell in requested]
    count = Counter(states)
    by_axis: dict[str, dict[Any, Counter[str]]] = {}
    for axis in axes:
        values = map(attrgetter(axis), requested.values())
        pairs = Counter(zip(values, states, strict=True))
        by_axis[axis] = {value: Counter() for value in sorted({value for value, _ in pairs})}
        for (value, name), cells_of in pairs.items():
            by_axis[axis][value][name] = cells_of
    return Status(
        cells=len(requested),
        **{name: count[name] for name in STATES},
        others=len(done.keys() - requested.keys()),
        axes=by_axis,
        driver=next((driver for driver in drivers if not driver.shard), None),
        shards=tuple(d for d in drivers if d.shard and (d.alive or d.shard.partition("/")[2] == newest)),
        failures=failures,
        kept_states=len(store.checkpoints.kept()),
        kept_bytes=store.checkpoints.kept_bytes(),
        refinement=refinement,
    )


def _driver(lock: LockState, folder: Path) -> Driver:
    return Driver(
        process=str(lock.process),
        alive=is_held(lock, folder),
        released=lock.released,
        cells=_number(lock.activity.get("cells")),
        done=_number(lock.activity.get("done")),
        seconds=max(lock.time - lock.started, 0.0),  # clocks may be set back
        shard="" if folder.name == "driver" else folder.name.replace("-of-", "/"),
    )


def _number(value: object) -> float:
    """Return a number from a file that another program may have written; 0 if it is not a plausible number."""
    return value if isinstance(value, (int, float)) and abs(value) < _MAX_CELLS else 0
