"""Many cells as columns: per field in which they differ, the distinct values and which cell has which.

A sweep may have a million cells with a few hundred distinct values. Each value is validated once, in place of every
cell: apart from a `fresh_steps` of None, which stands for the cell's `steps`, and `own_components`, which follows from
the fields that choose components, the fields do not depend on one another.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lop_sweep.config import CHOOSES, FIELDS, CellConfig, own_components
from lop_sweep.errors import SpaceError
from lop_sweep.registry import has_own

_OWN = "own_components"
MAX_CELLS = 4_000_000
"""Maximum number of cells of one table. A million that differ in ten fields take 0.35 GB of memory."""


@dataclass(frozen=True)
class Column:
    """The values that the n cells of a table have in one field.

    Attributes:
        field: its name.
        values: the v distinct values.
        stride: number of successive cells that share a value: cell i has value `i // stride % v`. 0 if `index` says it.
        index: (n,) the place of each cell's value in `values`; empty if `stride` says it.
    """

    field: str
    values: Sequence[Any]
    stride: int = 0
    index: Sequence[int] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        order = {"stride": self.stride} if self.stride else {"index": list(self.index)}
        return {"field": self.field, "values": list(self.values), **order}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], cells: int) -> Column:
        """Return the column of a table of `cells` cells that `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: `content` does not describe one.
        """
        column = cls(str(content["field"]), list(content["values"]), int(content.get("stride", 0)))
        if column.stride >= 1 and column.values:
            return column
        index = [int(place) for place in content["index"]]
        if len(index) != cells or not 0 <= min(index) <= max(index) < len(column.values):
            raise ValueError(f"column {column.field} does not have one value for each of {cells:,} cells")
        return cls(column.field, column.values, index=index)

    def spread(self, items: Sequence[Any], cells: int) -> Iterator[Any]:
        """Yield each cell's item, given one item per value."""
        if self.index:
            return map(items.__getitem__, self.index)
        period = itertools.chain.from_iterable(itertools.repeat(item, self.stride) for item in items)
        return itertools.islice(itertools.cycle(period), cells)


def to_columns(cells: Sequence[CellConfig]) -> tuple[dict[str, Any], list[Column]]:
    """Split cells into the fields in which all agree, and a column for each of the others."""
    common: dict[str, Any] = {}
    columns = []
    for field in FIELDS:
        values = list(map(operator.attrgetter(field), cells))
        distinct = {value: place for place, value in enumerate(dict.fromkeys(values))}
        if len(distinct) == 1:
            common[field] = values[0]
        else:
            columns.append(_column(field, values, distinct))
    return common, columns


def _column(field: str, values: Sequence[Any], distinct: Mapping[Any, int]) -> Column:
    second = list(distinct)[1]
    strided = Column(field, list(distinct), stride=values.index(second))
    if all(map(operator.eq, values, strided.spread(strided.values, len(values)))):
        return strided
    return Column(field, list(distinct), index=list(map(distinct.__getitem__, values)))


def from_rows(
    common: Mapping[str, Any], fields: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[CellConfig, ...]:
    """Return the cells of a table with one row per cell.

    Args:
        common: the fields in which all cells agree.
        fields: the other fields, one per entry of a row.
        rows: JSON values, without None.

    Raises:
        ConfigError: a field is unknown or a value is not valid.
        SpaceError: there is no row, or more than `MAX_CELLS`.
        ValueError: a row does not have one entry per field.
    """
    columns = []
    if any(len(row) != len(fields) for row in rows):
        raise ValueError(f"a row does not have {len(fields)} entries")
    for field, values in zip(fields, zip(*rows, strict=True), strict=bool(rows)):
        names = list(map(repr, values))  # 1, 1.0 and True are different
        distinct = dict(zip(names, values, strict=True))
        places = {name: place for place, name in enumerate(distinct)}
        columns.append(Column(field, list(distinct.values()), index=list(map(places.__getitem__, names))))
    return from_columns(common, columns, len(rows))


def from_columns(common: Mapping[str, Any], columns: Sequence[Column], cells: int) -> tuple[CellConfig, ...]:
    """Return the cells of a table: the inverse of `to_columns`.

    Args:
        common: the fields in which all cells agree.
        columns: the other fields, without None.
        cells: number of cells.

    Raises:
        ConfigError: a field is unknown or a value is not valid.
        SpaceError: `cells` is less than 1, or more than `MAX_CELLS`.
    """
    check_size(cells)
    if sum(len(column.values) for column in columns) > cells:  # then it takes longer to validate each value
        rows = zip(*(column.spread(column.values, cells) for column in columns), strict=True)
        names = [column.field for column in columns]
        return tuple(CellConfig(**common, **dict(zip(names, row, strict=True))) for row in rows)
    described = [column.spread(column.values, cells) for column in columns if column.field == _OWN]
    given, common = _without_own(common)
    columns = [column for column in columns if column.field != _OWN]
    first = {**common, **{column.field: column.values[0] for column in columns}}
    choices = [list(_choices(first, column.field, column.values)) for column in columns]
    changes = [column.spread(own, cells) for column, own in zip(columns, choices, strict=True)]
    return _combined(first, changes, described[0] if described else given)


def grid_cells(common: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> tuple[CellConfig, ...]:
    """Return the distinct cells of a full grid, in the order in which the first axis varies fastest.

    Args:
        common: the fields in which all cells agree.
        axes: fields to their values, at least one each and none of them None.

    Raises:
        ConfigError: a field is unknown or a value is not valid.
        SpaceError: the grid has more than `MAX_CELLS` cells.
    """
    given, common = _without_own(common)
    first = {**common, **{field: values[0] for field, values in axes.items()}}
    choices = []
    for field, values in axes.items():
        distinct: dict[Any, dict[str, Any]] = {}
        for changes in _choices(first, field, values):
            distinct.setdefault(changes[field], changes)
        choices.append(list(distinct.values()))
    cells = math.prod(map(len, choices))
    check_size(cells)
    strides = itertools.accumulate(map(len, choices), operator.mul, initial=1)
    columns = [Column(field, own, stride) for field, own, stride in zip(axes, choices, strides, strict=False)]
    return _combined(first, [column.spread(column.values, cells) for column in columns], given)


def _without_own(common: Mapping[str, Any]) -> tuple[Iterator[str], dict[str, Any]]:
    """Return the field `own_components` of each cell, by what all share, and the other fields."""
    return itertools.repeat(common.get(_OWN, "")), {field: value for field, value in common.items() if field != _OWN}


def _own_components(fields: Mapping[str, Any], given: str, known: dict[tuple[str, ...], str]) -> str:
    """Return what `own_components` returns, once per choice of components."""
    key = (given, *(fields[field] for field in CHOOSES))
    if key not in known:
        known[key] = own_components(fields, given)
    return known[key]


def check_size(cells: int) -> None:
    """Refuse a number of cells that no table has.

    Raises:
        SpaceError: it is less than 1, or more than `MAX_CELLS`.
    """
    if not 1 <= cells <= MAX_CELLS:
        raise SpaceError(f"{cells:,} cells: must be 1 to {MAX_CELLS:,}; divide them among several sweeps")


def _choices(first: Mapping[str, Any], field: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield, for each value of a field, all fields in which a cell with it differs from the first cell."""
    base = dict(CellConfig(**first))
    for value in values:
        fields = dict(CellConfig(**{**first, field: value}))
        yield {name: value for name, value in fields.items() if name == field or (value != base[name] and name != _OWN)}


def _combined(
    first: Mapping[str, Any], changes: Sequence[Iterator[dict[str, Any]]], given: Iterator[str]
) -> tuple[CellConfig, ...]:
    """Return one cell per combination of changes to the first cell.

    Args:
        first: the first cell's fields.
        changes: in each field that varies, one per cell.
        given: the field `own_components` of each cell, as it was described.
    """
    base = CellConfig(**first)
    fields = dict(base)
    known: dict[tuple[str, ...], str] = {}
    if not changes:
        return (base.replace(own_components=next(given)),)
    made = []
    for combination, described in zip(zip(*changes, strict=True), given, strict=False):
        own: dict[str, Any] = {}
        for change in combination:
            own.update(change)
        if described or has_own():
            own[_OWN] = _own_components({**fields, **own}, described, known)
        made.append(base.with_valid(own))
    return tuple(made)
