"""A sheet of map panels: their layout, axes, colour bars, legend and caption."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from analysis.plot.aggregate import Panel
from analysis.plot.annotations import Room, Writing, notes_on, writing_on
from analysis.plot.axes import Axis, Grid
from analysis.plot.heatmap import Heatmap, legend_entries
from analysis.plot.variables import CategoryValue, MapValue
from analysis.scoring import LossCriterion

_PANEL_INCHES, _MIN_PANEL_INCHES = 3.4, 1.4
_POINT_INCHES = 0.38
_CAPTION_CHARACTERS_PER_INCH = 16
"""In type for a screen."""
_TITLE_CHARACTERS_PER_INCH, _LABEL_CHARACTERS_PER_INCH = 11, 14
_TICK_CHARACTER_EMS = 0.62
"""Mean width of a character of a tick label, in font sizes."""
_MAX_UPRIGHT_TICKS = 5
_X_SMALL = 0.694
"""Size of the caption's and the legend's type, in font sizes."""
_MIN_DECADE_TICKS, _MAX_DECADE_TICKS = 3, 6
_SCREEN_POINTS, _PRINT_POINTS = 10.0, 8.0


@dataclass(frozen=True)
class Column:
    """One value and its panels, all on the same axes; several become columns side by side."""

    value: MapValue | CategoryValue
    panels: Sequence[Panel]

    def norm(self, criterion: LossCriterion) -> Normalize:
        """Return the colour scale of all panels of a score."""
        finite = np.concatenate([panel.values[np.isfinite(panel.values)] for panel in self.panels])
        return self.value.norm(finite, criterion) if isinstance(self.value, MapValue) else Normalize(0, 1)


@dataclass(frozen=True)
class _Layout:
    """How large everything is.

    Attributes:
        rows, columns: of panels.
        width: of the figure, inches.
        panel: a panel's width and height, inches, without what is around it.
        room: for text on points.
    """

    rows: int
    columns: int
    width: float
    panel: tuple[float, float]
    room: Room


@dataclass(frozen=True)
class Sheet:
    """The panels of a figure, with everything that their layout and drawing depend on.

    Attributes:
        columns: the values. The panels of a single one are wrapped, or arranged by two fields in rows and columns.
            Several stand side by side, each with a colour bar below it.
        grid: the axes of all panels.
        criterion: for where colours are centred.
        width: of the figure in inches, in type for print; None for as much as it needs, in type for a screen.
    """

    columns: Sequence[Column]
    grid: Grid
    criterion: LossCriterion
    width: float | None = None

    def draw(self, title: str, caption: Sequence[str]) -> Figure:
        """Draw all panels.

        Args:
            title: over the figure.
            caption: lines below it, wrapped to its width; explanations of the text on points follow.
        """
        size = _SCREEN_POINTS if self.width is None else _PRINT_POINTS
        with matplotlib.rc_context({"font.size": size, "hatch.linewidth": 0.5}):
            norms = [column.norm(self.criterion) for column in self.columns]
            writings = [
                [writing_on(panel, column.value, norm, self._layout.room) for panel in column.panels]
                for column, norm in zip(self.columns, norms, strict=True)
            ]
            notes = [column.value.note for column in self.columns if isinstance(column.value, MapValue)]
            below = [*caption, *notes_on([writing for some in writings for writing in some]), *filter(None, notes)]
            figure, axes = self._canvas(below)
            for number, column in enumerate(self.columns):
                places = list(axes[:, number]) if self._side_by_side else list(axes.flat)
                self._draw_column(places[: len(column.panels)], column, norms[number], writings[number])
                for unused in places[len(column.panels) :]:
                    unused.set_visible(False)
            self._label_outer_axes(axes)
            width = int(figure.get_figwidth() * _TITLE_CHARACTERS_PER_INCH)
            figure.suptitle("\n".join(textwrap.wrap(title, width)))
        return figure

    @property
    def _side_by_side(self) -> bool:
        return len(self.columns) > 1

    @property
    def _panels(self) -> Sequence[Panel]:
        return self.columns[0].panels

    @cached_property
    def _layout(self) -> _Layout:
        bars = 0.2 if self._side_by_side else 1.1
        room = None if self.width is None else self.width - 0.6 - bars
        rows, columns = (len(self._panels), len(self.columns)) if self._side_by_side else self._shape(room)
        points = self.grid.shape
        width = self.width
        if width is None:
            wide = 3.0 if self._side_by_side else max(_PANEL_INCHES, _POINT_INCHES * points[1])
            width = columns * wide + 0.8 + bars
        panel = max(0.6, (width - 0.6 - bars) / columns)
        height = max(0.85 * min(panel, _PANEL_INCHES), 0.16 * points[0])
        room_on_points = Room(panel * self.grid.x.shares, height * self.grid.y.shares)
        return _Layout(rows, columns, width, (panel, height), room_on_points)

    def _shape(self, room: float | None) -> tuple[int, int]:
        """Return rows and columns: one field along a row, two fields in rows and columns; fewer columns if narrow."""
        panels = self._panels
        most = len(panels) if room is None else max(1, int(room / _MIN_PANEL_INCHES))
        fields = list(panels[0].key)
        if len(fields) == 2:
            firsts = len({panel.key[fields[0]] for panel in panels})
            if firsts > 1 and len(panels) % firsts == 0 and len(panels) // firsts <= min(6, most):
                return firsts, len(panels) // firsts
        columns = min(2 if len(panels) == 4 else 3, len(panels), most)
        return -(-len(panels) // columns), columns

    def _legend(self) -> list[Artist]:
        entries = [entry for column in self.columns for entry in legend_entries(column.panels, column.value, self.grid)]
        return list({entry.get_label(): entry for entry in entries}.values())

    def _canvas(self, caption: Sequence[str]) -> tuple[Figure, np.ndarray]:
        """Make an empty figure and its axes, with the caption and the legend below them."""
        layout, entries = self._layout, self._legend()
        size = matplotlib.rcParams["font.size"]
        line = _X_SMALL * size / 72 * 1.25
        characters = _CAPTION_CHARACTERS_PER_INCH * _SCREEN_POINTS / size
        lines = [part for text in caption for part in textwrap.wrap(text, int(layout.width * characters))]
        longest = max((len(str(entry.get_label())) for entry in entries), default=1) / characters + 0.6
        in_a_row = max(1, int(layout.width / longest))
        legend = 1.2 * line * -(-len(entries) // in_a_row)
        below = legend + line * (len(lines) + 1.5)
        names = self._longest_tick * np.sqrt(0.5) if self._slanted and self.grid.x.scale == "category" else 0.0
        bars = 0.8 if self._side_by_side else 0.0
        total = layout.rows * (layout.panel[1] + 0.3) + names + 0.9 + bars + below

        figure = Figure(figsize=(layout.width, total))
        figure.set_layout_engine("constrained", rect=(0, below / total, 1, 1 - below / total))
        at = 0.06 / layout.width, (below - line / 2) / total
        figure.text(*at, "\n".join(lines), fontsize="x-small", va="top", color="0.3")
        if entries:
            figure.legend(
                handles=entries, loc="lower left", bbox_to_anchor=(0, 0), ncols=in_a_row, fontsize="x-small",
                frameon=False, borderpad=0.2, labelspacing=0.3,
            )  # fmt: skip
        axes: Any = figure.subplots(layout.rows, layout.columns, squeeze=False, sharex=True, sharey=True)
        return figure, axes

    def _draw_column(
        self, places: Sequence[Axes], column: Column, norm: Normalize, writings: Sequence[Writing]
    ) -> None:
        """Draw all panels of a value, and its colour bar."""
        value = column.value
        for axes, panel, writing in zip(places, column.panels, writings, strict=True):
            axes.set_xscale("log" if self.grid.x.scale == "log" else "linear")
            axes.set_yscale("log" if self.grid.y.scale == "log" else "linear")
            heatmap = Heatmap(axes, panel, self.grid)
            if isinstance(value, MapValue):
                heatmap.draw_scores(value, norm, writing)
            else:
                heatmap.draw_categories(value, writing)
            self._set_ticks(axes)
            axes.set_title(_wrapped(panel.title, self._layout.panel[0]), fontsize="medium")
        if isinstance(value, MapValue):
            self._draw_colour_bar(places, column, norm)
        elif self._side_by_side:
            title = _wrapped(f"{value.label}\n{column.panels[0].title}".strip(), self._layout.panel[0])
            places[0].set_title(title, fontsize="small")

    def _draw_colour_bar(self, places: Sequence[Axes], column: Column, norm: Normalize) -> None:
        value: Any = column.value
        values = np.concatenate([panel.values.ravel() for panel in column.panels])
        length = self._layout.panel[0] if self._side_by_side else self._layout.rows * self._layout.panel[1]
        label = textwrap.wrap(value.axis_label, max(12, int(length * _LABEL_CHARACTERS_PER_INCH)))
        figure: Any = places[0].figure
        bar = figure.colorbar(
            ScalarMappable(norm, value.colour_map()), ax=places, label="\n".join(label),
            extend=_extend(values[~np.isnan(values)], norm),
            location="bottom" if self._side_by_side else "right", aspect=20 if self._side_by_side else 30,
        )  # fmt: skip
        if isinstance(norm, LogNorm):
            _label_decades(bar, norm)

    def _set_ticks(self, axes: Axes) -> None:
        """Put ticks at the values; where they are too close, only every second or third has a label."""
        x, y = self.grid.x, self.grid.y
        width, height = self._layout.panel[0] / len(x.values), self._layout.panel[1] / len(y.values)
        size, slanted = _tick_inches(), self._slanted
        axes.set_xticks(x.positions, _thinned(x, size * (1.9 if slanted else 1.2) / width), fontsize="small")
        axes.set_yticks(y.positions, _thinned(y, size * 1.2 / height), fontsize="small")
        if slanted:
            for label in axes.get_xticklabels():
                label.set(rotation=45, ha="right", rotation_mode="anchor")
        axes.minorticks_off()
        axes.set(xlim=x.edges[[0, -1]], ylim=y.edges[[0, -1]])

    @property
    def _slanted(self) -> bool:
        """Whether the labels along x need more room than they have side by side."""
        x = self.grid.x
        width = self._layout.panel[0] / len(x.values)
        return len(x.values) > _MAX_UPRIGHT_TICKS or (x.scale == "category" and self._longest_tick > width)

    @property
    def _longest_tick(self) -> float:
        """Inches of the longest label along x."""
        return max(map(len, self.grid.x.names)) * _tick_inches() * _TICK_CHARACTER_EMS

    def _label_outer_axes(self, axes: np.ndarray) -> None:
        """Label the left column and the lowest panel of each column; the last row may not be full."""
        panels, columns = len(self._panels) * len(self.columns), axes.shape[1]
        for column in range(columns):
            lowest = axes[(panels - 1 - column) // columns, column]
            lowest.set_xlabel(self.grid.x.label)
            lowest.tick_params(labelbottom=True)
        for left in axes[:, 0]:
            left.set_ylabel(self.grid.y.label)


def _tick_inches() -> float:
    """Return the type size of tick labels in inches."""
    return float(matplotlib.rcParams["font.size"]) * 0.83 / 72


def _wrapped(text: str, inches: float) -> str:
    width = max(12, int(inches * _LABEL_CHARACTERS_PER_INCH))
    return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, width))


def _thinned(axis: Axis, every: float) -> list[str]:
    """Return tick labels, of which only every n-th is not empty."""
    step = int(np.ceil(every))
    return [name if not index % step else "" for index, name in enumerate(axis.names)]


def _label_decades(bar: Colorbar, norm: LogNorm) -> None:
    """Label some powers of ten, and round numbers between them where there are fewer than three."""
    low, high = float(norm.vmin or 0.1), float(norm.vmax or 1)
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = np.empty(0)
    for within in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        ticks = np.outer(decades, within).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) >= _MIN_DECADE_TICKS:
            break
    ticks = ticks[:: -(-len(ticks) // _MAX_DECADE_TICKS) or 1]
    bar.locator = FixedLocator(ticks.tolist()) if len(ticks) >= 2 else MaxNLocator(_MIN_DECADE_TICKS)
    bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
    bar.minorlocator = NullLocator()


def _extend(values: np.ndarray, norm: Normalize) -> str:
    if norm.vmin is None or norm.vmax is None or not values.size:
        return "neither"
    below, above = bool(values.min() < norm.vmin), bool(values.max() > norm.vmax)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
