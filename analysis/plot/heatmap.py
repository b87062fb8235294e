"""One panel of a map: its points' colours and marks, and the boundary of the lost region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.plot.aggregate import Panel
from analysis.plot.annotations import Line, Writing
from analysis.plot.axes import Grid
from analysis.plot.boundary import boundary
from analysis.plot.edge import edge_label
from analysis.plot.variables import CategoryValue, MapValue
from analysis.scoring import MIN_SEEDS, MIN_SEEDS_CONTOUR, wilson

MISSING = Patch(facecolor="0.93", edgecolor="0.6", hatch="///", label="not computed")
UNDEFINED = Patch(
    facecolor="0.8",
    edgecolor="0.45",
    hatch="xxx",
    label="undefined: untrainable, without fresh baseline, or all seeds diverged",
)
FEW_SEEDS = Line2D(
    [], [], ls="", marker="v", ms=4, mfc="white", mec="black", mew=0.6, label=f"fewer than {MIN_SEEDS} seeds"
)
DIFFERS = Line2D([], [], ls="", marker="o", ms=3, color="black", label="95% interval excludes 0")
EDGE = Line2D([], [], color="black", lw=1.4, label=edge_label("line"))
EDGE_INTERVAL = Line2D([], [], color="black", lw=0.9, ls=(0, (3, 2)), label="its 95% interval (Wilson)")
BAND = Line2D([], [], color="black", lw=0.9, ls=(0, (3, 2)), label=edge_label("band"))
GAP = Line2D([], [], color="black", lw=1.4, ls=":", label=edge_label("gap"))

_UNSCALED: dict[str, Any] = {"scalex": False, "scaley": False}
"""Lines must not change the limits of the axes."""


@dataclass(frozen=True)
class Heatmap:
    """A panel on its axes.

    Attributes:
        axes: of the figure.
        panel: the numbers.
        grid: where the points are.
    """

    axes: Axes
    panel: Panel
    grid: Grid

    def draw_scores(self, value: MapValue, norm: Normalize, writing: Writing) -> None:
        """Colour the points by a score, and write on them."""
        panel, grid = self.panel, self.grid
        within = np.clip(panel.values, norm.vmin, norm.vmax)  # also infinities, and zeros on a logarithmic scale
        colours = value.colour_map()
        self.axes.pcolormesh(grid.x.edges, grid.y.edges, within, norm=norm, cmap=colours, edgecolor="white", lw=0.3)
        for point in np.ndindex(grid.shape):
            if np.isnan(panel.values[point]):
                self._fill(point, UNDEFINED if panel.cells[point] else MISSING)
            else:
                self._write(point, writing.get(point, ()), colours(norm(within[point])))
        self._mark(_few(panel), 0.86, FEW_SEEDS)
        self._mark(panel.differs, 0.14, DIFFERS)
        self._draw_boundary()

    def draw_categories(self, value: CategoryValue, writing: Writing) -> None:
        """Colour the points by their most common category, and write on them."""
        panel = self.panel
        for point in np.ndindex(self.grid.shape):
            name = str(panel.names[point])
            if not name:
                self._fill(point, UNDEFINED if panel.cells[point] else MISSING)
                continue
            self._fill(point, Patch(facecolor=value.colours[name], edgecolor="white", hatch=value.hatches.get(name)))
            self._write(point, writing.get(point, ()), to_rgba(value.colours[name]))
        self._mark(_few(panel), 0.86, FEW_SEEDS)
        self._draw_boundary()

    def _draw_boundary(self) -> None:
        for look, lines in _looks(self.panel, self.grid).items():
            for line in lines:
                width = look.get_linewidth()
                self.axes.plot(
                    *line.T, color=look.get_color(), lw=width, ls=look.get_linestyle(), zorder=4, **_UNSCALED,
                    path_effects=[patheffects.withStroke(linewidth=width + 0.9, foreground="white")],
                )  # fmt: skip

    def _mark(self, points: np.ndarray, share: float, look: Line2D) -> None:
        """Put a marker near the top of some points, `share` of the way from their left border."""
        rows, columns = np.nonzero(points)
        if len(rows):
            self.axes.plot(
                self.grid.x.within(columns, share), self.grid.y.within(rows, 0.86), ls="", marker=look.get_marker(),
                ms=0.8 * look.get_markersize(), mfc=look.get_markerfacecolor(), mec=look.get_markeredgecolor(),
                mew=0.5, zorder=5, **_UNSCALED,
            )  # fmt: skip

    def _write(self, point: tuple[int, ...], lines: Sequence[Line], colour: tuple[float, ...]) -> None:
        if not lines:
            return
        red, green, blue, _ = colour
        dark = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
        x, y = self.grid.x.positions[point[1]], self.grid.y.positions[point[0]]
        # On a patch of the point's own colour, over lines and hatches. The layout need not measure the text, because it
        # lies within its axes, and there may be hundreds.
        self.axes.text(
            float(x), float(y), "\n".join(line.text for line in lines), fontsize=5.5, ha="center", va="center",
            color="black" if dark else "white", in_layout=False, linespacing=1.1, zorder=6,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip

    def _fill(self, point: tuple[int, ...], look: Patch) -> None:
        row, column = point
        x, y = self.grid.x.edges[column : column + 2], self.grid.y.edges[row : row + 2]
        area = Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0])
        area.update_from(look)
        area.set_linewidth(0)
        self.axes.add_patch(area)


def legend_entries(panels: Sequence[Panel], value: MapValue | CategoryValue, grid: Grid) -> list[Artist]:
    """Return the legend's entries: categories, the boundary, marks, and the kinds of points without a value."""
    entries: list[Artist] = []
    if isinstance(value, CategoryValue):
        present = {name for panel in panels for name in panel.names.ravel()}
        entries += [
            Patch(facecolor=colour, edgecolor="white", hatch=value.hatches.get(name), label=name)
            for name, colour in value.colours.items()
            if name in present
        ]
    drawn = {look for panel in panels for look, lines in _looks(panel, grid).items() if lines}
    entries += [look for look in (EDGE, GAP, EDGE_INTERVAL, BAND) if look in drawn]
    valued = [panel.names != "" if isinstance(value, CategoryValue) else ~np.isnan(panel.values) for panel in panels]
    kinds: Mapping[Artist, bool] = {
        DIFFERS: any(panel.differs.any() for panel in panels),
        FEW_SEEDS: any(_few(panel).any() for panel in panels),
        MISSING: any((panel.cells == 0).any() for panel in panels),
        UNDEFINED: any((~has & (panel.cells > 0)).any() for panel, has in zip(panels, valued, strict=True)),
    }
    return entries + [entry for entry, occurs in kinds.items() if occurs]


def _looks(panel: Panel, grid: Grid) -> dict[Line2D, list[np.ndarray]]:
    """Return the lines of the boundary by their look: of the fitted surface, or where shares pass 1/2."""
    if panel.edge is None:
        counted: dict[Line2D, list[np.ndarray]] = {}
        for share, look in _shares(panel):
            counted.setdefault(look, []).extend(boundary(share, grid))
        return counted
    pieces = panel.edge.pieces()
    return {EDGE: pieces["line"], GAP: pieces["gap"], BAND: pieces["band"]}


def _shares(panel: Panel) -> list[tuple[np.ndarray, Line2D]]:
    """Return the shares whose contours at 1/2 are drawn: P(lost), and the ends of Wilson's interval.

    Points with few seeds have no interval here, because it always contains 1/2.
    """
    few = panel.decidable < MIN_SEEDS_CONTOUR
    low, high = (np.where(few, np.nan, end) for end in wilson(panel.lost, panel.decidable))
    return [(panel.share, EDGE), (low, EDGE_INTERVAL), (high, EDGE_INTERVAL)]


def _few(panel: Panel) -> np.ndarray:
    """Return the points with a value from few seeds."""
    return (panel.defined > 0) & (panel.defined < MIN_SEEDS)
