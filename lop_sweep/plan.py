"""What a sweep has to do: which cells are missing, how they are packed, and how `sweep.json` remembers what was asked.

Deciding is here, executing is in `lop_sweep.sweep`; nothing here touches Ray.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, StoreError, one_line
from lop_sweep.pack import Pack, expand, factor, make_packs
from lop_sweep.pack_state import StartPoint
from lop_sweep.space import SearchSpace
from lop_sweep.store import Store


@dataclass(frozen=True)
class Assignment:
    """A pack that is to be computed.

    Attributes:
        pack: the pack.
        starts: for each cell, the path within the sweep directory of a saved state to go on from, and the cell's place
            in it; empty for a start from the beginning, or from the pack's own checkpoint.
    """

    pack: Pack
    starts: tuple[tuple[str, int], ...] = ()

    def to_config(self) -> dict[str, Any]:
        """As the configuration of a trial."""
        starts = {"starts": [list(start) for start in self.starts]} if self.starts else {}
        return {**self.pack.to_config(), **starts}


def missing_packs(
    space: SearchSpace, done: Collection[str], store: Store, dtype: str, only: Collection[str] | None = None
) -> list[Assignment]:
    """The packs of those cells of `space` that have yet to be computed, and from where they can go on.

    Cells that can go on from different tasks are in different packs.

    Args:
        space: what is asked for.
        done: ids of the cells that are finished.
        store: where saved states are looked for.
        dtype: of the sweep.
        only: ids of cells to which to confine this; None for all.

    Raises:
        StoreError: the store cannot be read.
    """
    missing = [cell for cell in space.cells if cell.id not in done and (only is None or cell.id in only)]
    if not missing:
        return []
    points = store.unfinished.start_points()
    best = {cell.id: _best([p for p in points.get(cell.trajectory, ()) if p.serves(cell, dtype)]) for cell in missing}

    def progress(cell: CellConfig) -> tuple[int, int]:
        point = best[cell.id]
        return (point.tasks_done, point.fresh_done) if point else (0, 0)

    assignments = []
    for pack in make_packs(missing, space.pack, apart=progress):
        starts = tuple((str(p.path.relative_to(store.root)), p.index) for cell in pack.cells if (p := best[cell.id]))
        assignments.append(Assignment(pack, starts))
    return assignments


def _best(points: list[StartPoint]) -> StartPoint | None:
    return max(points, key=lambda point: (point.tasks_done, point.fresh_done), default=None)


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
