"""One panel of a map: its points' colours, what is written on them, and the boundary of what is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.boundary import boundary
from analysis.grid import Axis
from analysis.panels import Panel
from analysis.uncertainty import FEW, wilson
from analysis.values import CategoryValue, MapValue

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

VISIBLE = 0.05
"""Intervals narrower than this share of the colour scale are not written on points."""

_MAX_WRITTEN = 150
_LINE_INCHES = 0.1
_WIDTH_INCHES = 0.048
"""Of a character at the size of what is written on points."""


@dataclass(frozen=True)
class Room:
    """What a point of a map has room for.

    Attributes:
        width, height: inches.
    """

    width: float
    height: float

    def fitting(self, lines: list[str]) -> str:
        """As many of the lines as fit, the first ones first."""
        lines = [line for line in lines if line]
        fit = lines[: int(self.height / _LINE_INCHES)]
        while fit and max(map(len, fit)) * _WIDTH_INCHES > self.width:
            fit.pop()
        return "\n".join(fit)


def draw_scores(axes: Axes, panel: Panel, value: MapValue, norm: Normalize, across: Axis, up: Axis, room: Room) -> None:
    """Colour the points by a score, and write on them how many seeds lost plasticity and the score's interval."""
    within = np.clip(panel.values, norm.vmin, norm.vmax)  # also infinities, and zeros on a logarithmic scale
    colours = value.colour_map()
    axes.pcolormesh(across.edges, up.edges, within, norm=norm, cmap=colours, edgecolor="white", lw=0.3)
    for point in np.ndindex(panel.values.shape):
        if np.isnan(panel.values[point]):
            _hatch(axes, point, across, up, UNDEFINED if panel.cells[point] else MISSING)
            continue
        lines = [
            f"{panel.lost[point]}/{panel.judged[point]}" if value.judged else "",
            _interval(panel, point, value, norm),
        ]
        if panel.defined[point] < panel.cells[point]:
            lines.insert(1, f"{panel.defined[point]} of {panel.cells[point]}")
        if panel.values.size <= _MAX_WRITTEN:
            _write(axes, point, across, up, room.fitting(lines), colours(norm(within[point]))[:3])
    _mark_few(axes, panel, across, up)
    if panel.marked is not None:
        rows, columns = np.nonzero(panel.marked)
        axes.plot(
            _inside(across, columns, 0.14), _inside(up, rows, 0.86), ls="", marker="o", ms=2.5, color="black", zorder=5,
            scalex=False, scaley=False,
        )  # fmt: skip


def draw_categories(axes: Axes, panel: Panel, value: CategoryValue, across: Axis, up: Axis, room: Room) -> None:
    """Colour the points by their most common category, and write on them how common it is."""
    for point in np.ndindex(panel.names.shape):
        name = str(panel.names[point])
        if not name:
            _hatch(axes, point, across, up, UNDEFINED if panel.cells[point] else MISSING)
            continue
        look = Patch(facecolor=value.colours[name], edgecolor="white", hatch=value.hatches.get(name))
        _hatch(axes, point, across, up, look)
        lead = panel.lead[point]
        lines = [f"{panel.named[point]}/{panel.cells[point]}", "" if np.isnan(lead) else f"{lead:+.0f}"]
        if name != value.background and panel.names.size <= _MAX_WRITTEN:
            _write(axes, point, across, up, room.fitting(lines), to_rgb(value.colours[name]), halo=True)
    _mark_few(axes, panel, across, up)


def draw_boundary(axes: Axes, panel: Panel, across: Axis, up: Axis) -> None:
    """Draw the contour P(lost) = 1/2, and those where Wilson's interval begins and ends to hold 1/2."""
    for share, look in _shares(panel):
        for line in boundary(share, across, up):
            axes.plot(
                *line.T, color=look.get_color(), lw=look.get_linewidth(), ls=look.get_linestyle(), zorder=4,
                scalex=False, scaley=False,
                path_effects=[patheffects.withStroke(linewidth=look.get_linewidth() + 0.9, foreground="white")],
            )  # fmt: skip


def has_boundary(panel: Panel, across: Axis, up: Axis) -> bool:
    """Whether any line would be drawn."""
    return any(boundary(share, across, up) for share, _ in _shares(panel))


def _shares(panel: Panel) -> list[tuple[np.ndarray, Line2D]]:
    low, high = wilson(panel.lost, panel.judged)
    return [(panel.share, EDGE), (low, EDGE_INTERVAL), (high, EDGE_INTERVAL)]


def keys(panels: list[Panel], value: MapValue | CategoryValue, edge: bool) -> list[Artist]:
    """The legend's entries: categories, the boundary, and which kinds of points without a value there are."""
    entries: list[Artist] = []
    if isinstance(value, CategoryValue):
        present = {name for panel in panels for name in panel.names.ravel()}
        entries += [
            Patch(facecolor=colour, edgecolor="white", hatch=value.hatches.get(name), label=name)
            for name, colour in value.colours.items()
            if name in present
        ]
    entries += [EDGE, EDGE_INTERVAL] if edge else []
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


def _mark_few(axes: Axes, panel: Panel, across: Axis, up: Axis) -> None:
    rows, columns = np.nonzero(_few(panel))
    if len(rows):
        axes.plot(
            _inside(across, columns, 0.86), _inside(up, rows, 0.86), ls="", marker="v", ms=3, mfc="white",
            mec="black", mew=0.5, zorder=5, scalex=False, scaley=False,
        )  # fmt: skip


def _inside(axis: Axis, index: np.ndarray, share: float) -> np.ndarray:
    """So far from the lower to the upper end of each value's area."""
    low, high = axis.edges[index], axis.edges[index + 1]
    return low * (high / low) ** share if axis.scale == "log" else low + share * (high - low)


def _interval(panel: Panel, point: tuple[int, ...], value: MapValue, norm: Normalize) -> str:
    """The interval as text, if it can be seen in the colours."""
    low, high = panel.low[point], panel.high[point]
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    if np.ptp(norm(np.clip([low, high], norm.vmin, norm.vmax))) < VISIBLE:
        return ""
    if value.column == "lost":
        return f"{100 * low:.0f}-{100 * high:.0f}%"
    # Figures after the point as the interval's width deserves.
    digits = int(np.clip(1 - np.floor(np.log10(max(high - low, 1e-9))), 0, 2))
    ends = [f"{end:.{digits}f}".replace("0.", ".", 1) if abs(end) < 1 else f"{end:.{digits}f}" for end in (low, high)]
    return " to ".join(ends)


def _write(
    axes: Axes, point: tuple[int, ...], across: Axis, up: Axis, text: str, colour: tuple[float, ...], halo: bool = False
) -> None:
    if not text:
        return
    red, green, blue = colour
    dark = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
    effects = [patheffects.withStroke(linewidth=1.5, foreground="white" if dark else "black")] if halo else []
    at = float(across.positions[point[1]]), float(up.positions[point[0]])
    # Within its axes, so that laying out need not measure it: there may be hundreds.
    axes.text(
        *at, text, fontsize=5.5, ha="center", va="center", color="black" if dark else "white", in_layout=False,
        linespacing=1.1, path_effects=effects, zorder=6,
    )  # fmt: skip


def _hatch(axes: Axes, point: tuple[int, ...], across: Axis, up: Axis, look: Patch) -> None:
    row, column = point
    x, y = across.edges[column : column + 2], up.edges[row : row + 2]
    area = Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0])
    area.update_from(look)
    area.set_linewidth(0)
    axes.add_patch(area)
