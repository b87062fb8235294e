"""The fitted rates of a map's panel, and where P(lost) passes a level, with the band that contains all of it.

A Gaussian process is fitted to the cells of the panel, with seeds as clusters (`analysis.surface`). There is nothing
between categories: each has a fit and a boundary of its own, across its area.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from contourpy import contour_generator

from analysis.plot.axes import Axis, Grid
from analysis.surface import Boundary, Surface, boundary_bands, fit_surface
from lop_sweep.errors import AnalysisError

SURFACES = ("gp", "counts")
"""How the boundary of a map is found: by a fitted surface, or by the share of lost cells at each point."""

LEVEL = 0.5
"""Of P(lost), at which the boundary is drawn unless a caller chooses another one."""

MAX_FITTED_POINTS = 1500
"""Panels with more points have no fit, which would take more than a few seconds."""

EDGE_LABELS: Mapping[str, str] = {
    "line": "P(lost) = {level}",
    "gap": "P(lost) = {level}, across a gap between values",
    "band": "95% band of P(lost) = {level}, simultaneous along it",
    "none": "no boundary P(lost) = {level} is certain enough to be drawn",
    "band only": "P(lost) = {level} may be reached between the dashed lines; no boundary is certain enough to be drawn",
}
"""What a legend calls the parts of a boundary, and what a caption says where there is none."""

_PER_STEP = 6
_MAX_FINE = 120
"""Values per step of an axis, and along the whole axis, at which the surface is evaluated."""

_SAMPLED_FINE = 48
"""The same along an axis that was drawn at random."""


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

    def pieces(self) -> dict[str, list[np.ndarray]]:
        """Return what is drawn, by its key in `EDGE_LABELS`: lines between values, across gaps, and the band's."""
        pieces: dict[str, list[np.ndarray]] = {"line": [], "gap": []}
        for line, interpolated in zip(self.lines, self.interpolated, strict=True):
            turns = np.flatnonzero(np.diff(interpolated)) + 1
            for part in np.split(np.arange(len(line) - 1), turns):
                pieces["gap" if interpolated[part[0]] else "line"].append(line[part[0] : part[-1] + 2])
        return {**pieces, "band": self.band}


def edge_label(part: str, level: float = LEVEL) -> str:
    """Return a text of `EDGE_LABELS` for a level of P(lost)."""
    return EDGE_LABELS[part].format(level=level_name(level))


def level_name(level: float) -> str:
    """Return a level as text: "1/2", or a decimal number."""
    return "1/2" if level == LEVEL else f"{level:g}"


def check_level(level: float) -> None:
    """Refuse what is not a level of P(lost).

    Raises:
        AnalysisError: it is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise AnalysisError(f"level = {level:g}: must be above 0 and below 1")


def fit_lost(cells: pd.DataFrame, index: np.ndarray, grid: Grid) -> PanelFit:
    """Fit P(lost) to the cells of a panel; arguments as for `fit_failures`."""
    return fit_panel(cells, cells["lost"].to_numpy(float), np.ones(len(cells)), index, grid)


def fit_failures(cells: pd.DataFrame, index: np.ndarray, grid: Grid) -> PanelFit:
    """Fit the share of late tasks that fail to the cells of a panel that can have lost plasticity.

    Args:
        cells: with `seed`, `verdict`, `late_failures`, `late_tasks` and `lost`: 1, 0, or NaN for cells that can be
            neither.
        index: the flat index of each cell's point.
        grid: the map's axes.
    """
    failures, tasks = (cells[name].to_numpy(float) for name in ("late_failures", "late_tasks"))
    return fit_panel(cells, np.where(cells["lost"].isna(), np.nan, failures), tasks, index, grid)


FITTED: Mapping[str, Callable[[pd.DataFrame, np.ndarray, Grid], PanelFit]] = {
    "lost": fit_lost,
    "late_failure_rate": fit_failures,
}
"""The scores with a fitted surface of their own, by their column. Maps of other scores have that of P(lost)."""


def fit_panel(
    cells: pd.DataFrame, successes: np.ndarray, trials: np.ndarray, index: np.ndarray, grid: Grid
) -> PanelFit:
    """Fit a rate to the cells of a panel, with seeds as clusters.

    Args:
        cells: with `seed`, and `verdict`, which is NaN for cells that are not computed yet.
        successes: (n,) of each cell, such as 1 if it is lost, or its failed tasks; NaN for cells that do not count.
        trials: (n,) of each cell.
        index: (n,) the flat index of each cell's point.
        grid: the map's axes.
    """
    counted = ~np.isnan(successes)
    known = np.bincount(index[counted], minlength=grid.size) > 0
    seeds, computed = cells["seed"].to_numpy(), cells["verdict"].notna().to_numpy()
    parts = []
    for part in _parts(grid):
        inside = counted & part.contains[index]
        if len(np.unique(index[inside])) < 2:
            continue
        surface = _fit(part, index[inside], successes[inside], trials[inside], seeds[inside])
        whole = part.contains[index] & computed
        missing = np.isnan(successes[whole]).astype(float)
        unknown = _fit(part, index[whole], missing, np.ones_like(missing), seeds[whole]) if missing.any() else None
        parts.append((part, surface, unknown))
    return PanelFit(known, parts)


def _fit(part: _Part, index: np.ndarray, successes: np.ndarray, trials: np.ndarray, seeds: np.ndarray) -> Surface:
    """Fit a rate to cells of a part, with seeds as clusters where there are several."""
    clusters = seeds if len(np.unique(seeds)) > 1 else None
    return fit_surface(part.points[index], successes, trials, clusters=clusters, scales=part.scales)


@dataclass(frozen=True)
class PanelFit:
    """The rates of a panel as fitted surfaces. `fit_panel` makes it.

    Attributes:
        known: (points,) booleans, points with a cell that counts.
        parts: each part of the panel that has a surface, and that of the share of cells that do not count, if any.
    """

    known: np.ndarray
    parts: Sequence[tuple[_Part, Surface, Surface | None]]

    def rates(self) -> np.ndarray:
        """Return the rate at every point with the ends of its 95% interval, (3, points); NaN where no cell counts."""
        rates = np.full((3, len(self.known)), np.nan)
        for part, surface, _ in self.parts:
            shown = self.known & part.contains
            rates[:, shown] = surface.rate(part.points[shown])
        return rates

    def edges(self, levels: Sequence[float]) -> list[Edge]:
        """Return the boundary at each level, left out where most cells do not count."""
        edges = [Edge([], [], []) for _ in levels]
        for part, surface, unknown in self.parts:
            found = boundary_bands(surface, part.fine, levels, excluded=unknown, pointwise=False)
            for edge, boundary in zip(edges, found, strict=True):
                own = part.edge_of(boundary)
                edge.lines.extend(own.lines)
                edge.interpolated.extend(own.interpolated)
                edge.band.extend(own.band)
        return edges


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
            return Edge(lines, self._in_gaps(found), _outlines(found.band, self.axes))
        (fine,) = self.fine
        ends = {float(end) for interval in found.intervals for end in interval} - {float(fine[0]), float(fine[-1])}
        lines = [self._line(line) for line in found.lines]
        return Edge(lines, self._in_gaps(found), [self._line(np.array([end])) for end in sorted(ends)])

    def _in_gaps(self, found: Boundary) -> list[np.ndarray]:
        """Return which segments cross a gap between values; the values of a sampled axis have no even steps."""
        if any(axis.sampled for axis in self.axes):
            return [np.zeros_like(segments) for segments in found.interpolated]
        return found.interpolated

    def _line(self, value: np.ndarray) -> np.ndarray:
        """Return a line across the part at a value of its only axis."""
        line = np.empty((2, 2))
        line[:, self.columns[0]] = _on_map(value.reshape(1, 1), self.axes)[0, 0]
        line[:, 1 - self.columns[0]] = self.across
        return line


def _parts(grid: Grid) -> Iterator[_Part]:
    axes = (grid.x, grid.y)
    rows, columns = grid.places
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
    if axis.sampled:
        low, high = float(values[0]), float(values[-1])
        return np.geomspace(low, high, _SAMPLED_FINE) if _is_log(axis) else np.linspace(low, high, _SAMPLED_FINE)
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
