"""The values along a map's axes: their spacing, and the borders between their areas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.data import format_value, is_category, levels
from lop_sweep.config import FIELDS

MIN_ROUND_TICKS, MAX_ROUND_TICKS = 3, 6

_MAX_TO_SCALE = 1e100
_MAX_UNEVENNESS = 0.75
"""An axis is to scale if the standard deviation of its steps is at most this share of their mean."""


@dataclass(frozen=True)
class Axis:
    """How n distinct values lie along a map's axis.

    Attributes:
        values: (n,) the values, in order.
        scale: "linear", "log", "index" (numbers side by side, not to scale) or "category" (names side by side).
        positions: (n,) each value's tick: the value itself, or its index for "index" and "category".
        edges: (n + 1,) borders of the values' areas, increasing.
        field: the configuration field; empty if it does not matter.
    """

    values: np.ndarray
    scale: str
    positions: np.ndarray
    edges: np.ndarray
    field: str = ""

    @property
    def label(self) -> str:
        """The field's label with its unit."""
        return FIELDS[self.field].axis_label + (", not to scale" if self.scale == "index" else "")

    @property
    def tick_labels(self) -> list[str]:
        """The values as text, names as they are."""
        if self.scale == "category":
            return [format_value(value) for value in self.values]
        return tick_labels(self.values)

    @property
    def shares(self) -> np.ndarray:
        """The share of the drawn axis that each value's area takes, (n,)."""
        borders = np.log(self.edges) if self.scale == "log" else self.edges
        sizes = np.diff(borders / np.abs(borders).max())  # scaled so as not to overflow
        return sizes / sizes.sum()

    @property
    def places(self) -> np.ndarray:
        """Where each value's tick is, as a share of the drawn axis, (n,)."""
        borders, ticks = (np.log(one) if self.scale == "log" else one for one in (self.edges, self.positions))
        size = np.abs(borders).max()  # scaled so as not to overflow
        return (ticks / size - borders[0] / size) / (borders[-1] / size - borders[0] / size)

    def within(self, index: np.ndarray, share: float) -> np.ndarray:
        """Return positions within the areas of some values: `share` of the way from the lower to the upper border."""
        low, high = self.edges[index], self.edges[index + 1]
        return low * (high / low) ** share if self.scale == "log" else low + share * (high - low)


@dataclass(frozen=True)
class Grid:
    """The two axes of a map. A point is its row and column: its indices along y and x."""

    x: Axis
    y: Axis

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.y.values), len(self.x.values)


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
    linear = _unevenness(values) if to_scale else np.inf
    log = _unevenness(logs) if logs is not None and len(values) > 2 else np.inf
    if min(linear, log) > _MAX_UNEVENNESS:
        return _side_by_side(values, "index")
    if logs is not None and log < linear:
        return Axis(values, "log", values, np.exp(edges(logs)))
    return linearly


def axis_of(column: pd.Series) -> Axis:
    """Lay out the distinct values of a configuration field; categories side by side, in the order of `levels`."""
    values = levels(column)
    axis = _side_by_side(values, "category") if is_category(column) else lay_out(values.astype(float))
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


def _unevenness(values: np.ndarray) -> float:
    """Return the steps' standard deviation over their mean, 0 for even spacing; scaled so as not to overflow."""
    steps = np.diff(values / np.abs(values).max())
    return float(steps.std() / steps.mean())
