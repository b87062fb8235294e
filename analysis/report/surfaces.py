"""The fitted surfaces of a report: P(lost) and the failure rate at the points of a map, and the boundaries of P(lost).

All of them are those of `map_table`. A panel of a map is what the page shows as a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.plot import (
    EDGE_LABELS,
    LEVEL,
    MAX_FITTED_POINTS,
    Edge,
    Grid,
    PanelCells,
    fit_failures,
    fit_lost,
    level_name,
    other_fields,
    panel_cells,
    placed_cells,
)
from analysis.report.axes import MapField
from analysis.report.encoding import Column, single

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of P(lost), at which the page can draw the boundary."""

MAX_PANELS, MAX_POINTS, MAX_CELLS = 12, MAX_FITTED_POINTS, 10_000
"""Panels that are fitted, and their points and cells together, so that it takes some ten seconds at most."""

RATES = ("lost", "failures")
"""What is fitted."""

POOLED = -1
"""The index that stands for all values of a field on the page."""


def opening_axes(fields: Sequence[MapField]) -> tuple[str, str]:
    """Return the fields along x and y of the map with which the page opens."""
    names = [one.name for one in fields]
    x = "lr" if "lr" in names else names[0]
    return x, "depth" if "depth" in names and x != "depth" else next(name for name in names if name != x)


@dataclass
class Fits:
    """The fits of a report, as they are collected.

    Attributes:
        fits: for each its axes, the index of its value of each other field, and where it is in the arrays.
        rates: of each name in `RATES`, per fit: rate, lower and upper end at each point, (3, points).
        lines: coordinates of lines on the page, each (points, 2), with NaN after each line.
        points, cells: numbers that have been fitted.
    """

    fits: list[dict[str, Any]] = field(default_factory=list)
    rates: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in RATES})
    lines: list[np.ndarray] = field(default_factory=list)
    points: int = 0
    cells: int = 0

    def has_room(self, panel: PanelCells) -> bool:
        """Return whether a panel may be fitted too; the first may if a map would fit it."""
        within = (
            len(self.fits) < MAX_PANELS
            and self.points + panel.points <= MAX_POINTS
            and self.cells + len(panel.cells) <= MAX_CELLS
        )
        return panel.can_be_fitted and (within or not self.fits)

    def add(self, panel: PanelCells, grid: Grid, fields: dict[str, MapField], mixed: Sequence[str]) -> None:
        """Fit a panel; fields that are `mixed` are pooled on the page."""
        cells, index = panel.cells, panel.index
        surface = fit_lost(cells, index, grid)
        axes = fields[grid.x.field], fields[grid.y.field]
        start = sum(one.size for one in self.rates[RATES[0]])
        if grid.scattered:
            unknown = np.full(3 * len(axes[0].values) * len(axes[1].values), np.nan)
            rates = [unknown] * len(RATES)
        else:
            rates = [fit.rates().ravel() for fit in (surface, fit_failures(cells, index, grid))]
        for name, values in zip(RATES, rates, strict=True):
            self.rates[name].append(values)
        self.fits.append(
            {
                "x": grid.x.field,
                "y": grid.y.field,
                "at": {name: int(fields[name].indices_of(cells)[0]) for name in panel.key}
                | dict.fromkeys(mixed, POOLED),
                "start": start,
                "boundaries": [self._place(edge, axes) for edge in surface.edges(LEVELS)],
            }
        )
        self.points += panel.points
        self.cells += len(panel.cells)

    def arrays(self) -> dict[str, Column]:
        """Return what has been collected as arrays."""
        lines = np.concatenate([np.empty((0, 2)), *self.lines])
        rates = {name: np.concatenate([np.empty(0), *values]) for name, values in self.rates.items()}
        return {
            "fit.x": single(lines[:, 0]),
            "fit.y": single(lines[:, 1]),
            **{f"fit.{name}": single(values) for name, values in rates.items()},
        }

    def _place(self, edge: Edge, axes: tuple[MapField, MapField]) -> dict[str, tuple[int, int]]:
        """Add the lines of a boundary, and return where each part's begin and end."""
        places = {}
        for part, lines in edge.pieces().items():
            start = sum(map(len, self.lines))
            for line in lines:
                drawn = [axis.drawn(values) for axis, values in zip(axes, line.T, strict=True)]
                self.lines.append(np.vstack([np.column_stack(drawn), np.full((1, 2), np.nan)]))
            places[part] = (start, sum(map(len, self.lines)))
        return places


def fitted_surfaces(
    scores: pd.DataFrame, missing: pd.DataFrame, fields: Sequence[MapField]
) -> tuple[dict[str, Any], dict[str, Column]]:
    """Fit the panels of the map that the page opens with, then those over other axes, up to the limits.

    Of one pair of axes, the panels with most cells come first. Where an axis was drawn at random, the page has the
    boundary, and no rates at its points, which are bins. Other fields in bins are not fitted.

    Args:
        scores: one row per finished cell, with the configuration fields, `lost`, `late_failures` and `late_tasks`.
        missing: requested cells that are not finished.
        fields: the axes of the page.

    Returns:
        A description, and arrays by name.
    """
    cells, by_name, found = placed_cells(scores, missing), {one.name: one for one in fields}, Fits()
    for x, y in _pairs(fields):
        others = other_fields(cells, x, y)
        in_bins = {name for name in (x, y, *others.panels) if by_name[name].binned}
        if in_bins - set(others.sampled_axes):
            continue
        grid, panels = panel_cells(cells, x, y, others)
        for panel in sorted(panels, key=_importance, reverse=True):
            if found.has_room(panel):
                found.add(panel, grid, by_name, others.mixed)
    about = {
        "fits": found.fits,
        "levels": [{"value": level, "name": level_name(level)} for level in LEVELS],
        "level": LEVELS.index(LEVEL),
        "labels": dict(EDGE_LABELS),
    }
    return about, found.arrays()


def _pairs(fields: Sequence[MapField]) -> Iterator[tuple[str, str]]:
    """Yield pairs of axes: that of the map with which the page opens, then all others that vary."""
    opening = opening_axes(fields)
    yield opening
    varying = [one.name for one in fields if len(one.values) > 1]
    yield from (pair for pair in combinations(varying, 2) if set(pair) != set(opening))


def _importance(panel: PanelCells) -> tuple[int, int]:
    return int(panel.cells["computed"].sum()), int((panel.cells["lost"] == 1).sum())
