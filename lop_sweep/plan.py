"""What a sweep has to do: which cells are missing, how they are packed, and how `sweep.json` remembers what was asked.

Deciding is here, executing is in `lop_sweep.sweep`; nothing here touches Ray.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, StoreError, one_line
from lop_sweep.pack import Pack, expand, factor, make_packs
from lop_sweep.schema import DIVERGED
from lop_sweep.space import SearchSpace
from lop_sweep.store import Store


@dataclass(frozen=True)
class Status:
    """How many of the cells that a sweep asked for are in which state. `cells` is the sum of the four after it.

    Attributes:
        cells: cells that were asked for.
        finished: those whose whole sequence has finite numbers.
        diverged: those whose sequence is complete but has NaN from some task on.
        running: those of packs whose workers give signs of life.
        missing: all others.
        others: finished cells in the directory that the newest request does not name.
    """

    cells: int
    finished: int
    diverged: int
    running: int
    missing: int
    others: int

    @property
    def complete(self) -> bool:
        """Whether every cell's sequence is complete."""
        return self.finished + self.diverged == self.cells


def missing_packs(space: SearchSpace, done: Collection[str]) -> list[Pack]:
    """The packs of those cells of `space` whose ids are not in `done`."""
    return make_packs((cell for cell in space.cells if cell.id not in done), space.pack)


def describe_space(space: SearchSpace) -> dict[str, Any]:
    """A search space as JSON values, compactly: what all cells share once, the rest as a table."""
    common, rows = factor(space.cells)
    return {
        "space": space.name,
        "pack": list(space.pack),
        "axes": space.axes,
        "common": common,
        "fields": list(rows[0]),
        "rows": [list(row.values()) for row in rows],
    }


def requested_cells(description: dict[str, Any]) -> tuple[CellConfig, ...]:
    """The cells that `describe_space` described.

    Raises:
        StoreError: the description is damaged.
    """
    try:
        rows = [dict(zip(description["fields"], row, strict=True)) for row in description["rows"]]
        return expand({**description["common"], "cells": rows})
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise StoreError(
            f"sweep.json is damaged: {one_line(error)}; run the sweep again, which writes it anew and loses nothing"
        ) from error


def sweep_status(store: Store) -> Status:
    """Where a sweep stands, from its directory alone; while it runs or afterwards.

    Raises:
        StoreError: the directory is not a sweep directory, or a file in it is damaged.
    """
    store.check()
    return count_states(store, requested_cells(store.read_sweep() or {}))


def count_states(store: Store, cells: Iterable[CellConfig]) -> Status:
    """In which state each of `cells` is.

    Raises:
        StoreError: a file is damaged.
    """
    requested = {cell.id for cell in cells}
    done = _cell_states(store)
    diverged = {cell for cell in requested if done.get(cell) == DIVERGED}
    finished = (requested & done.keys()) - diverged
    running = {cell for sign in store.signs_of_life() if sign.alive() for cell in sign.cells} & requested - done.keys()
    return Status(
        cells=len(requested),
        finished=len(finished),
        diverged=len(diverged),
        running=len(running),
        missing=len(requested) - len(finished) - len(diverged) - len(running),
        others=len(done.keys() - requested),
    )


def _cell_states(store: Store) -> dict[str, str]:
    """The status of every cell whose sequence is complete, by id.

    Raises:
        StoreError: a file is damaged.
    """
    table = store.read_cells(["cell", "status"])
    return dict(zip(table["cell"].to_pylist(), table["status"].to_pylist(), strict=True))
