"""The fitted boundary of a map's panel: where P(lost) passes 1/2, with the band that contains all of it.

A Gaussian process is fitted to the cells of the panel, with seeds as clusters (`analysis.surface`). There is nothing
between categories: each has a fit and a boundary of its own, across its area.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from contourpy import contour_generator

from analysis.plot.axes import Axis, Grid
from analysis.surface import Boundary, boundary_band, fit_surface

SURFACES = ("gp", "counts")
"""How the boundary of a map is found: by a fitted surface, or by the share of lost cells at each point."""

LEVEL = 0.5
"""Of P(lost), at which the boundary is drawn."""

MAX_FITTED_POINTS = 1500
"""Panels with more points have no fit, which would take more than a few seconds."""

_PER_STEP = 6
_MAX_FINE = 120
"""Values per step of an axis, and along the whole axis, at which the surface is evaluated."""


@dataclass(frozen=True)
class Edge:
    """The boundary of a panel, in the coordinates of the map's axes.

    Attributes:
        lines: each (points, 2).
        interpolated: (points - 1,) for each line, whether a segment crosses a gap between the values of an axis.
        band: outlines of the band, each (points, 2).
    """

    lines: list[np.ndarray]
    interpolated: list[np.ndarray]
    band: list[np.ndarray]

    def to_plain(self) -> dict[str, Any]:
        """Return the edge as plain values, for `DataFrame.attrs`."""
        return {name: [array.tolist() for array in getattr(self, name)] for name in ("lines", "interpolated", "band")}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Edge:
        """Return the edge that `to_plain` described."""
        lines, interpolated, band = (list(map(np.array, plain[name])) for name in ("lines", "interpolated", "band"))
        return cls(lines, interpolated, band)


def fitted_edge(cells: pd.DataFrame, index: np.ndarray, grid: Grid) -> tuple[Edge, np.ndarray]:
    """Fit a surface to the cells of a panel.

    Args:
        cells: with `seed` and `lost`: 1, 0, or NaN for cells that can be neither.
        index: the flat index of each cell's point.
        grid: the map's axes.

    Returns:
        The boundary; and P(lost) at every point, with the lower and upper end of its 95% interval, (3, points). NaN at
        points without a cell that is lost or not.
    """
    lost = cells["lost"].to_numpy(float)
    decidable = ~np.isnan(lost)
    size = grid.shape[0] * grid.shape[1]
    known = np.bincount(index[decidable], minlength=size) > 0
    rates = np.full((3, size), np.nan)
    whole = Edge([], [], [])
    for part in _parts(grid):
        inside = decidable & part.contains[index]
        if len(np.unique(index[inside])) < 2:
            continue
        seeds = cells["seed"].to_numpy()[inside]
        surface = fit_surface(
            part.points[index[inside]], lost[inside], np.ones(inside.sum()),
            clusters=seeds if len(np.unique(seeds)) > 1 else None, scales=part.scales,
        )  # fmt: skip
        shown = known & part.contains
        rates[:, shown] = surface.rate(part.points[shown])
        unknown = np.setdiff1d(index[part.contains[index]], np.flatnonzero(known))
        found = boundary_band(surface, part.fine, LEVEL, excluded=part.points[unknown])
        edge = part.edge_of(found)
        whole.lines.extend(edge.lines)
        whole.interpolated.extend(edge.interpolated)
        whole.band.extend(edge.band)
    return whole, rates


@dataclass(frozen=True)
class _Part:
    """A part of a map within which values can be interpolated.

    Attributes:
        contains: (points,) booleans.
        points: (points, d) values of the axes that vary.
        axes: the d axes that vary.
        columns: which of x and y they are, 0 or 1.
        across: the two ends of the area along the other axis, where only one varies.
    """

    contains: np.ndarray
    points: np.ndarray
    axes: list[Axis]
    columns: list[int]
    across: np.ndarray

    @property
    def scales(self) -> list[str]:
        return ["log" if _is_log(axis) else "linear" for axis in self.axes]

    @property
    def fine(self) -> list[np.ndarray]:
        return [_fine(axis) for axis in self.axes]

    def edge_of(self, found: Boundary) -> Edge:
        """Return a boundary as lines of the map."""
        if len(self.axes) == 2:
            lines = [_on_map(line, self.axes) for line in found.lines]
            return Edge(lines, found.interpolated, _outlines(found.band, self.axes))
        (fine,) = self.fine
        ends = {float(end) for interval in found.intervals for end in interval} - {float(fine[0]), float(fine[-1])}
        lines = [self._line(line) for line in found.lines]
        return Edge(lines, found.interpolated, [self._line(np.array([end])) for end in sorted(ends)])

    def _line(self, value: np.ndarray) -> np.ndarray:
        """Return a line across the part at a value of its only axis."""
        line = np.empty((2, 2))
        line[:, self.columns[0]] = _on_map(value.reshape(1, 1), self.axes)[0, 0]
        line[:, 1 - self.columns[0]] = self.across
        return line


def _parts(grid: Grid) -> Iterator[_Part]:
    axes = (grid.x, grid.y)
    rows, columns = np.indices(grid.shape).reshape(2, -1)
    places = (columns, rows)
    varying = [i for i, axis in enumerate(axes) if axis.scale != "category" and len(axis.values) > 1]
    if not varying:
        return
    if len(varying) == 2:
        points = np.column_stack([axis.values.astype(float)[place] for axis, place in zip(axes, places, strict=True)])
        yield _Part(np.ones(len(rows), bool), points, list(axes), [0, 1], np.empty(2))
        return
    (own,) = varying
    other, points = axes[1 - own], axes[own].values.astype(float)[places[own]][:, None]
    for number in range(len(other.values)):
        contains = places[1 - own] == number
        yield _Part(contains, points, [axes[own]], [own], other.edges[number : number + 2])


def _is_log(axis: Axis) -> bool:
    """Return whether an axis's surface is fitted in logarithms: also where its values are too uneven to be to scale."""
    return axis.scale == "log" or (axis.scale == "index" and bool((axis.values > 0).all()))


def _fine(axis: Axis) -> np.ndarray:
    """Return the values along an axis at which its surface is evaluated: nothing is claimed beyond those of cells."""
    values = axis.values.astype(float)
    steps = len(values) - 1
    index = np.linspace(0, steps, steps * max(1, min(_PER_STEP, _MAX_FINE // steps)) + 1)
    if _is_log(axis):
        return np.exp(np.interp(index, np.arange(steps + 1), np.log(values)))
    return np.interp(index, np.arange(steps + 1), values)


def _on_map(points: np.ndarray, axes: list[Axis]) -> np.ndarray:
    """Return points, (n, d) values of these axes, in the coordinates of the map."""
    placed = points.copy()
    for i, axis in enumerate(axes):
        if axis.scale == "index":
            of = np.log if _is_log(axis) else np.asarray
            placed[:, i] = np.interp(of(points[:, i]), of(axis.values.astype(float)), axis.positions)
    return placed


def _outlines(band: np.ndarray, axes: list[Axis]) -> list[np.ndarray]:
    """Return the outlines of a band, within the map."""
    index = [np.arange(size) for size in band.shape]
    lines: Any = contour_generator(index[0], index[1], band.T.astype(float), name="serial").lines(0.5)
    outlines = []
    for line in lines:
        values = [np.interp(line[:, i], index[i], _fine(axis)) for i, axis in enumerate(axes)]
        outlines.append(_on_map(np.column_stack(values), axes))
    return outlines
