"""Decide what a sweep has to compute: which cells are missing, how they are packed, and where they resume.

Deciding is here, executing is in `lop_sweep.tune`. Nothing here imports Ray.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lop_sweep.config import PACKABLE, CellConfig
from lop_sweep.pack import Pack, make_packs
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.space import SearchSpace
from lop_sweep.storage import StartPoint, Store
from lop_sweep.storage.maintenance import check_checkpoints, finished_cells


@dataclass(frozen=True)
class WorkItem:
    """A pack to compute.

    Attributes:
        pack: the pack.
        resume_from: for each cell, the path within the sweep directory of a saved state to resume from, and the cell's
            index in it; empty to start from the beginning, or from the pack's own checkpoint.
        starts: for each cell, the number of tasks that saved states have behind them.
        seconds: time that remains on one CPU core, by the cost model.
        tasks_per_report: tasks between two reports to the driver.
    """

    pack: Pack
    resume_from: tuple[tuple[str, int], ...] = ()
    starts: tuple[int, ...] = ()
    seconds: float = 0.0
    tasks_per_report: int = 1

    def to_json(self, **run: Any) -> str:
        """Return the item as the text that a trial's configuration holds; see `lop_sweep.LopTrainable`.

        Args:
            run: entries of `run` that all trials share.
        """
        own: dict[str, Any] = {"pack_id": self.pack.id, "tasks_per_report": self.tasks_per_report}
        if self.resume_from:
            own["resume_from"] = [list(start) for start in self.resume_from]
        return json.dumps({"pack": self.pack.to_config(), "run": {**run, **own}})


@dataclass(frozen=True)
class Plan:
    """What a sweep has to compute now, and how it was divided into packs.

    Attributes:
        space: the request.
        sizing: what the sizes of packs were chosen by.
        items: the packs to compute, longest first.
        finished: number of the space's cells that are finished already.
    """

    space: SearchSpace
    sizing: Sizing
    items: tuple[WorkItem, ...] = ()
    finished: int = 0

    @cached_property
    def packs(self) -> tuple[Pack, ...]:
        """The packs to compute."""
        return tuple(item.pack for item in self.items)

    @cached_property
    def cells(self) -> tuple[CellConfig, ...]:
        """The cells to compute."""
        return tuple(cell for pack in self.packs for cell in pack.cells)

    @property
    def seconds(self) -> float:
        """Time that remains on one CPU core, by the cost model."""
        return sum(item.seconds for item in self.items)

    @property
    def wall_seconds(self) -> float:
        """Time that the packs take on CPUs, each on the first slot that is free, by the cost model."""
        busy = [0.0] * self.sizing.slots
        for item in self.items:
            heapq.heapreplace(busy, busy[0] + item.seconds)
        return max(busy)

    @property
    def starts(self) -> Counter[int]:
        """For each number of tasks that saved states have behind them, the number of cells to compute from there."""
        return Counter(start for item in self.items for start in item.starts)

    @property
    def description(self) -> dict[str, Any]:
        """How the work was divided, for `sweep.json`: ranges are [smallest, largest]. Needs at least one item."""
        sizing = self.sizing
        cells = [len(pack.cells) for pack in self.packs]
        reports = [item.tasks_per_report for item in self.items]
        axes = "the search space" if self.space.pack is not None else "cost"
        return {
            "slots": sizing.slots,
            "packs": len(self.items),
            "cells_a_pack": [min(cells), max(cells)],
            "packs_by": "--pack" if sizing.cells is not None else axes,
            "tasks_per_report": [min(reports), max(reports)],
            "reports_by": "--tasks-per-report" if sizing.tasks_per_report is not None else "cost",
            "core_seconds_by_cost": round(self.seconds, 1),
        }

    def remaining(self, done: Collection[str], store: Store) -> Plan:
        """Return what remains to be computed now, in the same packs, and where it resumes now.

        Args:
            done: ids of the cells that are finished.
            store: where saved states are looked for.

        Raises:
            StoreError: the store cannot be read.
        """
        packs = [Pack(tuple(cell for cell in pack.cells if cell.id not in done)) for pack in self.packs]
        cells = [cell for pack in packs for cell in pack.cells]
        best = store.checkpoints.furthest(cells, self.sizing.dtype)
        held = {pack.id for pack in _held_packs(cells, store)}

        def split(pack: Pack) -> list[Pack]:
            return (
                [pack] if pack.id in held else make_packs(pack.cells, PACKABLE, lambda cell: _progress(best[cell.id]))
            )

        items = _work_items([piece for pack in packs for piece in split(pack)], best, store, self.sizing)
        return replace(self, items=items, finished=self.finished + len(self.cells) - len(cells))


def make_plan(
    space: SearchSpace,
    done: Collection[str],
    store: Store,
    sizing: Sizing,
    only: Collection[str] | None = None,
) -> Plan:
    """Divide the cells of `space` that have yet to be computed into packs, and find where they can resume.

    Cells that can resume at different tasks are in different packs. The packs that take longest come first. A pack
    that a worker of an earlier driver may still hold is kept as it is: should that worker still commit it, it writes
    the same rows under the same name.

    Args:
        space: the request.
        done: ids of the cells that are finished.
        store: where saved states are looked for.
        sizing: what the sizes of packs are chosen by.
        only: ids of the cells to plan; None for all.

    Raises:
        StoreError: the store cannot be read.
    """
    missing = [cell for cell in space.cells if cell.id not in done and (only is None or cell.id in only)]
    plan = Plan(space, sizing, finished=sum(cell.id in done for cell in space.cells))
    if not missing:
        return plan
    best = store.checkpoints.furthest(missing, sizing.dtype)
    held = _held_packs(missing, store)
    taken = {cell.id for pack in held for cell in pack.cells}
    free = [cell for cell in missing if cell.id not in taken]
    by_cost = space.pack is None or sizing.cells is not None
    packs = make_packs(free, PACKABLE if by_cost else space.pack or (), group_key=lambda cell: _progress(best[cell.id]))
    if by_cost:
        packs = sizing.split(packs, lambda cell: sizing.seconds_left(cell, *_progress(best[cell.id])))
    return replace(plan, items=_work_items([*held, *packs], best, store, sizing))


def begun_cells(space: SearchSpace, done: Collection[str], store: Store) -> set[str]:
    """Return the ids of the missing cells of a space that have a checkpoint, or that a worker may still compute.

    Raises:
        StoreError: the store cannot be read.
    """
    packs = set(store.checkpoints.in_progress())
    saved = {
        point.cell
        for points in store.checkpoints.start_points().values()
        for point in points
        if point.path.stem in packs
    }
    alive = {
        cell for heartbeat in store.checkpoints.heartbeats() if heartbeat.may_be_alive() for cell in heartbeat.cells
    }
    return {cell.id for cell in space.cells} & (saved | alive) - set(done)


def item_maker(cells: Iterable[CellConfig], store: Store, sizing: Sizing) -> Callable[[Pack], WorkItem]:
    """Return a function that makes work items of packs of these cells, which resume where shorter sequences ended.

    Saved states are looked for once, now.

    Raises:
        StoreError: the store cannot be read.
    """
    best = store.checkpoints.furthest(cells, sizing.dtype)

    def make(pack: Pack) -> WorkItem:
        (item,) = _work_items([pack], best, store, sizing)
        return item

    return make


def preview(space: SearchSpace, out: str | Path | None, sizing: Sizing) -> Plan:
    """Return what a sweep would compute now, without changing anything.

    Args:
        space: the request.
        out: its sweep directory, which need not exist; None for an empty one.
        sizing: what the sizes of packs would be chosen by.

    Raises:
        SweepError: `out` holds a sweep of another dtype.
        SchemaVersionError: another version of lop-sweep wrote `out`, or a file in it.
        StoreError: `out` cannot be read.
    """
    with tempfile.TemporaryDirectory() as empty:
        store = Store(empty if out is None else out)
        store.check_schema()
        store.segments()
        done = finished_cells(store, sizing.dtype)[0]
        check_checkpoints(store, sizing.dtype)
        return make_plan(space, done, store, sizing)


def _held_packs(missing: Iterable[CellConfig], store: Store) -> list[Pack]:
    """Return the packs, with only missing cells, that a worker may still hold.

    A worker publishes its pack before it checks the lock for the last time, and a new driver reads that after it has
    acquired the lock. So a worker that is not seen here finds the new lock when it checks, and writes nothing.
    """
    cells = {cell.id: cell for cell in missing}
    packs = [
        Pack(tuple(cells[cell] for cell in heartbeat.cells))
        for heartbeat in store.checkpoints.heartbeats()
        if heartbeat.may_be_alive() and heartbeat.cells and cells.keys() >= set(heartbeat.cells)
    ]
    held: dict[str, Pack] = {}
    for pack in packs:
        if not any({cell.id for cell in pack.cells} & {cell.id for cell in other.cells} for other in held.values()):
            held[pack.id] = pack
    return list(held.values())


def _work_items(
    packs: Sequence[Pack], best: Mapping[str, StartPoint | None], store: Store, sizing: Sizing
) -> tuple[WorkItem, ...]:
    items = []
    for pack in packs:
        points = [best[cell.id] for cell in pack.cells]
        progress = Counter(map(_progress, points))
        resume_from: tuple[tuple[str, int], ...] = ()
        if len(progress) == 1:  # a pack resumes at one task, or from its own checkpoint
            resume_from = tuple((str(p.path.relative_to(store.root)), p.index) for p in points if p)
        # The fields in which cells of a pack differ do not change their cost.
        cells = len(pack.cells)
        seconds = sum(count * sizing.seconds_left(pack.cells[0], *done, cells) for done, count in progress.items())
        starts = tuple(_progress(point)[0] for point in points)
        items.append(WorkItem(pack, resume_from, starts, seconds, sizing.report_tasks(pack)))
    return tuple(sorted(items, key=lambda item: -item.seconds))


def _progress(point: StartPoint | None) -> tuple[int, int]:
    """Return the tasks and fresh networks that a saved state has behind it."""
    return point.progress if point else (0, 0)
