"""What a sweep has to do: which cells are missing, how they are packed, and how `sweep.json` remembers what was asked.

Deciding is here, executing is in `lop_sweep.tune.driver`; nothing here touches Ray.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lop_sweep.config import PACKABLE, CellConfig
from lop_sweep.pack import Pack, make_packs
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.space import SearchSpace
from lop_sweep.storage import StartPoint, Store


@dataclass(frozen=True)
class WorkItem:
    """A pack that is to be computed.

    Attributes:
        pack: the pack.
        starts: for each cell, the path within the sweep directory of a saved state to go on from, and the cell's place
            in it; empty for a start from the beginning, or from the pack's own checkpoint.
        seconds: what remains to be done, by the cost model.
        tasks_per_report: tasks between two reports to the driver.
    """

    pack: Pack
    resume_from: tuple[tuple[str, int], ...] = ()
    seconds: float = 0.0
    tasks_per_report: int = 1

    def to_config(self) -> dict[str, Any]:
        """As the configuration of a trial."""
        resume_from = {"resume_from": [list(start) for start in self.resume_from]} if self.resume_from else {}
        return {**self.pack.to_config(), "tasks_per_report": self.tasks_per_report, **resume_from}


def missing_packs(
    space: SearchSpace,
    done: Collection[str],
    store: Store,
    sizing: Sizing,
    only: Collection[str] | None = None,
) -> list[WorkItem]:
    """The packs of those cells of `space` that have yet to be computed, and from where they can go on.

    Cells that can go on from different tasks are in different packs. The packs that take longest come first. A pack
    that a worker of an earlier driver may still hold stays as it is: should that worker write it after all, it writes
    the same rows under the same name.

    Args:
        space: what is asked for.
        done: ids of the cells that are finished.
        store: where saved states are looked for.
        sizing: how large packs are.
        only: ids of cells to which to confine this; None for all.

    Raises:
        StoreError: the store cannot be read.
    """
    missing = [cell for cell in space.cells if cell.id not in done and (only is None or cell.id in only)]
    if not missing:
        return []
    best = store.checkpoints.furthest(missing, sizing.dtype)
    held = _held_packs(missing, store)
    taken = {cell.id for pack in held for cell in pack.cells}
    free = [cell for cell in missing if cell.id not in taken]
    by_cost = space.pack is None or sizing.cells is not None
    packs = make_packs(free, PACKABLE if by_cost else space.pack or (), group_key=lambda cell: _how_far(best[cell.id]))
    if by_cost:
        packs = sizing.split(packs, lambda cell: sizing.seconds_left(cell, *_how_far(best[cell.id])))
    return _assign([*held, *packs], best, store, sizing)


def _held_packs(missing: Iterable[CellConfig], store: Store) -> list[Pack]:
    """Return the packs, of cells that are all missing, that a worker may still hold.

    A worker says which pack it holds before it checks the lock for the last time, and a new driver reads that after it
    has the lock. So a worker that is not seen here finds the new lock when it checks, and writes nothing.
    """
    cells = {cell.id: cell for cell in missing}
    packs = [
        Pack(tuple(cells[cell] for cell in sign.cells))
        for sign in store.checkpoints.heartbeats()
        if sign.may_be_alive() and sign.cells and cells.keys() >= set(sign.cells)
    ]
    held: dict[str, Pack] = {}
    for pack in packs:
        if not any({cell.id for cell in pack.cells} & {cell.id for cell in other.cells} for other in held.values()):
            held[pack.id] = pack
    return list(held.values())


def still_missing(items: Iterable[WorkItem], done: Collection[str], store: Store, sizing: Sizing) -> list[WorkItem]:
    """What remains of `assignments` now, in the same packs, and from where they can go on now.

    Raises:
        StoreError: the store cannot be read.
    """
    packs = [Pack(tuple(cell for cell in a.pack.cells if cell.id not in done)) for a in items]
    cells = [cell for pack in packs for cell in pack.cells]
    best = store.checkpoints.furthest(cells, sizing.dtype)
    held = {pack.id for pack in _held_packs(cells, store)}

    def parts_of(pack: Pack) -> list[Pack]:
        return [pack] if pack.id in held else make_packs(pack.cells, PACKABLE, lambda cell: _how_far(best[cell.id]))

    parts = [parts_of(pack) for pack in packs]
    return _assign([part for pack in parts for part in pack], best, store, sizing)


def _assign(
    packs: Iterable[Pack], best: Mapping[str, StartPoint | None], store: Store, sizing: Sizing
) -> list[WorkItem]:
    items = []
    for pack in packs:
        points = [best[cell.id] for cell in pack.cells]
        resume_from: tuple[tuple[str, int], ...] = ()
        if len({_how_far(point) for point in points}) == 1:  # a pack goes on from one task, or from its own checkpoint
            resume_from = tuple((str(p.path.relative_to(store.root)), p.index) for p in points if p)
        seconds = sum(sizing.seconds_left(cell, *_how_far(best[cell.id])) for cell in pack.cells)
        items.append(WorkItem(pack, resume_from, seconds, sizing.report_tasks(pack)))
    return sorted(items, key=lambda item: -item.seconds)


def describe_sizes(items: Sequence[WorkItem], space: SearchSpace, sizing: Sizing) -> dict[str, Any]:
    """How work was cut up, for `sweep.json`: ranges are [smallest, largest]."""
    cells = [len(item.pack.cells) for item in items]
    reports = [item.tasks_per_report for item in items]
    axes = "the search space" if space.pack is not None else "cost"
    return {
        "slots": sizing.slots,
        "packs": len(items),
        "cells_a_pack": [min(cells), max(cells)],
        "packs_by": "--pack" if sizing.cells is not None else axes,
        "tasks_per_report": [min(reports), max(reports)],
        "reports_by": "--tasks-per-report" if sizing.tasks_per_report is not None else "cost",
        "core_seconds_by_cost": round(sum(item.seconds for item in items), 1),
    }


def _how_far(point: StartPoint | None) -> tuple[int, int]:
    return point.progress if point else (0, 0)
