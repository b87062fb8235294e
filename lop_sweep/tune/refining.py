"""Run a sweep that chooses its cells by what is known so far.

It is a sweep like any other to everything else: the same lock, packs, checkpoints and files. `sweep.json` has the cells
that have been chosen. Running it again continues: what is finished is told to the chooser, what was begun comes first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.console.options import accepts_options, options_from_keywords
from lop_sweep.errors import SweepError
from lop_sweep.planning import (
    REFINEMENT,
    Chooser,
    Refinement,
    SearchSpace,
    Sizing,
    WorkItem,
    begun_cells,
    item_maker,
    make_plan,
    to_space,
)
from lop_sweep.storage import Lock, Store
from lop_sweep.tune.driver import Driver
from lop_sweep.tune.options import Outcome, SweepOptions

if TYPE_CHECKING:
    from lop_sweep.tune.executor import Executor

MANIFEST_SECONDS = 10.0
"""Minimum time between two updates of `sweep.json` while cells are chosen."""

MakeChooser = Callable[[Sequence[CellConfig], Sequence[float], Path], Chooser]
"""Makes a chooser from the cells of a space, what each costs in seconds, and the sweep directory."""

_SHAPE = attrgetter(*(field for field in FIELDS if field not in PACKABLE))

_log = logging.getLogger(__name__)


@accepts_options(SweepOptions)
def run_refinement(
    space: SearchSpace | Mapping[str, Any] | str | Path,
    out: str | Path,
    make_chooser: MakeChooser,
    *,
    on_pack: Callable[[str], None] | None = None,
    **options: Any,
) -> Outcome:
    """Compute the cells of `space` that a chooser asks for, until it has enough.

    Args:
        space: what the cells are chosen from; as for `run_sweep`.
        out: the sweep directory.
        make_chooser: makes what decides, see `analysis.refinement.Refiner`.
        on_pack: as for `run_sweep`.
        options: how to run; the fields of `SweepOptions`, without `shard` and `retry_failed`.

    Returns:
        The state of the cells that were chosen, and what this call did.

    Raises:
        LopSweepError: as `run_sweep`, and as `make_chooser`.
    """
    chosen = options_from_keywords(SweepOptions, options, SweepError)
    if chosen.shard is not None or chosen.retry_failed:
        raise SweepError("shard and retry_failed are for sweeps; a refinement chooses its cells, in one command")
    return _RefiningDriver(to_space(space), Store(out), chosen, make_chooser, on_pack).run()


class _RefiningDriver(Driver):
    """One call of `run_refinement`."""

    def __init__(
        self,
        space: SearchSpace,
        store: Store,
        options: SweepOptions,
        make_chooser: MakeChooser,
        on_pack: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(space, store, options, on_pack)
        self._all, self._make_chooser = space, make_chooser
        self._chooser: Chooser | None = None
        self._items: dict[str, WorkItem] = {}
        self._cells: dict[str, CellConfig] = {}
        self._written = float("-inf")

    def _is_incomplete(self, done: set[str]) -> bool:
        """Return whether something was begun, or the chooser has not enough."""
        self._chooser = self._new_chooser(Sizing(dtype=self._options.dtype))
        return bool(begun_cells(self._all, done, self._store)) or bool(self._chooser.ask())

    def _new_chooser(self, sizing: Sizing) -> Chooser:
        cells, costs = self._all.cells, {}
        for cell in cells:
            if (shape := _SHAPE(cell)) not in costs:  # other fields do not change the cost
                costs[shape] = sizing.seconds_left(cell, 0, 0, 1)
        return self._make_chooser(cells, [costs[_SHAPE(cell)] for cell in cells], self._store.root)

    def _make_plan(self, done: set[str], sizing: Sizing) -> None:
        """Plan what was begun; the chooser has the rest."""
        self._chooser = self._new_chooser(sizing)
        begun = begun_cells(self._all, done, self._store)
        finished = {cell.id: cell for cell in self._all.cells if cell.id in done}
        plan = make_plan(self._all, done, self._store, sizing, begun)
        self._cells = finished | {cell.id: cell for cell in plan.cells}
        self._items = {item.pack.id: item for item in plan.items}
        self._plan = plan
        self._progress.choose(self._chooser.expected, self._chooser.note)
        self._write_manifest()
        _log.info(
            "%s: %d cells to choose from, %d finished, %d begun; %s",
            self._all.name, len(self._all.cells), len(finished), len(begun), self._chooser.note,
        )  # fmt: skip

    def _has_work(self) -> bool:
        return self._chooser is not None and (bool(self._plan.items) or bool(self._chooser.ask()))

    def _compute(self, lock: Lock) -> None:
        try:
            super()._compute(lock)
        finally:
            self._plan = replace(self._plan, items=tuple(self._items.values()))
            if not self._stop.abandoned and self._stop.error is None:
                self._write_manifest()

    def _keeps_states(self) -> bool:
        return self._options.keeps_states(self._all.cells)

    def _make_executor(self, lock: Lock) -> Executor:
        from lop_sweep.tune.executor import RefiningExecutor  # imports Ray, whose environment is prepared by now
        from lop_sweep.tune.searcher import PackSupply

        if self._chooser is None:
            raise SweepError("a refinement was computed before it was planned")
        sizing = self._plan.sizing
        make_item = item_maker(self._all.cells, self._store, sizing)
        supply = PackSupply(self._chooser, sizing, self._plan.items, make_item)
        return RefiningExecutor(supply, self._begin, self._store, self._options, lock, self._progress, self._stop)

    def _begin(self, item: WorkItem) -> None:
        """Note that a pack was chosen."""
        self._items[item.pack.id] = item
        self._cells |= {cell.id: cell for cell in item.pack.cells}
        if self._chooser is not None:
            self._progress.choose(self._chooser.expected, self._chooser.note)
        if time.monotonic() - self._written >= MANIFEST_SECONDS:
            self._write_manifest()

    def _write_manifest(self) -> None:
        """Write the cells that have been chosen to `sweep.json`, and what is looked for."""
        cells = list(self._cells.values()) or (self._chooser.ask() if self._chooser else [])
        self._request = self._space = SearchSpace(cells=cells, name=self._all.name)
        plan = replace(self._plan, items=tuple(self._items.values()))
        known = {REFINEMENT: asdict(Refinement(**self._chooser.describe()))} if self._chooser else {}
        self._write_sweep(plan, **known)
        self._written = time.monotonic()
