"""A search algorithm for Ray Tune that suggests packs of cells and learns from those that are finished.

Tune asks for a trial while others run, so workers stay alive and busy. Nothing of it is saved: its state is what the
sweep directory holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from lop_sweep.pack import Pack
from lop_sweep.planning import Chooser, Sizing, WorkItem, next_cells
from lop_sweep.storage import Store


class PackSupply:
    """The packs of a sweep that chooses its cells, one at a time.

    Args:
        chooser: decides which cells come next.
        sizing: what packs and their reports are sized by.
        items: packs that come first: those that an earlier driver has begun.
        make_item: makes a work item of a pack; None: it starts from the beginning.

    Attributes:
        items: every pack so far, by its id.
    """

    def __init__(
        self,
        chooser: Chooser,
        sizing: Sizing,
        items: Iterable[WorkItem] = (),
        make_item: Callable[[Pack], WorkItem] | None = None,
    ) -> None:
        self.chooser = chooser
        self._sizing, self._make_item = sizing, make_item
        self._begun = list(items)
        self._open: dict[str, Pack] = {item.pack.id: item.pack for item in self._begun}
        self.items: dict[str, WorkItem] = {item.pack.id: item for item in self._begun}

    def take(self) -> WorkItem | None:
        """Return the next pack to compute; None if there are enough."""
        if self._begun:
            return self._begun.pop(0)
        pending = {cell.id for pack in self._open.values() for cell in pack.cells}
        cells = next_cells(self.chooser, pending, self._sizing.cells)
        if not cells:
            return None
        pack = Pack(tuple(cells))
        item = WorkItem(pack, tasks_per_report=self._sizing.report_tasks(pack))
        if self._make_item is not None:
            item = self._make_item(pack)
        self._open[pack.id], self.items[pack.id] = pack, item
        return item

    def finish(self, pack: str) -> None:
        """Take in the results of a pack.

        Raises:
            StoreError: they cannot be read.
        """
        self.chooser.tell(pack)
        self._open.pop(pack, None)

    def fail(self, pack: str) -> None:
        """Leave a pack out for good."""
        found = self._open.pop(pack, None)
        if found is not None:
            self.chooser.drop({cell.id for cell in found.cells})

    def again(self, finished: Collection[str]) -> None:
        """Begin anew with the packs that are not finished: those in `finished` are, their workers' driver just left."""
        for pack in list(self._open):
            if pack in finished:
                self.finish(pack)
        self._begun = [self.items[pack] for pack in self._open]


class LevelSetSearcher(Searcher):
    """Suggests packs where a boundary is least known, for `LopTrainable` in any Tuner.

        refiner = Refiner(space.cells, "results", budget=Budget(cells=100))
        Tuner(LopTrainable, tune_config=TuneConfig(search_alg=LevelSetSearcher(refiner, "results"), num_samples=-1))

    Tune's `num_samples` must be -1: the chooser says when there are enough. Results go to the sweep directory, which
    the chooser learns from.

    Args:
        chooser: decides which cells come next.
        out: the sweep directory.
        run: entries of the trials' `run`, see `LopTrainable`; `store` is `out`.
        supply: where packs come from, in place of one made here.
        on_item: called with each pack that is suggested.

    Raises:
        StoreError: `out` cannot be written.
    """

    def __init__(
        self,
        chooser: Chooser,
        out: str | Path,
        run: Mapping[str, Any] | None = None,
        *,
        supply: PackSupply | None = None,
        on_item: Callable[[WorkItem], None] | None = None,
    ) -> None:
        super().__init__()
        self._store = Store(out)
        self._run = {"store": str(self._store.root), **(run or {})}
        self._supply = supply or PackSupply(chooser, Sizing(dtype=str(self._run.get("dtype", "float64"))))
        self._on_item = on_item
        self._packs: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:  # Tune pickles its searchers, but we never load that
        return (Searcher, ())

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of the next trial, or that there is none."""
        item = self._supply.take()
        if item is None:
            return Searcher.FINISHED if not self._packs else None
        self._packs[trial_id] = item.pack.id
        if self._on_item is not None:
            self._on_item(item)
        return {"trial": item.to_json(**self._run)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn from a pack, if it is finished."""
        pack = self._packs.pop(trial_id, None)
        if pack is None:
            return
        if error:
            self._supply.fail(pack)
        elif self._is_finished(pack):  # Tune calls a trial that it has stopped complete, too
            self._supply.finish(pack)

    def _is_finished(self, pack: str) -> bool:
        return pack in self._store.committed()

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the sweep directory has all there is to know."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


def pack_of(trial: Any) -> str:
    """Return the id of a trial's pack."""
    return str(json.loads(trial.config["trial"])["run"]["pack_id"])
