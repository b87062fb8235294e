"""A pack: cells of one network shape that one trial runs together, and its compact form in a trial's configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import Any

from lop_sweep.config import FIELDS, PACKABLE, CellConfig, check_keys, digest
from lop_sweep.errors import ConfigError, SpaceError, comma_list, safe_repr


@dataclass(frozen=True)
class Pack:
    """Cells that run together. Which cells share a pack matters for speed only (on a GPU: also for rounding)."""

    cells: tuple[CellConfig, ...]

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits that identify the pack, from the ids of its cells."""
        return digest([cell.id for cell in self.cells])

    def to_config(self) -> dict[str, Any]:
        """Return the pack as a trial's configuration: the fields that all cells share, and in `cells` the others."""
        common, rows = factor(self.cells)
        return {**common, "cells": rows}


def evenly(cells: Sequence[CellConfig], most: int) -> list[tuple[CellConfig, ...]]:
    """Divide cells into as few parts of at most `most` as possible, in their order and as equal as possible."""
    count = math.ceil(len(cells) / most)
    bounds = [len(cells) * index // count for index in range(count + 1)]
    return [tuple(cells[a:b]) for a, b in pairwise(bounds)]


def factor(cells: Sequence[CellConfig]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split cells into the fields in which all agree and, for each cell, the remaining ones."""
    varying = [field for field in FIELDS if len(set(map(attrgetter(field), cells))) > 1]
    common = {field: value for field, value in cells[0] if field not in varying}
    return common, [{field: getattr(cell, field) for field in varying} for cell in cells]


def expand(config: dict[str, Any]) -> tuple[CellConfig, ...]:
    """Return the cells that a trial's configuration describes: the inverse of `Pack.to_config`.

    Without `cells`, the fields are those of one cell.

    Raises:
        ConfigError: a field is unknown or out of range, or `cells` is not a list of dictionaries.
    """
    common = {key: value for key, value in config.items() if key != "cells"}
    rows = config.get("cells", [{}])
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(
            f"cells = {safe_repr(rows)}: must be a list of dictionaries, one per cell, with the fields that differ"
        )
    check_keys([*common, *dict.fromkeys(key for row in rows for key in row)])
    return tuple(CellConfig(**{**common, **row}) for row in rows)


def check_pack_axes(axes: Any) -> tuple[str, ...]:
    """Check a search space's `pack` and return its names.

    Raises:
        SpaceError: it is not a list of names, or a name is not one in which the cells of a pack may differ.
    """
    if isinstance(axes, str) or not isinstance(axes, (list, tuple)):
        raise SpaceError(f"pack = {safe_repr(axes)}: must be a list of field names, for example pack = ['seed']")
    wrong = [axis for axis in axes if not isinstance(axis, str) or axis not in PACKABLE]
    if wrong:
        refused = comma_list(safe_repr(axis).strip("'") for axis in wrong)
        raise SpaceError(
            f"pack = {safe_repr(list(axes))}: cells of one pack cannot differ in {refused}; "
            f"possible are {comma_list(PACKABLE)}"
        )
    return tuple(axes)


def make_packs(
    cells: Iterable[CellConfig], axes: Sequence[str], group_key: Callable[[CellConfig], Hashable] = lambda cell: None
) -> list[Pack]:
    """Group cells that differ in `axes` only and have the same `group_key`, in order of first appearance."""
    shared = attrgetter(*(field for field in FIELDS if field not in axes))
    groups: dict[tuple[Hashable, Any], list[CellConfig]] = {}
    for cell in cells:
        groups.setdefault((group_key(cell), shared(cell)), []).append(cell)
    return [Pack(tuple(group)) for group in groups.values()]
