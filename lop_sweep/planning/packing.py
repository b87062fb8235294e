"""Choose how large packs are and how often they report: by what cells cost, or as the user specifies.

- A pack is long enough that Tune's overhead per trial (some 50 ms) is negligible. It is short enough that every slot
  runs many packs, so that few slots are idle while the last ones run. The longest packs come first.
- A pack of narrow networks has enough cells to fill a batch, as long as every slot has a few packs.
- Trials together send fewer than `MAX_REPORTS_PER_SECOND` reports.

A slot is a CPU, or a GPU, that runs one trial at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lop_sweep.components.batch_size import batch_bytes, cells_per_batch
from lop_sweep.config import CellConfig
from lop_sweep.pack import Pack, evenly
from lop_sweep.planning.cost import draw_seconds, seconds_left, task_seconds

MIN_PACKS_PER_SLOT = 16
"""Minimum number of packs per slot, unless they would be shorter than `MIN_PACK_SECONDS`."""
MIN_PACK_SECONDS, MAX_PACK_SECONDS = 2.0, 300.0
"""Range of a pack's duration; a single long cell, or the maximum number of packs, may exceed it."""
FILLED_BATCH_RATIO = 1.1
"""A batch counts as full if its cells take at most this many times as long as in one that fills the cache."""
MIN_FULL_PACKS_PER_SLOT = 2
"""Minimum number of packs per slot that are made larger only to fill batches."""
MAX_TASK_SECONDS = 5.0
"""Maximum duration of one task of a whole pack, except for a single cell: packs are saved and stopped between tasks."""
MAX_PACKS = 1500
"""Maximum number of packs: Tune slows down with thousands of trials. On many slots it is `PACKS_PER_SLOT` each."""
PACKS_PER_SLOT, MAX_PACKS_ON_MANY_SLOTS = 4, 6000
"""With fewer packs per slot, slots are idle for a third of the time. Beyond the maximum, a sweep needs more drivers."""
MAX_REPORTS_PER_SECOND = 40
"""Of all trials together, by the cost model. The driver handles several hundred, so faster machines are no problem."""
MIN_REPORT_SECONDS = 0.5
"""Minimum time between two reports of a trial; the progress bar needs no more."""
MIN_HEARTBEAT_SECONDS, MAX_HEARTBEAT_SECONDS = 5.0, 60.0
"""Range of the time between two heartbeats of a worker; they are stale after ten minutes."""
MAX_HEARTBEATS_PER_SECOND = 20
"""Of all workers together, unless they would be more than `MAX_HEARTBEAT_SECONDS` apart: each is a file written."""
MAX_GPU_CELLS = 1024
"""Maximum number of cells per pack on a GPU."""
MAX_GPU_BYTES = 4 * 2**30
"""Maximum memory of a pack on a GPU."""
GPU_CORES = 50
"""Assumed speed of a GPU in CPU cores. Tasks and networks are drawn on one core in any case."""


@dataclass(frozen=True)
class Sizing:
    """What the sizes of packs are chosen by.

    Attributes:
        slots: number of trials that run at once: CPUs, or GPUs.
        dtype: "float64" or "float32".
        gpu: whether trials run on GPUs.
        cells: maximum number of cells per pack, if the user sets it.
        batch: maximum number of cells per batch, if the user sets it.
        tasks_per_report: tasks between two reports of a trial, if the user sets it.
    """

    slots: int = 1
    dtype: str = "float64"
    gpu: bool = False
    cells: int | None = None
    batch: int | None = None
    tasks_per_report: int | None = None

    @property
    def heartbeat_seconds(self) -> float:
        """Minimum time between two heartbeats of a worker."""
        return min(max(self.slots / MAX_HEARTBEATS_PER_SECOND, MIN_HEARTBEAT_SECONDS), MAX_HEARTBEAT_SECONDS)

    def split(self, groups: Sequence[Pack], seconds: Callable[[CellConfig], float]) -> list[Pack]:
        """Divide groups of cells that could run together into packs.

        Args:
            groups: each holds cells of one shape that resume at the same task, so that they take the same time.
            seconds: returns the seconds that remain of a cell.
        """
        costs = [len(group.cells) * seconds(group.cells[0]) for group in groups]
        total = sum(costs)
        packs = []
        for group, cost in zip(groups, costs, strict=True):
            most = self._max_cells(group, cost, total)
            packs += [Pack(cells) for cells in evenly(group.cells, most)]
        return packs

    def pack_seconds(self, total: float) -> float:
        """Return how many seconds a pack should take on a CPU if all cells together take `total` seconds there."""
        wanted = min(max(total / (self.slots * MIN_PACKS_PER_SLOT), MIN_PACK_SECONDS), MAX_PACK_SECONDS)
        most = max(MAX_PACKS, min(PACKS_PER_SLOT * self.slots, MAX_PACKS_ON_MANY_SLOTS))
        return max(wanted, total / most)

    def report_tasks(self, pack: Pack) -> int:
        """Return the number of tasks between two reports of a pack."""
        if self.tasks_per_report is not None:
            return self.tasks_per_report
        wanted = max(MIN_REPORT_SECONDS, self.slots / MAX_REPORTS_PER_SECOND)
        return min(max(math.ceil(wanted / self._task_seconds(pack)), 1), pack.cells[0].tasks)

    def seconds_left(self, cell: CellConfig, tasks_done: int, fresh_done: int, cells: int | None = None) -> float:
        """Return the seconds that remain of a cell in a pack of `cells`, or in a large one, by the cost model."""
        return seconds_left(cell, self.dtype, tasks_done, fresh_done, self.batch_size(cell, cells))

    def batch_size(self, cell: CellConfig, cells: int | None = None) -> int:
        """Return how many cells of a pack of `cells`, or of a large one, a CPU computes as one batch."""
        most = self.batch or cells_per_batch(cell, self.dtype)
        return most if cells is None else min(most, cells)

    def cells_to_fill(self, cell: CellConfig) -> int:
        """Return the smallest number of cells like `cell` that make a full batch."""
        most = self.batch_size(cell)
        if most == 1:
            return 1
        alone, together = (seconds_left(cell, self.dtype, batch=batch) for batch in (1, most))
        calls = (alone - together) / (1 - 1 / most)  # a cell of a batch of P takes (alone - calls) + calls / P
        return min(math.ceil(calls / (FILLED_BATCH_RATIO * together - (alone - calls))), most)

    def _max_cells(self, group: Pack, cost: float, total: float) -> int:
        if self.cells is not None:
            return self.cells
        cells = len(group.cells)
        stoppable = cells * MAX_TASK_SECONDS / self._task_seconds(group)
        if self.gpu:
            fitting = MAX_GPU_BYTES / batch_bytes(group.cells[0], self.dtype)
            return max(int(min(MAX_GPU_CELLS, math.ceil(cells / self.slots), fitting, stoppable)), 1)
        full = min(self.cells_to_fill(group.cells[0]), cells * (total / cost) / (MIN_FULL_PACKS_PER_SLOT * self.slots))
        return max(int(min(max(cells * self.pack_seconds(total) / cost, full), stoppable)), 1)

    def _task_seconds(self, pack: Pack) -> float:
        """Return the seconds of one task of all cells of a pack."""
        one = pack.cells[0]  # the fields in which cells of a pack differ do not change their cost
        if not self.gpu:
            return len(pack.cells) * task_seconds(one, self.dtype, self.batch_size(one, len(pack.cells)))
        rest = task_seconds(one, self.dtype, 1) - draw_seconds(one, self.dtype, 1)
        return len(pack.cells) * (draw_seconds(one, self.dtype, len(pack.cells)) + rest / GPU_CORES)
