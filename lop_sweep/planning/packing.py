"""How large packs are and how often they report: chosen by what cells cost, or as the user says.

- A pack is long enough that what Tune adds to a trial (some 50 ms) is little beside it, and short enough that every
  processor has many to do: when the last ones run, little is idle. The longest come first.
- A trial reports so seldom that the driver hears of all together less than `MAX_REPORTS_PER_SECOND`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lop_sweep.config import CellConfig
from lop_sweep.pack import Pack
from lop_sweep.planning.cost import DRAW_SECONDS, batch_bytes, seconds_left, task_seconds

MIN_PACKS_PER_SLOT = 16
"""How many packs a processor gets at least, if they are not shorter than `MIN_PACK_SECONDS` then."""
MIN_PACK_SECONDS, MAX_PACK_SECONDS = 2.0, 300.0
"""Seconds that a pack takes, as far as its cells and `MAX_PACKS` allow."""
MAX_TASK_SECONDS = 5.0
"""Seconds that a task of a whole pack takes, as far as its cells allow: only between tasks is it saved or stopped."""
MAX_PACKS = 1500
"""Tune slows down with thousands of trials."""
MAX_REPORTS_PER_SECOND = 40
"""Of all trials together, by the cost model; the driver takes several hundred, so machines may be faster than it."""
MIN_REPORT_SECONDS = 0.5
"""Seconds between two reports of a trial: more often, nobody looks."""
MAX_GPU_CELLS = 1024
"""Cells a pack on a GPU, at most."""
MAX_GPU_BYTES = 4 * 2**30
"""Memory that a pack takes on a GPU, at most."""
GPU_CORES = 50
"""How many CPU cores a GPU is taken for: an assumption. Tasks and networks are drawn on one core in any case."""


@dataclass(frozen=True)
class Sizing:
    """What sizes are chosen by.

    Attributes:
        slots: how many trials run at once: CPUs, or GPUs.
        dtype: of the sweep.
        gpu: whether trials run on GPUs.
        cells: cells a pack at most, if the user says so.
        tasks_per_report: likewise.
    """

    slots: int = 1
    dtype: str = "float64"
    gpu: bool = False
    cells: int | None = None
    tasks_per_report: int | None = None

    def split(self, groups: Sequence[Pack], seconds: Callable[[CellConfig], float]) -> list[Pack]:
        """Cut groups of cells that could run together into packs.

        Args:
            groups: each holds cells of one shape that are equally far.
            seconds: what remains to be done of a cell.
        """
        costs = [sum(map(seconds, group.cells)) for group in groups]
        longest = self.pack_seconds(sum(costs))
        packs = []
        for group, cost in zip(groups, costs, strict=True):
            most = self._most_cells(group, cost, longest)
            packs += _evenly(group.cells, math.ceil(len(group.cells) / most))
        return packs

    def pack_seconds(self, total: float) -> float:
        """How long a pack should take on a CPU, where all cells together take `total` seconds there."""
        wanted = min(max(total / (self.slots * MIN_PACKS_PER_SLOT), MIN_PACK_SECONDS), MAX_PACK_SECONDS)
        return max(wanted, total / MAX_PACKS)

    def report_tasks(self, pack: Pack) -> int:
        """After how many tasks a pack reports."""
        if self.tasks_per_report is not None:
            return self.tasks_per_report
        wanted = max(MIN_REPORT_SECONDS, self.slots / MAX_REPORTS_PER_SECOND)
        return min(max(math.ceil(wanted / self._task_seconds(pack)), 1), pack.cells[0].tasks)

    def seconds_left(self, cell: CellConfig, tasks_done: int, fresh_done: int) -> float:
        """What remains to be done of a cell, by the cost model."""
        return seconds_left(cell, self.dtype, tasks_done, fresh_done)

    def _most_cells(self, group: Pack, cost: float, longest: float) -> int:
        if self.cells is not None:
            return self.cells
        cells = len(group.cells)
        stoppable = cells * MAX_TASK_SECONDS / self._task_seconds(group)
        if self.gpu:
            fitting = MAX_GPU_BYTES / batch_bytes(group.cells[0], self.dtype)
            return max(int(min(MAX_GPU_CELLS, math.ceil(cells / self.slots), fitting, stoppable)), 1)
        return max(int(min(cells * longest / cost, stoppable)), 1)

    def _task_seconds(self, pack: Pack) -> float:
        """One task of all cells of a pack."""
        one = pack.cells[0]  # what cells of a pack may differ in does not change what they cost
        on_cpu = task_seconds(one, self.dtype)
        each = DRAW_SECONDS + (on_cpu - DRAW_SECONDS) / GPU_CORES if self.gpu else on_cpu
        return len(pack.cells) * each


def _evenly(cells: Sequence[CellConfig], parts: int) -> list[Pack]:
    bounds = [len(cells) * part // parts for part in range(parts + 1)]
    return [Pack(tuple(cells[a:b])) for a, b in pairwise(bounds)]
