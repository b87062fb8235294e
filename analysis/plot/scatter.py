"""One panel of a scattered map: a coloured dot per point, over the boundary of the lost region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from analysis.plot.aggregate import Panel
from analysis.plot.axes import Grid
from analysis.plot.heatmap import DIFFERS, Heatmap, boundary_entries, category_entries
from analysis.plot.text.annotations import Writing
from analysis.plot.variables import CategoryValue, MapValue

_MIN_DOT_POINTS, _MAX_DOT_POINTS = 2.5, 7.0
"""Diameters of dots, in typographic points."""

_LARGEST_UP_TO = 60
"""Panels with more dots have smaller ones, so that all of them together cover the same area."""

_MARK: dict[str, Any] = {"ls": "", "ms": 5, "mew": 0.8}
MISSING_DOT = Line2D([], [], marker="o", mfc="none", mec="0.55", label="not computed", **_MARK)
UNDEFINED_DOT = Line2D([], [], marker="x", mec="0.45", label="undefined for all seeds", **_MARK)


@dataclass(frozen=True)
class Scatter(Heatmap):
    """A panel of scattered points on its axes, drawn as dots. Dots have no text."""

    def draw_scores(self, value: MapValue, norm: Normalize) -> None:
        """Draw a dot per point in the colour of its score."""
        self._draw_boundary()
        values = self.panel.values
        colours = value.colour_map()(norm(np.clip(values, norm.vmin, norm.vmax)))
        valued = ~np.isnan(values)
        self._dots(valued, colours[valued])
        self._mark_others(valued)
        self._marks(self.panel.differs & valued, DIFFERS, 0.35)

    def draw_categories(self, value: CategoryValue) -> None:
        """Draw a dot per point in the colour and with the hatch of its most common category."""
        self._draw_boundary()
        for name, colour in value.colours.items():
            self._dots(self.panel.names == name, colour, value.hatches.get(name))
        self._mark_others(self.panel.names != "")

    def write(self, writing: Writing) -> dict[str, bool]:
        """Write nothing, because dots are too small."""
        return {}

    @property
    def _diameter(self) -> float:
        crowded = _MAX_DOT_POINTS * np.sqrt(_LARGEST_UP_TO / max(_LARGEST_UP_TO, self.panel.placed.sum()))
        return float(max(_MIN_DOT_POINTS, crowded))

    def _places(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = self.grid.places
        return self.grid.x.positions[columns[chosen]], self.grid.y.positions[rows[chosen]]

    def _dots(self, chosen: np.ndarray, colours: Any, hatch: str | None = None) -> None:
        if chosen.any():
            self.axes.scatter(
                *self._places(chosen), s=self._diameter**2, c=colours, hatch=hatch, edgecolor="0.25", lw=0.4, zorder=5
            )  # fmt: skip

    def _mark_others(self, valued: np.ndarray) -> None:
        """Mark the points without a value."""
        others = self.panel.placed & ~valued
        self._marks(others & (self.panel.cells == 0), MISSING_DOT, 0.8)
        self._marks(others & (self.panel.cells > 0), UNDEFINED_DOT, 0.8)

    def _marks(self, chosen: np.ndarray, look: Line2D, size: float) -> None:
        """Put a mark on some points, of a size in diameters of a dot."""
        if chosen.any():
            self.axes.plot(
                *self._places(chosen), ls="", marker=look.get_marker(), ms=size * self._diameter, zorder=6,
                mfc=look.get_markerfacecolor(), mec=look.get_markeredgecolor(), mew=look.get_markeredgewidth(),
            )  # fmt: skip


def scatter_entries(panels: Sequence[Panel], value: MapValue | CategoryValue, grid: Grid) -> list[Artist]:
    """Return the legend's entries: categories, the boundary, marks, and the kinds of points without a value."""
    entries = category_entries(panels, value) + boundary_entries(panels, grid)
    valued = [panel.names != "" if isinstance(value, CategoryValue) else ~np.isnan(panel.values) for panel in panels]
    without = [panel.placed & ~has for panel, has in zip(panels, valued, strict=True)]
    kinds: dict[Artist, bool] = {
        DIFFERS: any(panel.differs.any() for panel in panels),
        MISSING_DOT: any((some & (panel.cells == 0)).any() for panel, some in zip(panels, without, strict=True)),
        UNDEFINED_DOT: any((some & (panel.cells > 0)).any() for panel, some in zip(panels, without, strict=True)),
    }
    return entries + [entry for entry, occurs in kinds.items() if occurs]
