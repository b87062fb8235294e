"""One panel of a map: its points' colours and marks, and the boundary of the lost region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import Transform

from analysis.plot.aggregate import Panel
from analysis.plot.axes import Grid
from analysis.plot.boundary import boundary
from analysis.plot.edge import edge_label
from analysis.plot.text.annotations import Line, Writing
from analysis.plot.text.placement import Obstacles
from analysis.plot.text.typography import X_SMALL
from analysis.plot.variables import CategoryValue, MapValue
from analysis.scoring import MIN_SEEDS, MIN_SEEDS_CONTOUR, wilson
from analysis.statistics import FALSE_DISCOVERIES

MISSING = Patch(facecolor="0.93", edgecolor="0.6", hatch="///", label="not computed")
UNDEFINED = Patch(
    facecolor="0.8",
    edgecolor="0.45",
    hatch="xxx",
    label="undefined for all seeds",
)
FEW_SEEDS = Line2D(
    [], [], ls="", marker="v", ms=4, mfc="white", mec="black", mew=0.6, label=f"fewer than {MIN_SEEDS} seeds"
)
DIFFERS = Line2D(
    [], [], ls="", marker="o", ms=4, mfc="black", mec="white", mew=0.5,
    label=f"differs: false discovery rate q ≤ {FALSE_DISCOVERIES:g}",
)  # fmt: skip
EDGE = Line2D([], [], color="black", lw=1.4)
EDGE_INTERVAL = Line2D([], [], color="black", lw=0.9, ls=(0, (3, 2)), label="its 95% interval (Wilson)")
BAND = Line2D([], [], color="black", lw=0.9, ls=(0, (3, 2)))
GAP = Line2D([], [], color="black", lw=1.4, ls=":")

_UNSCALED: dict[str, Any] = {"scalex": False, "scaley": False}
"""Lines must not change the limits of the axes."""

_TEXT_LOOK: dict[str, Any] = {"ha": "center", "va": "center", "linespacing": 1.1}


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
    _colours: dict[tuple[int, ...], tuple[float, ...]] = field(default_factory=dict)

    def draw_scores(self, value: MapValue, norm: Normalize) -> None:
        """Colour the points by a score."""
        panel, grid = self.panel, self.grid
        within = np.clip(panel.values, norm.vmin, norm.vmax)  # also infinities, and zeros on a logarithmic scale
        colours = value.colour_map()
        self.axes.pcolormesh(grid.x.edges, grid.y.edges, within, norm=norm, cmap=colours, edgecolor="white", lw=0.3)
        for point in np.ndindex(grid.shape):
            if np.isnan(panel.values[point]):
                self._fill(point, UNDEFINED if panel.cells[point] else MISSING)
            else:
                self._colours[point] = colours(norm(within[point]))
        self._mark(_few(panel), 0.86, FEW_SEEDS)
        self._mark(panel.differs, 0.14, DIFFERS)
        self._draw_boundary()

    def draw_categories(self, value: CategoryValue) -> None:
        """Colour the points by their most common category."""
        panel = self.panel
        for point in np.ndindex(self.grid.shape):
            name = str(panel.names[point])
            if not name:
                self._fill(point, UNDEFINED if panel.cells[point] else MISSING)
                continue
            self._fill(
                point, Patch(facecolor=value.colours[name], edgecolor="white", hatch=value.hatches.get(name)), 0.3
            )
            self._colours[point] = to_rgba(value.colours[name])
        self._mark(_few(panel), 0.86, FEW_SEEDS)
        self._draw_boundary()

    def write(self, writing: Writing) -> dict[str, bool]:
        """Write on the points, as many lines as fit on each without touching a border, a line or a mark.

        A kind of line that fits on fewer than half of its points is left out. The axes must have their final size,
        because texts do not grow with them.

        Returns:
            The kinds of lines that were written, and whether they are on all of their points.
        """
        to_inches = self.axes.transData + self.axes.figure.dpi_scale_trans.inverted()
        obstacles, sizes = self._obstacles(to_inches), _Sizes(self.axes)
        wanted = Counter(line.kind for lines in writing.values() for line in lines)
        while True:
            placed = self._placed(writing, to_inches, obstacles, sizes)
            found = Counter(line.kind for lines, _ in placed.values() for line in lines)
            rare = {kind for kind in found if 2 * found[kind] < wanted[kind]}
            if not rare:
                break
            writing = {at: [line for line in lines if line.kind not in rare] for at, lines in writing.items()}
        for at, (lines, centre) in placed.items():
            self._put(_text(lines), to_inches.inverted().transform(centre), self._colours[at])
        return {kind: number == wanted[kind] for kind, number in found.items()}

    def _placed(
        self, writing: Writing, to_inches: Transform, obstacles: Obstacles, sizes: _Sizes
    ) -> dict[tuple[int, ...], tuple[Sequence[Line], np.ndarray]]:
        """Return for points with room the lines that fit, and the middle of the text in inches."""
        placed: dict[tuple[int, ...], tuple[Sequence[Line], np.ndarray]] = {}
        for (row, column), lines in writing.items():
            corners = [(self.grid.x.edges[column + end], self.grid.y.edges[row + end]) for end in (0, 1)]
            low, high = to_inches.transform(corners)
            for count in range(len(lines), 0, -1):
                centre = obstacles.place(sizes.of(_text(lines[:count])), low, high)
                if centre is not None:
                    placed[row, column] = lines[:count], centre
                    break
        return placed

    def _obstacles(self, to_inches: Transform) -> Obstacles:
        lines = []
        for line in self.axes.get_lines():
            path = to_inches.transform(line.get_xydata())
            if line.get_linestyle() != "None":
                lines.append(path)
                continue
            half = line.get_markersize() / 72 / 2
            lines += [middle + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) for middle in path]
        return Obstacles.along(lines)

    def _draw_boundary(self) -> None:
        for look, lines in _looks(self.panel, self.grid).items():
            for line in lines:
                width = look.get_linewidth()
                # White between the dashes and around them, so that the line is visible on any colour.
                gap: dict[str, Any] = {"gapcolor": "white"} if look.is_dashed() else {}
                self.axes.plot(
                    *line.T, color=look.get_color(), lw=width, ls=look.get_linestyle(), zorder=4, **_UNSCALED, **gap,
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

    def _put(self, text: str, place: np.ndarray, colour: tuple[float, ...]) -> None:
        red, green, blue, _ = colour
        dark = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
        # On a patch of the point's own colour, over hatches. The layout need not measure the text, because it lies
        # within its axes, and there may be hundreds.
        self.axes.text(
            float(place[0]), float(place[1]), text, fontsize=_text_points(), color="black" if dark else "white",
            in_layout=False, zorder=6, bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5}, **_TEXT_LOOK,
        )  # fmt: skip

    def _fill(self, point: tuple[int, ...], look: Patch, border: float = 0.0) -> None:
        row, column = point
        x, y = self.grid.x.edges[column : column + 2], self.grid.y.edges[row : row + 2]
        area = Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0])
        area.update_from(look)
        area.set_linewidth(border)
        self.axes.add_patch(area)


class _Sizes:
    """Sizes of texts on points, each measured once."""

    def __init__(self, axes: Axes) -> None:
        self._sample = axes.text(0, 0, "", fontsize=_text_points(), in_layout=False, **_TEXT_LOOK)
        self._sample.remove()
        self._sample.set_figure(axes.figure)
        self._known: dict[str, tuple[float, float]] = {}

    def of(self, text: str) -> tuple[float, float]:
        """Return a text's width and height in inches."""
        if text not in self._known:
            self._sample.set_text(text)
            box = self._sample.get_window_extent()
            self._known[text] = (box.width / self._sample.figure.dpi, box.height / self._sample.figure.dpi)
        return self._known[text]


def _text(lines: Sequence[Line]) -> str:
    return "\n".join(line.text for line in lines)


def _text_points() -> float:
    """Return the type size of the text on points."""
    return float(matplotlib.rcParams["font.size"]) * X_SMALL


def legend_entries(panels: Sequence[Panel], value: MapValue | CategoryValue, grid: Grid) -> list[Artist]:
    """Return the legend's entries: categories, the boundary, marks, and the kinds of points without a value."""
    entries = category_entries(panels, value) + boundary_entries(panels, grid)
    valued = [panel.names != "" if isinstance(value, CategoryValue) else ~np.isnan(panel.values) for panel in panels]
    kinds: Mapping[Artist, bool] = {
        DIFFERS: any(panel.differs.any() for panel in panels),
        FEW_SEEDS: any(_few(panel).any() for panel in panels),
        MISSING: any((panel.cells == 0).any() for panel in panels),
        UNDEFINED: any((~has & (panel.cells > 0)).any() for panel, has in zip(panels, valued, strict=True)),
    }
    return entries + [entry for entry, occurs in kinds.items() if occurs]


def category_entries(panels: Sequence[Panel], value: MapValue | CategoryValue) -> list[Artist]:
    """Return the legend's entries for the names that occur."""
    if isinstance(value, MapValue):
        return []
    present = {name for panel in panels for name in panel.names.ravel()}
    return [
        Patch(facecolor=colour, edgecolor="white", hatch=value.hatches.get(name), label=name)
        for name, colour in value.colours.items()
        if name in present
    ]


def boundary_entries(panels: Sequence[Panel], grid: Grid) -> list[Artist]:
    """Return the legend's entries for the lines of the boundary that are drawn."""
    drawn = {look for panel in panels for look, lines in _looks(panel, grid).items() if lines}
    entries: list[Artist] = []
    for look, part in ((EDGE, "line"), (GAP, "gap"), (EDGE_INTERVAL, ""), (BAND, "band")):
        if look in drawn:
            entry = copy(look)
            if part:
                entry.set_label(edge_label(part, panels[0].level))
            entries.append(entry)
    return entries


def _looks(panel: Panel, grid: Grid) -> dict[Line2D, list[np.ndarray]]:
    """Return the boundary's lines by their look: of the fitted surface, or where shares on a grid pass the level."""
    if panel.edge is None and grid.scattered:
        return {}
    if panel.edge is None:
        counted: dict[Line2D, list[np.ndarray]] = {}
        for share, look in _shares(panel):
            counted.setdefault(look, []).extend(boundary(share, grid, panel.level))
        return counted
    pieces = panel.edge.pieces()
    return {EDGE: pieces["line"], GAP: pieces["gap"], BAND: pieces["band"]}


def _shares(panel: Panel) -> list[tuple[np.ndarray, Line2D]]:
    """Return the shares whose contours at the level are drawn: P(lost), and the ends of Wilson's interval.

    Points with few seeds have no interval here, because it contains most levels.
    """
    few = panel.decidable < MIN_SEEDS_CONTOUR
    low, high = (np.where(few, np.nan, end) for end in wilson(panel.lost, panel.decidable))
    return [(panel.share, EDGE), (low, EDGE_INTERVAL), (high, EDGE_INTERVAL)]


def _few(panel: Panel) -> np.ndarray:
    """Return the points with a value from few seeds."""
    return (panel.defined > 0) & (panel.defined < MIN_SEEDS)
