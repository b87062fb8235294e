"""A sheet of map panels: their layout, axes, colour bars, legend and caption."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.plot.aggregate import Panel
from analysis.plot.annotations import Room, Writing, notes_on, writing_on
from analysis.plot.axes import Axis, lay_out
from analysis.plot.heatmap import draw_boundary, draw_categories, draw_scores, keys
from analysis.plot.variables import LABELS, CategoryValue, MapValue
from analysis.scoring import LossCriterion

_PANEL_INCHES = 3.4
_LEAST_INCHES = 1.4
_CHARACTERS_AN_INCH = 16
"""Of the caption, in type for a screen."""
_TITLE_AN_INCH, _LABEL_AN_INCH = 11, 14
_POINT_INCHES = 0.38
_FONT = {"screen": 10.0, "paper": 8.0}


@dataclass(frozen=True)
class _Plan:
    """How large everything is.

    Attributes:
        rows, columns: of panels.
        width: of the figure, inches.
        panel: a panel's width and height, inches, without what is around it.
        room: of a point.
        side_by_side: whether the columns are values, each with a colour bar under it.
    """

    rows: int
    columns: int
    width: float
    panel: tuple[float, float]
    room: Room
    side_by_side: bool


@dataclass(frozen=True)
class Column:
    """One value and its panels, all on the same axes; several become columns side by side."""

    value: MapValue | CategoryValue
    panels: list[Panel]


def draw_sheet(
    columns: Sequence[Column],
    x: tuple[str, np.ndarray],
    y: tuple[str, np.ndarray],
    criterion: LossCriterion,
    title: str,
    caption: Sequence[str],
    width: float | None = None,
) -> Figure:
    """Draw panels on one figure.

    Args:
        columns: what is drawn; one column's panels are wrapped, or arranged by two fields in rows and columns.
        x: field and sorted values along the horizontal axis.
        y: field and sorted values along the vertical axis.
        rule: for where colours are centred.
        title: over the figure.
        caption: lines under it, wrapped to its width; what is written on points is explained by itself.
        width: of the figure in inches, in type for print; None for as much as it needs, in type for a screen.
    """
    x_axis, y_axis = lay_out(x[1]), lay_out(y[1])
    side_by_side = len(columns) > 1
    panels = columns[0].panels
    with matplotlib.rc_context({"font.size": _FONT["screen" if width is None else "paper"], "hatch.linewidth": 0.5}):
        entries = {
            key.get_label(): key for column in columns for key in keys(column.panels, column.value, x_axis, y_axis)
        }
        plan = _plan(columns, x_axis, y_axis, width)
        norms = [_norm(column, criterion) for column in columns]
        writings = [
            [writing_on(panel, column.value, norm, plan.room) for panel in column.panels]
            for column, norm in zip(columns, norms, strict=True)
        ]
        notes = [column.value.note for column in columns if isinstance(column.value, MapValue) and column.value.note]
        below = [*caption, *notes_on([writing for some in writings for writing in some]), *notes]
        figure, grid = _canvas(plan, below, list(entries.values()))
        for number, column in enumerate(columns):
            places = list(grid[:, number]) if side_by_side else list(grid.flat)
            _draw_column(figure, places, plan, column, norms[number], writings[number], x_axis, y_axis)
            for unused in places[len(panels) :]:
                unused.set_visible(False)
        _label_outer_axes(grid, len(panels) * len(columns), _axis_label(x[0], x_axis), _axis_label(y[0], y_axis))
        figure.suptitle("\n".join(textwrap.wrap(title, int(figure.get_figwidth() * _TITLE_AN_INCH))))
    return figure


def _norm(column: Column, criterion: LossCriterion) -> Normalize:
    """The colour scale of all panels of a score."""
    finite = np.concatenate([panel.values[np.isfinite(panel.values)] for panel in column.panels])
    return column.value.norm(finite, criterion) if isinstance(column.value, MapValue) else Normalize(0, 1)


def _plan(columns: Sequence[Column], x_axis: Axis, y_axis: Axis, width: float | None) -> _Plan:
    panels, side_by_side = columns[0].panels, len(columns) > 1
    bars = 0.2 if side_by_side else 1.1
    room = None if width is None else width - 0.6 - bars
    rows, number = (len(panels), len(columns)) if side_by_side else _shape(panels, room)
    if width is None:
        width = number * (3.0 if side_by_side else max(_PANEL_INCHES, _POINT_INCHES * len(x_axis.values))) + 0.8 + bars
    panel = max(0.6, (width - 0.6 - bars) / number)
    height = max(0.85 * min(panel, _PANEL_INCHES), 0.16 * len(y_axis.values))
    of_point = Room(panel / len(x_axis.values), height / len(y_axis.values))
    return _Plan(rows, number, width, (panel, height), of_point, side_by_side)


def _shape(panels: list[Panel], room: float | None) -> tuple[int, int]:
    """Rows and columns: one field along a row, two fields in rows and columns; fewer columns where room is small."""
    most = len(panels) if room is None else max(1, int(room / _LEAST_INCHES))
    fields = list(panels[0].key)
    if len(fields) == 2:
        firsts = len({panel.key[fields[0]] for panel in panels})
        if firsts > 1 and len(panels) % firsts == 0 and len(panels) // firsts <= min(6, most):
            return firsts, len(panels) // firsts
    columns = min(2 if len(panels) == 4 else 3, len(panels), most)
    return -(-len(panels) // columns), columns


def _canvas(plan: _Plan, caption: Sequence[str], entries: list[Any]) -> tuple[Figure, np.ndarray]:
    """An empty figure and its axes, with the caption and the legend under them."""
    width = plan.width
    size = matplotlib.rcParams["font.size"]
    line, characters = size * 0.83 / 72 * 1.2, _CHARACTERS_AN_INCH * 10 / size
    lines = [part for text in caption for part in textwrap.wrap(text, int(width * characters))]
    longest = max((len(entry.get_label()) for entry in entries), default=1) / characters + 0.6
    in_a_row = max(1, int(width / longest))
    legend = 1.2 * line * -(-len(entries) // in_a_row)
    below = legend + line * (len(lines) + 0.8)
    total = plan.rows * (plan.panel[1] + 0.3) + 0.9 + (0.8 if plan.side_by_side else 0.0) + below

    figure = Figure(figsize=(width, total))
    figure.set_layout_engine("constrained", rect=(0, below / total, 1, 1 - below / total))
    figure.text(0.06 / width, (below - line / 2) / total, "\n".join(lines), fontsize="x-small", va="top", color="0.3")
    if entries:
        figure.legend(
            handles=entries, loc="lower left", bbox_to_anchor=(0, 0), ncols=in_a_row, fontsize="x-small", frameon=False,
            borderpad=0.2, labelspacing=0.3,
        )  # fmt: skip
    grid: Any = figure.subplots(plan.rows, plan.columns, squeeze=False, sharex=True, sharey=True)
    return figure, grid


def _draw_column(
    figure: Figure,
    places: list[Axes],
    plan: _Plan,
    column: Column,
    norm: Normalize,
    writings: list[Writing],
    x_axis: Axis,
    y_axis: Axis,
) -> None:
    """Draw all panels of a value and its colour bar."""
    value, panels = column.value, column.panels
    for axes, panel, writing in zip(places, panels, writings, strict=False):
        axes.set_xscale("log" if x_axis.scale == "log" else "linear")
        axes.set_yscale("log" if y_axis.scale == "log" else "linear")
        if isinstance(value, MapValue):
            draw_scores(axes, panel, value, norm, x_axis, y_axis, writing)
        else:
            draw_categories(axes, panel, value, x_axis, y_axis, writing)
        draw_boundary(axes, panel, x_axis, y_axis)
        _ticks(axes, x_axis, y_axis, plan.room)
        axes.set_title(panel.title, fontsize="medium")
    if isinstance(value, MapValue):
        everything = np.concatenate([panel.values.ravel() for panel in panels])
        length = plan.panel[0] if plan.side_by_side else plan.rows * plan.panel[1]
        label = "\n".join(textwrap.wrap(value.label, max(12, int(length * _LABEL_AN_INCH))))
        bar = figure.colorbar(
            ScalarMappable(norm, value.colour_map()), ax=places, label=label,
            extend=_extend(everything[~np.isnan(everything)], norm),
            location="bottom" if plan.side_by_side else "right", aspect=20 if plan.side_by_side else 30,
        )  # fmt: skip
        if isinstance(norm, LogNorm):
            _label_decades(bar, norm)
    elif plan.side_by_side:
        places[0].set_title(f"{value.label}\n{panels[0].title}".strip(), fontsize="small")


def _label_decades(bar: Colorbar, norm: LogNorm) -> None:
    """Few labels: of decades, or also of 2 and 5 within them where there are not three."""
    narrow = norm.vmin is not None and norm.vmax is not None and norm.vmax / norm.vmin < 1000
    bar.locator = LogLocator(subs=(1, 2, 5) if narrow else (1,))
    bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
    bar.minorformatter = NullFormatter()


def _ticks(axes: Axes, x_axis: Axis, y_axis: Axis, room: Room) -> None:
    """Ticks at the values; where they stand too close, only every second or third has its label."""
    size = matplotlib.rcParams["font.size"] * 0.83 / 72
    for set_ticks, axis, inches, rotation in (
        (axes.set_xticks, x_axis, room.width, 45 if len(x_axis.values) > 5 else 0),
        (axes.set_yticks, y_axis, room.height, 0),
    ):
        every = int(np.ceil(size * (1.9 if rotation else 1.2) / inches))
        names = [f"{tick:g}" if not index % every else "" for index, tick in enumerate(axis.values)]
        set_ticks(axis.positions, names, rotation=rotation, fontsize="small")
    if len(x_axis.values) > 5:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.minorticks_off()
    axes.set(xlim=x_axis.edges[[0, -1]], ylim=y_axis.edges[[0, -1]])


def _label_outer_axes(grid: np.ndarray, panels: int, x_label: str, y_label: str) -> None:
    """Label the left column and the lowest panel of each column; the last row may not be full."""
    columns = grid.shape[1]
    for column in range(columns):
        lowest = grid[(panels - 1 - column) // columns, column]
        lowest.set_xlabel(x_label)
        lowest.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)


def _axis_label(field: str, axis: Axis) -> str:
    return LABELS.get(field, field) + (", not to scale" if axis.scale == "index" else "")


def _extend(values: np.ndarray, norm: Normalize) -> str:
    if norm.vmin is None or norm.vmax is None or not values.size:
        return "neither"
    below, above = bool(values.min() < norm.vmin), bool(values.max() > norm.vmax)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
