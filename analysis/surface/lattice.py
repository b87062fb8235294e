"""The grid on which a boundary is drawn: its points, their surroundings, and connected regions.

A grid has one or two axes that vary; the others are held at one value. Arrays on it have one dimension per varying
axis, in the order of the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.surface.scaling import Scaling
from lop_sweep.errors import AnalysisError

RESOLUTION = {1: 0.6, 2: 0.4}
"""Share of the way to the neighbouring values of an axis over which a boundary could be elsewhere.

The data cannot tell where between two neighbouring values a sharp boundary is, and the kernel would claim that it is in
the middle. Along one axis the band is to contain a single point, and nothing else makes it wide enough to contain the
step. `benchmarks/boundary_coverage.py` measures the effect.
"""

GAP = 2.0
"""A step of an axis that is wider than this many typical ones is a gap."""

_TINY = 1e-9
"""Coordinates of the unit cube that differ by less are equal."""


@dataclass(frozen=True)
class Lattice:
    """A grid over a surface's axes.

    Attributes:
        axes: one increasing array per axis, in the axis's own units.
        scaling: of the surface.
        data: (M, d) coordinates of the surface's points.
    """

    axes: tuple[np.ndarray, ...]
    scaling: Scaling
    data: np.ndarray

    @property
    def varying(self) -> tuple[int, ...]:
        """The axes with more than one value."""
        return tuple(axis for axis, values in enumerate(self.axes) if len(values) > 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each varying axis."""
        return tuple(len(self.axes[axis]) for axis in self.varying)

    @property
    def points(self) -> np.ndarray:
        """(G, d) the grid's points, in the axes' own units, the last axis fastest."""
        return np.stack([values.ravel() for values in np.meshgrid(*self.axes, indexing="ij")], axis=1)

    def coordinates(self, axis: int) -> np.ndarray:
        """Return the grid's values along an axis in the unit cube."""
        row = np.column_stack([values[:1].repeat(len(self.axes[axis])) for values in self.axes])
        row[:, axis] = self.axes[axis]
        return self.scaling.coordinates(row)[:, axis]

    def cautious(self, score: np.ndarray) -> np.ndarray:
        """Return the score nearest to 0 within `RESOLUTION` of the neighbouring data; 0 where its sign changes there.

        Args:
            score: the grid's shape.
        """
        least, largest = score, score
        for dimension, axis in enumerate(self.varying):
            first, last = self._reach(axis)
            least = _over_ranges(least, first, last, dimension, np.minimum)
            largest = _over_ranges(largest, first, last, dimension, np.maximum)
        return np.where(least > 0, least, np.where(largest < 0, largest, 0.0))

    def in_gap(self, axis: int, index: np.ndarray) -> np.ndarray:
        """Return whether places along an axis lie in a gap of the data.

        Args:
            axis: one of the varying axes.
            index: (K,) fractional indices of the grid.
        """
        known = np.unique(self.data[:, axis])
        if len(known) < 3:
            return np.zeros(len(index), bool)
        steps = np.diff(known)
        places = np.interp(index, np.arange(len(self.axes[axis])), self.coordinates(axis))
        at = np.clip(np.searchsorted(known, places, "right") - 1, 0, len(steps) - 1)
        inside = (places > known[at] + _TINY) & (places < known[at + 1] - _TINY)
        return np.asarray(inside & (steps[at] > GAP * np.median(steps)))

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the number of each grid point's nearest of some points, (K, d) in the unit cube; the grid's shape.

        Distances are in typical steps of the data; points of another category are farther than all others.
        """
        typical = [self._typical(axis) for axis in range(len(self.axes))]
        squares = self.scaling.squares(self.scaling.coordinates(self.points), points)
        return np.tensordot(1 / np.square(typical), squares, axes=1).argmin(axis=1).reshape(self.shape)

    def _typical(self, axis: int) -> float:
        """Return the median step of the data along an axis; other categories are far away."""
        if self.scaling.scales[axis] == "category":
            return 1e-3
        steps = np.diff(np.unique(self.data[:, axis]))
        return float(np.median(steps)) if len(steps) else 1.0

    def _reach(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and last grid index within `RESOLUTION` of the way to the data's neighbouring values."""
        values, known = self.coordinates(axis), np.unique(self.data[:, axis])
        share = RESOLUTION[len(self.varying)]
        lower = known[np.clip(np.searchsorted(known, values, "right") - 1, 0, None)]
        upper = known[np.clip(np.searchsorted(known, values, "left"), None, len(known) - 1)]
        first = np.searchsorted(values, values - share * np.maximum(values - lower, 0) - _TINY)
        last = np.searchsorted(values, values + share * np.maximum(upper - values, 0) + _TINY, "right") - 1
        return first, last


def make_lattice(axes: Sequence[npt.ArrayLike], scaling: Scaling, data: np.ndarray) -> Lattice:
    """Check the axes of a grid.

    Raises:
        AnalysisError: not one increasing array per axis, not one or two that vary, or several categories.
    """
    arrays = tuple(np.atleast_1d(np.asarray(values, float)) for values in axes)
    if len(arrays) != len(scaling.scales):
        raise AnalysisError(f"`axes` must hold one array per axis, {len(scaling.scales)} in total, got {len(arrays)}")
    for number, values in enumerate(arrays):
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
            raise AnalysisError(f"`axes` must hold finite, increasing values, got others along axis {number}")
    lattice = Lattice(arrays, scaling, data)
    if not 1 <= len(lattice.varying) <= 2:
        raise AnalysisError(
            f"`axes` must vary along one or two axes, got {len(lattice.varying)}; give the others a single value"
        )
    if any(scaling.scales[axis] == "category" for axis in lattice.varying):
        raise AnalysisError("`axes` must hold a single category; draw a boundary for each")
    return lattice


def regions(inside: np.ndarray) -> np.ndarray:
    """Label the connected regions of equal value. Diagonal neighbours are not connected.

    Args:
        inside: booleans or integers in one or two dimensions.

    Returns:
        Integers of the same shape: the smallest index of each region in the flattened array.
    """
    labels = np.arange(inside.size).reshape(inside.shape)
    while True:
        before = labels.copy()
        for axis in range(inside.ndim):
            rows, values = np.moveaxis(labels, axis, 0), np.moveaxis(inside, axis, 0)
            same = values[1:] == values[:-1]
            rows[1:] = np.where(same, np.minimum(rows[1:], rows[:-1]), rows[1:])
            rows[:-1] = np.where(same, np.minimum(rows[1:], rows[:-1]), rows[:-1])
        labels = np.minimum(labels, labels.ravel()[labels])
        if np.array_equal(before, labels):
            return labels


def _over_ranges(values: np.ndarray, first: np.ndarray, last: np.ndarray, axis: int, reduce: np.ufunc) -> np.ndarray:
    """Reduce values over the indices from `first` to `last` of each position along an axis."""
    moved = np.moveaxis(values, axis, 0)
    reduced = np.stack([reduce.reduce(moved[a : b + 1], axis=0) for a, b in zip(first, last, strict=True)])
    return np.moveaxis(reduced, 0, axis)
