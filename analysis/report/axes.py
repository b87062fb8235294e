"""The fields in which the cells of a sweep differ, as axes of the report's map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import (
    MAX_VALUES,
    follows,
    format_value,
    identifying_fields,
    is_category,
    levels,
    plain,
    sampled_fields,
    varying_fields,
)
from analysis.plot import edges, lay_out
from lop_sweep.config import FIELDS

BINS, _VALUES_PER_BIN = 20, 3
"""Bins of a numeric field that was drawn at random or has more than `MAX_VALUES` values: fewer if there are few values.
"""

_MAIN = ("lr", "depth", "delta", "sigma")
"""Fields that become axes if fewer than two fields vary."""

_MAX_TO_SCALE = 1e100
_MAX_LINEAR_RATIO = 20.0
"""Bins are logarithmic if the largest value is more than this many times the smallest."""

_MIN_DIGITS, _MAX_DIGITS = 3, 6


@dataclass(frozen=True)
class MapField:
    """A field that can be an axis of the map, with k values or bins.

    Attributes:
        name: of the configuration field.
        label: what the axis says.
        values: (k,) sorted values; the middles of bins if `binned`.
        names: (k,) the values as text, with six digits.
        ticks: (k,) the values as text, with as few digits as keep them distinct.
        scale: "linear", "log", "index" (numbers side by side, not to scale) or "category".
        positions: (k,) where each value's tick is, in the coordinates that are drawn (log10 of the value for "log").
        edges: (k + 1,) borders of the values' areas in these coordinates, increasing.
        binned: whether the values are the middles of bins.
        identifying: whether nearly every configuration has a value of its own.
        follows: the other fields that it follows, see `analysis.data.follows`.
    """

    name: str
    label: str
    values: list[Any]
    names: list[str]
    ticks: list[str]
    scale: str
    positions: list[float]
    edges: list[float]
    binned: bool
    identifying: bool = False
    follows: Sequence[str] = ()

    @classmethod
    def of(cls, column: pd.Series, *, sampled: bool = False) -> MapField:
        """Lay out the values of a column, which is named after its field; in bins if they were drawn at random."""
        name, values = str(column.name), levels(column)
        if is_category(column):
            return cls._make(name, values, "category", np.arange(len(values), dtype=float))
        values = values.astype(float)
        if sampled or len(values) > MAX_VALUES:
            return cls._bins(name, values)
        axis = lay_out(values)
        scale, positions = axis.scale, np.log10(values) if axis.scale == "log" else axis.positions
        if scale == "linear" and np.abs(positions).max() > _MAX_TO_SCALE:
            scale, positions = "index", np.arange(len(values), dtype=float)
        return cls._make(name, values, scale, positions)

    @classmethod
    def _bins(cls, name: str, values: np.ndarray) -> MapField:
        log = values[0] > 0 and values[-1] / values[0] > _MAX_LINEAR_RATIO
        drawn = np.log10(values) if log else values
        borders = np.linspace(drawn[0], drawn[-1], min(BINS, len(values) // _VALUES_PER_BIN) + 1)
        middles = (borders[:-1] + borders[1:]) / 2
        short = np.array(_round((10**middles if log else middles).tolist()))
        field = cls._make(name, short, "log" if log else "linear", middles)
        return replace(field, label=f"{field.label}, in bins", edges=borders.tolist(), binned=True)

    @classmethod
    def _make(cls, name: str, values: np.ndarray, scale: str, positions: np.ndarray) -> MapField:
        label = FIELDS[name].axis_label + (", not to scale" if scale == "index" else "")
        plain_values = [plain(value) for value in values]
        names = [format_value(value) for value in plain_values]
        ticks = names if scale == "category" else _short_names(plain_values)
        places, borders = positions.tolist(), edges(positions).tolist()
        return cls(name, label, plain_values, names, ticks, scale, places, borders, binned=False)

    def drawn(self, values: np.ndarray) -> np.ndarray:
        """Return positions along an axis of `analysis.plot`, of any shape, in the coordinates that are drawn."""
        return np.log10(values) if self.scale == "log" else values

    def indices_of(self, cells: pd.DataFrame) -> np.ndarray:
        """Return which of the values or bins each of n cells has: (n,) indices."""
        column = cells[self.name]
        if self.scale == "category":
            return pd.Index(self.values, dtype=object).get_indexer(pd.Index(column, dtype=object))
        values = column.to_numpy(float)
        if not self.binned:
            return np.searchsorted(np.array(self.values, float), values)
        drawn = np.log10(values) if self.scale == "log" else values
        return np.clip(np.searchsorted(self.edges, drawn, side="right") - 1, 0, len(self.values) - 1)


def map_fields(cells: pd.DataFrame) -> list[MapField]:
    """Lay out every field that can be an axis: those that vary, and main ones until there are two.

    Args:
        cells: all cells of the report, finished or not, with the configuration fields.
    """
    names = varying_fields(cells)
    sampled, identifying = sampled_fields(cells), identifying_fields(cells, names)
    varying = list(names)
    names += [name for name in _MAIN if name not in names][: max(0, 2 - len(names))]
    fields = [MapField.of(cells[name], sampled=name in sampled) for name in names]
    return [
        replace(
            field,
            identifying=field.name in identifying,
            follows=[
                axis
                for axis in varying
                if axis != field.name and field.name in varying and follows(cells, field.name, axis, identifying)
            ],
        )
        for field in fields
    ]


def fixed_fields(cells: pd.DataFrame) -> dict[str, Any]:
    """Return the fields in which all cells agree, without the seed, and their plain values."""
    return {name: plain(cells[name].iloc[0]) for name in FIELDS if name != "seed" and cells[name].nunique() == 1}


def _short_names(values: Sequence[float]) -> list[str]:
    for digits in range(_MIN_DIGITS, _MAX_DIGITS):
        names = [format_value(float(f"{value:.{digits}g}")) for value in values]
        if len(set(names)) == len(names):
            return names
    return [format_value(value) for value in values]


def _round(values: list[float]) -> list[float]:
    """Round to the fewest digits, at least three, that move no value by more than a tenth of the smallest step."""
    step = min(abs(after - before) for before, after in pairwise(values))
    for digits in range(_MIN_DIGITS, 17):
        rounded = [float(f"{value:.{digits}g}") for value in values]
        if all(abs(one - other) <= step / 10 for one, other in zip(rounded, values, strict=True)):
            return rounded
    return values
