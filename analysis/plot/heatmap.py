"""One panel of a map: its points' colours and marks, and the boundary of what is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.plot.aggregate import Panel
from analysis.plot.annotations import Line, Writing
from analysis.plot.axes import Axis
from analysis.plot.boundary import boundary
from analysis.plot.variables import CategoryValue, MapValue
from analysis.scoring import FEW, TELLING, wilson

MISSING = Patch(facecolor="0.93", edgecolor="0.6", hatch="///", label="not computed")
UNDEFINED = Patch(
    facecolor="0.8",
    edgecolor="0.45",
    hatch="xxx",
    label="undefined: fresh networks fail too (or there are none), or all seeds diverged",
)
FEW_SEEDS = Line2D(
    [], [], ls="", marker="v", ms=4, mfc="white", mec="black", mew=0.6, label=f"fewer than {FEW} seeds: tells little"
)
SURE = Line2D([], [], ls="", marker="o", ms=3, color="black", label="95% interval excludes 0")
EDGE = Line2D([], [], color="black", lw=1.4, label="P(lost) = 1/2")
EDGE_INTERVAL = Line2D([], [], color="black", lw=0.9, ls=(0, (3, 2)), label="its 95% interval (Wilson)")


def draw_scores(
    axes: Axes, panel: Panel, value: MapValue, norm: Normalize, x_axis: Axis, y_axis: Axis, writing: Writing
) -> None:
    """Colour the points by a score, and write on them."""
    within = np.clip(panel.values, norm.vmin, norm.vmax)  # also infinities, and zeros on a logarithmic scale
    colours = value.colour_map()
    axes.pcolormesh(x_axis.edges, y_axis.edges, within, norm=norm, cmap=colours, edgecolor="white", lw=0.3)
    for point in np.ndindex(panel.values.shape):
        if np.isnan(panel.values[point]):
            _hatch(axes, point, x_axis, y_axis, UNDEFINED if panel.cells[point] else MISSING)
        else:
            _write(axes, point, x_axis, y_axis, writing.get(point, ()), colours(norm(within[point])))
    _mark_few(axes, panel, x_axis, y_axis)
    if panel.marked is not None:
        rows, columns = np.nonzero(panel.marked)
        axes.plot(
            _inside(x_axis, columns, 0.14), _inside(y_axis, rows, 0.86), ls="", marker="o", ms=2.5, color="black",
            zorder=5, scalex=False, scaley=False,
        )  # fmt: skip


def draw_categories(
    axes: Axes, panel: Panel, value: CategoryValue, x_axis: Axis, y_axis: Axis, writing: Writing
) -> None:
    """Colour the points by their most common category, and write on them."""
    for point in np.ndindex(panel.names.shape):
        name = str(panel.names[point])
        if not name:
            _hatch(axes, point, x_axis, y_axis, UNDEFINED if panel.cells[point] else MISSING)
            continue
        look = Patch(facecolor=value.colours[name], edgecolor="white", hatch=value.hatches.get(name))
        _hatch(axes, point, x_axis, y_axis, look)
        _write(axes, point, x_axis, y_axis, writing.get(point, ()), to_rgba(value.colours[name]))
    _mark_few(axes, panel, x_axis, y_axis)


def draw_boundary(axes: Axes, panel: Panel, x_axis: Axis, y_axis: Axis) -> None:
    """Draw the contour P(lost) = 1/2, and those where Wilson's interval begins and ends to hold 1/2.

    The latter not at points with so few seeds that it always does.
    """
    for share, look in _shares(panel):
        for line in boundary(share, x_axis, y_axis):
            axes.plot(
                *line.T, color=look.get_color(), lw=look.get_linewidth(), ls=look.get_linestyle(), zorder=4,
                scalex=False, scaley=False,
                path_effects=[patheffects.withStroke(linewidth=look.get_linewidth() + 0.9, foreground="white")],
            )  # fmt: skip


def boundary_keys(panels: list[Panel], x_axis: Axis, y_axis: Axis) -> list[Line2D]:
    """The legend's entries of the lines that are drawn."""
    drawn = [look for panel in panels for share, look in _shares(panel) if boundary(share, x_axis, y_axis)]
    return [look for look in (EDGE, EDGE_INTERVAL) if look in drawn]


def _shares(panel: Panel) -> list[tuple[np.ndarray, Line2D]]:
    low, high = (np.where(panel.decidable < TELLING, np.nan, end) for end in wilson(panel.lost, panel.decidable))
    return [(panel.share, EDGE), (low, EDGE_INTERVAL), (high, EDGE_INTERVAL)]


def keys(panels: list[Panel], value: MapValue | CategoryValue, x_axis: Axis, y_axis: Axis) -> list[Artist]:
    """The legend's entries: categories, the boundary, and which kinds of points without a value there are."""
    entries: list[Artist] = []
    if isinstance(value, CategoryValue):
        present = {name for panel in panels for name in panel.names.ravel()}
        entries += [
            Patch(facecolor=colour, edgecolor="white", hatch=value.hatches.get(name), label=name)
            for name, colour in value.colours.items()
            if name in present
        ]
    entries += boundary_keys(panels, x_axis, y_axis)
    valued = [panel.names != "" if isinstance(value, CategoryValue) else ~np.isnan(panel.values) for panel in panels]
    kinds: Mapping[Artist, bool] = {
        SURE: any(panel.marked is not None and panel.marked.any() for panel in panels),
        FEW_SEEDS: any((_few(panel)).any() for panel in panels),
        MISSING: any((panel.cells == 0).any() for panel in panels),
        UNDEFINED: any((~has & (panel.cells > 0)).any() for panel, has in zip(panels, valued, strict=True)),
    }
    return entries + [entry for entry, occurs in kinds.items() if occurs]


def _few(panel: Panel) -> np.ndarray:
    """Points that show something, of fewer seeds than say much."""
    return (panel.defined > 0) & (panel.defined < FEW)


def _mark_few(axes: Axes, panel: Panel, x_axis: Axis, y_axis: Axis) -> None:
    rows, columns = np.nonzero(_few(panel))
    if len(rows):
        axes.plot(
            _inside(x_axis, columns, 0.86), _inside(y_axis, rows, 0.86), ls="", marker="v", ms=3, mfc="white",
            mec="black", mew=0.5, zorder=5, scalex=False, scaley=False,
        )  # fmt: skip


def _inside(axis: Axis, index: np.ndarray, share: float) -> np.ndarray:
    """So far from the lower to the upper end of each value's area."""
    low, high = axis.edges[index], axis.edges[index + 1]
    return low * (high / low) ** share if axis.scale == "log" else low + share * (high - low)


def _write(
    axes: Axes, point: tuple[int, ...], x_axis: Axis, y_axis: Axis, lines: Sequence[Line], colour: tuple[float, ...]
) -> None:
    if not lines:
        return
    red, green, blue, _ = colour
    dark = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
    at = float(x_axis.positions[point[1]]), float(y_axis.positions[point[0]])
    # On a patch of the point's own colour, over lines and hatches. Within its axes, so that laying out need not measure
    # it: there may be hundreds.
    axes.text(
        *at, "\n".join(line.text for line in lines), fontsize=5.5, ha="center", va="center",
        color="black" if dark else "white", in_layout=False, linespacing=1.1, zorder=6,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip


def _hatch(axes: Axes, point: tuple[int, ...], x_axis: Axis, y_axis: Axis, look: Patch) -> None:
    row, column = point
    x, y = x_axis.edges[column : column + 2], y_axis.edges[row : row + 2]
    area = Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0])
    area.update_from(look)
    area.set_linewidth(0)
    axes.add_patch(area)
