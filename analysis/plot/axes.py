"""The values along a map's axes: their spacing, and the borders between their areas.

An axis is *sampled* if its values were drawn at random, see `analysis.data.sampled_fields`. A map with such an axis is
*scattered*: only the combinations of values that occur are points of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from analysis.data import MAX_UNEVENNESS, format_value, is_category, levels, step_deviation
from lop_sweep.config import FIELDS

MIN_ROUND_TICKS, MAX_ROUND_TICKS = 3, 6

_MAX_TO_SCALE = 1e100
_MIN_LOG_RATIO = 5.0
"""Sampled axes are linear if the largest value is at most this many times the smallest."""

_SAMPLED_MARGIN = 0.03
"""Between the outermost values of a sampled axis and its ends, as a share of the axis."""


@dataclass(frozen=True)
class Axis:
    """How n distinct values lie along a map's axis.

    Attributes:
        values: (n,) the values, in order.
        scale: "linear", "log", "index" (numbers side by side, not to scale) or "category" (names side by side).
        positions: (n,) each value's tick: the value itself, or its index for "index" and "category".
        edges: (n + 1,) borders of the values' areas, increasing; the two ends of a sampled axis.
        field: the configuration field; empty if it does not matter.
        sampled: whether the values were drawn at random. Ticks are then at round numbers.
    """

    values: np.ndarray
    scale: str
    positions: np.ndarray
    edges: np.ndarray
    field: str = ""
    sampled: bool = False

    @property
    def label(self) -> str:
        """The field's label with its unit."""
        return FIELDS[self.field].axis_label + (", not to scale" if self.scale == "index" else "")

    @cached_property
    def ticks(self) -> np.ndarray:
        """Where ticks are: at the values, or at round numbers within a sampled axis."""
        if not self.sampled:
            return self.positions
        low, high = self.edges
        if self.scale == "log":
            return round_ticks(low, high)
        ticks = MaxNLocator(MAX_ROUND_TICKS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return ticks[(ticks >= low) & (ticks <= high)]

    @property
    def tick_labels(self) -> list[str]:
        """The ticks as text, names as they are."""
        if self.scale == "category":
            return [format_value(value) for value in self.values]
        return tick_labels(self.ticks if self.sampled else self.values)

    @property
    def room(self) -> float:
        """The share of the drawn axis that a tick's label has: the smallest area; between ticks of a sampled axis."""
        if self.sampled:
            return float(np.diff(self.places).min(initial=1.0))
        borders = np.log(self.edges) if self.scale == "log" else self.edges
        sizes = np.diff(borders / np.abs(borders).max())  # scaled so as not to overflow
        return float(sizes.min() / sizes.sum())

    @property
    def places(self) -> np.ndarray:
        """Where each tick is, as a share of the drawn axis."""
        borders, ticks = (np.log(one) if self.scale == "log" else one for one in (self.edges, self.ticks))
        size = np.abs(borders).max()  # scaled so as not to overflow
        return (ticks / size - borders[0] / size) / (borders[-1] / size - borders[0] / size)

    def within(self, index: np.ndarray, share: float) -> np.ndarray:
        """Return positions within the areas of some values: `share` of the way from the lower to the upper border."""
        low, high = self.edges[index], self.edges[index + 1]
        return low * (high / low) ** share if self.scale == "log" else low + share * (high - low)


@dataclass(frozen=True)
class Grid:
    """The two axes of a map. A point is its row and column: its indices along y and x.

    Attributes:
        x: the horizontal axis.
        y: the vertical axis.
        occurring: (n,) for a scattered map the points that occur, as row times number of columns plus column,
            increasing; None if all do.
    """

    x: Axis
    y: Axis
    occurring: np.ndarray | None = None

    @property
    def scattered(self) -> bool:
        """Whether the points are scattered, and not those of a grid."""
        return self.occurring is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array with an entry per point: rows and columns, or the number of scattered points."""
        if self.occurring is not None:
            return self.occurring.shape
        return len(self.y.values), len(self.x.values)

    @property
    def size(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape))

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """The row and the column of every point, each of shape (size,)."""
        points = np.arange(self.size) if self.occurring is None else self.occurring
        rows, columns = np.divmod(points, len(self.x.values))
        return rows, columns

    def index_of(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the index of each row's point among all points."""
        points = _combined(frame, self.x, self.y)
        return points if self.occurring is None else np.searchsorted(self.occurring, points)


def grid_of(frame: pd.DataFrame, x: str, y: str, sampled: Collection[str] = ()) -> Grid:
    """Lay out the two axes of a map of some cells, scattered if any of them is sampled."""
    along, up = (axis_of(frame[name], sampled=name in sampled) for name in (x, y))
    occurring = np.unique(_combined(frame, along, up)) if along.sampled or up.sampled else None
    return Grid(along, up, occurring)


def _combined(frame: pd.DataFrame, x: Axis, y: Axis) -> np.ndarray:
    """Return the row of each cell times the number of columns plus its column."""
    row, column = (pd.Index(axis.values).get_indexer(pd.Index(frame[axis.field].to_numpy())) for axis in (y, x))
    return row * len(x.values) + column


def lay_out(values: np.ndarray) -> Axis:
    """Choose the scale on which sorted distinct numbers are spaced most evenly, or "index" if none is even enough.

    One or two values, and values that are not all positive, are never "log". Values that are too large to be drawn to
    scale, or too close to each other, are "index".
    """
    borders = edges(values) if np.abs(values).max() <= _MAX_TO_SCALE else np.zeros(1)
    linearly = Axis(values, "linear", values, borders)
    to_scale = len(borders) > 1 and bool((np.diff(borders) > 0).all())
    if len(values) < 3 and to_scale:
        return linearly
    logs = np.log(values) if values[0] > 0 else None
    linear = step_deviation(values) if to_scale else np.inf
    log = step_deviation(logs) if logs is not None and len(values) > 2 else np.inf
    if min(linear, log) > MAX_UNEVENNESS:
        return _side_by_side(values, "index")
    if logs is not None and log < linear:
        return Axis(values, "log", values, np.exp(edges(logs)))
    return linearly


def lay_out_sampled(values: np.ndarray) -> Axis:
    """Choose the scale to which sorted values that were drawn at random are spread more evenly."""
    low, high = values[[0, -1]]
    log = low > 0 and high > _MIN_LOG_RATIO * low and step_deviation(np.log(values)) < step_deviation(values)
    ends = np.log([low, high]) if log else np.array([low, high])
    ends += _SAMPLED_MARGIN * (ends[1] - ends[0]) * np.array([-1, 1])
    return Axis(values, "log" if log else "linear", values, np.exp(ends) if log else ends, sampled=True)


def axis_of(column: pd.Series, *, sampled: bool = False) -> Axis:
    """Lay out the distinct values of a configuration field; categories side by side, in the order of `levels`."""
    values = levels(column)
    if is_category(column):
        axis = _side_by_side(values, "category")
    else:
        axis = (lay_out_sampled if sampled else lay_out)(values.astype(float))
    return replace(axis, values=values, field=str(column.name))  # integers stay exact


def tick_labels(values: Sequence[float] | np.ndarray) -> list[str]:
    """Return numbers as text with two significant digits, or three or more where two of them would be the same.

    Integers are never rounded.
    """
    for digits in (2, 3, 6):
        labels = [_rounded(float(value), digits) for value in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels


def round_ticks(low: float, high: float) -> np.ndarray:
    """Return round numbers for a logarithmic axis: powers of ten, and others where there are fewer than three.

    There may be fewer than `MIN_ROUND_TICKS`, and never more than `MAX_ROUND_TICKS`.
    """
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = np.empty(0)
    for within in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        ticks = np.outer(decades, within).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) >= MIN_ROUND_TICKS:
            break
    return ticks[:: -(-len(ticks) // MAX_ROUND_TICKS) or 1]


def _rounded(value: float, digits: int) -> str:
    if abs(value) < 1e6 and value == round(value):
        return f"{value:.0f}".replace("-0", "0")
    if 10**digits <= abs(value) < 1e6:
        return f"{value:.0f}"
    return re.sub(r"e([+-])0*", r"e\1", f"{value:.{digits}g}").replace("e+", "e")


def edges(values: np.ndarray) -> np.ndarray:
    """Return the borders of the areas around sorted distinct values: the midpoints, and half a step outside.

    Args:
        values: shape (n,), n at least 1.

    Returns:
        Shape (n + 1,), increasing.
    """
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middle = values[:-1] + np.diff(values) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _side_by_side(values: np.ndarray, scale: str) -> Axis:
    numbers = np.arange(len(values), dtype=float)
    return Axis(values, scale, numbers, edges(numbers))
