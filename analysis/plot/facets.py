"""A sheet of map panels: their layout, axes, colour bars, legend and caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, Formatter, FuncFormatter, MaxNLocator, NullLocator

from analysis.plot.aggregate import Panel
from analysis.plot.axes import MIN_ROUND_TICKS, Axis, Grid, round_ticks, tick_labels
from analysis.plot.heatmap import Heatmap, legend_entries
from analysis.plot.save import NotebookFigure
from analysis.plot.scatter import Scatter, scatter_entries
from analysis.plot.text.annotations import kinds_in, notes_on, writing_on
from analysis.plot.text.numbers import decimal, power_of, short_number, unit_of
from analysis.plot.text.typography import (
    PRINT_POINTS,
    SMALL,
    X_SMALL,
    fitting,
    text_inches,
    type_for,
    type_points,
    wrapped,
)
from analysis.plot.variables import CategoryValue, MapValue
from analysis.scoring import LossCriterion
from lop_sweep.config import with_unit

_PANEL_INCHES, _MIN_PANEL_INCHES = 3.4, 1.4
_COLUMN_INCHES, _MAX_COLUMNS = 3.0, 3
"""Of values side by side, in type for a screen."""
_POINT_INCHES, _MIN_POINT_INCHES, _MAX_WIDTH_INCHES = 0.6, 0.38, 6.0
"""The width of a point on a screen; the smaller one where a panel would be wider than the last."""
_CAPTION_MARGIN_INCHES, _CAPTION_INCHES = 0.06, 6.85
"""Each part of a caption is one line on a page of 7 inches."""

TIP_SHARE = 0.06
"""How far from the end of a colour bar the text at its tip is, as a share of the bar; the tip itself takes 0.05."""


@dataclass(frozen=True)
class Caption:
    """What is below a figure, and what its metadata says.

    Attributes:
        short: parts of a line, the most important ones first.
        full: lines that leave nothing out.
    """

    short: Sequence[str]
    full: Sequence[str]


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
    """

    rows: int
    columns: int
    width: float
    panel: tuple[float, float]


@dataclass(frozen=True)
class Sheet:
    """The panels of a figure, with everything that their layout and drawing depend on.

    Attributes:
        columns: the values. The panels of a single one are wrapped, or arranged by two fields in rows and columns.
            Several stand side by side, as far as there is room, each with a colour bar below it.
        grid: the axes of all panels.
        criterion: for where colours are centred.
        width: of the figure in inches, in type for print; None for as much as it needs, in type for a screen.
    """

    columns: Sequence[Column]
    grid: Grid
    criterion: LossCriterion
    width: float | None = None

    def draw(self, title: str, caption: Caption) -> Figure:
        """Draw all panels.

        The figure's label is the full caption, which `save_figure` writes to the metadata.

        Args:
            title: over the figure.
            caption: below it, with explanations of the text on points.
        """
        with type_for(self.width):
            norms = [column.norm(self.criterion) for column in self.columns]
            writings = [
                [writing_on(panel, column.value, norm) for panel in column.panels]
                for column, norm in zip(self.columns, norms, strict=True)
            ]
            wanted = dict.fromkeys(kinds_in([writing for some in writings for writing in some]), False)
            figure, axes, below = self._canvas(self._below(caption, wanted))
            heatmaps = []
            for number, column in enumerate(self.columns):
                heatmaps.append(self._draw_column(self._places(axes, number), column, norms[number]))
            self._label_outer_axes(axes)
            figure.suptitle("\n".join(wrapped(title, 0.9 * figure.get_figwidth(), self._points)), fontsize="medium")
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # the axes keep their size, by which texts are placed
            written: dict[str, bool] = {}
            for some, drawn in zip(writings, heatmaps, strict=True):
                for writing, heatmap in zip(some, drawn, strict=True):
                    for kind, everywhere in heatmap.write(writing).items():
                        written[kind] = everywhere and written.get(kind, True)
            below.set_text(self._below(caption, written))
            figure.set_label("\n".join([*caption.full, *self._notes(written, full=True)]))
        return figure

    @property
    def _points(self) -> float:
        return type_points(self.width)

    @property
    def _side_by_side(self) -> bool:
        return len(self.columns) > 1

    @property
    def _panels(self) -> Sequence[Panel]:
        return self.columns[0].panels

    def _notes(self, kinds: Mapping[str, bool], full: bool) -> list[str]:
        """Return the explanations of the text on points, by kind and whether it is everywhere, and of colours."""
        values = [column.value for column in self.columns if isinstance(column.value, MapValue)]
        of_text = [note.full if full else note.short for note in notes_on(kinds)]
        if not all(kinds.values()):
            of_text.append("text only where it fits")
        return [*of_text, *filter(None, (value.note if full else value.short_note for value in values))]

    def _below(self, caption: Caption, kinds: Mapping[str, bool]) -> str:
        """Return the caption: two lines on a page, more in a column. Parts for which there is no room are left out."""
        size = PRINT_POINTS * X_SMALL
        parts = [part for part in caption.short if part]
        first = fitting(parts, _CAPTION_INCHES, size)
        rest = [*self._notes(kinds, full=False), *parts[first:]]
        lines = "; ".join(parts[:first]), "; ".join(rest[: fitting(rest, _CAPTION_INCHES, size)])
        width = self._layout.width - 2 * _CAPTION_MARGIN_INCHES
        return "\n".join(part for line in lines for part in wrapped(line, width, self._points * X_SMALL))

    @cached_property
    def _layout(self) -> _Layout:
        bars = 0.2 if self._side_by_side else 1.0
        room = None if self.width is None else self.width - 0.6 - bars
        rows, columns = self._bands(room) if self._side_by_side else self._shape(room)
        ticks_x, ticks_y = len(self.grid.x.ticks), len(self.grid.y.ticks)
        width = self.width
        if width is None:
            needed = max(min(_POINT_INCHES * ticks_x, _MAX_WIDTH_INCHES), _MIN_POINT_INCHES * ticks_x)
            wide = _COLUMN_INCHES if self._side_by_side else max(_PANEL_INCHES, needed)
            width = columns * wide + 0.8 + bars
        panel = max(0.6, (width - 0.6 - bars) / columns)
        height = max(0.85 * min(panel, _PANEL_INCHES), 0.16 * ticks_y)
        return _Layout(rows, columns, width, (panel, height))

    def _bands(self, room: float | None) -> tuple[int, int]:
        """Return rows and columns of several values: a band of rows has as many values as there is room for."""
        values = len(self.columns)
        most = _MAX_COLUMNS if room is None else max(1, int(room / _MIN_PANEL_INCHES))
        bands = -(-values // most)
        return bands * len(self._panels), -(-values // bands)

    def _places(self, axes: np.ndarray, number: int) -> list[Axes]:
        """Return the axes of a value's panels."""
        if not self._side_by_side:
            return list(axes.flat[: len(self._panels)])
        band, column = divmod(number, axes.shape[1])
        rows = len(self._panels)
        return list(axes[band * rows : (band + 1) * rows, column])

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
        entries_of = scatter_entries if self.grid.scattered else legend_entries
        entries = [entry for column in self.columns for entry in entries_of(column.panels, column.value, self.grid)]
        return list({entry.get_label(): entry for entry in entries}.values())

    def _canvas(self, caption: str) -> tuple[Figure, np.ndarray, Text]:
        """Make an empty figure and its axes, with the legend and the caption below them."""
        layout, entries, points = self._layout, self._legend(), self._points * X_SMALL
        line = points / 72 * 1.25
        longest = max((text_inches(str(entry.get_label()), points) for entry in entries), default=1) + 6 * points / 72
        in_a_row = max(1, int(layout.width / longest))
        legend = 1.2 * line * -(-len(entries) // in_a_row)
        below = line * (caption.count("\n") + 1) + legend + 0.12
        names = 0.7 * self._longest_tick if self._slanted else 0.0
        bars = (0.8 if self._side_by_side else 0.0) * layout.rows / len(self._panels)
        total = layout.rows * (layout.panel[1] + 0.3) + names + 0.7 + bars + below

        figure = NotebookFigure(figsize=(layout.width, total))
        figure.set_layout_engine("constrained", rect=(0, below / total, 1, 1 - below / total))
        left = _CAPTION_MARGIN_INCHES / layout.width
        if entries:
            figure.legend(
                handles=entries, loc="upper left", bbox_to_anchor=(0, (below - 0.02) / total), ncols=in_a_row,
                fontsize=points, frameon=False, borderpad=0.2, labelspacing=0.3,
            )  # fmt: skip
        text = figure.text(
            left, (below - legend - 0.06) / total, caption, fontsize=points, va="top", color="0.3", linespacing=1.25
        )
        axes: Any = figure.subplots(layout.rows, layout.columns, squeeze=False)
        used = {panel for number in range(len(self.columns)) for panel in self._places(axes, number)}
        for unused in set(axes.flat) - used:
            unused.remove()
        return figure, axes, text

    def _draw_column(self, places: Sequence[Axes], column: Column, norm: Normalize) -> list[Heatmap]:
        """Draw all panels of a value, and its colour bar."""
        value = column.value
        heatmaps = []
        for axes, panel in zip(places, column.panels, strict=True):
            axes.set_xscale("log" if self.grid.x.scale == "log" else "linear")
            axes.set_yscale("log" if self.grid.y.scale == "log" else "linear")
            heatmap = (Scatter if self.grid.scattered else Heatmap)(axes, panel, self.grid)
            if isinstance(value, MapValue):
                heatmap.draw_scores(value, norm)
            else:
                heatmap.draw_categories(value)
            self._set_ticks(axes)
            axes.set_title(self._wrapped(panel.title, self._layout.panel[0]), fontsize="small")
            heatmaps.append(heatmap)
        if isinstance(value, MapValue):
            self._draw_colour_bar(places, column, norm)
        elif self._side_by_side:
            title = self._wrapped(f"{value.label}\n{column.panels[0].title}".strip(), self._layout.panel[0])
            places[0].set_title(title, fontsize="small")
        return heatmaps

    def _draw_colour_bar(self, places: Sequence[Axes], column: Column, norm: Normalize) -> None:
        value: Any = column.value
        values = np.concatenate([panel.values.ravel() for panel in column.panels])
        length = self._layout.panel[0] if self._side_by_side else self._layout.rows * self._layout.panel[1]
        figure: Any = places[0].figure
        known, power = values[~np.isnan(values)], power_of(norm)
        bar = figure.colorbar(
            ScalarMappable(norm, value.colour_map()), ax=places, extend=_extend(known, norm),
            location="bottom" if self._side_by_side else "right", aspect=20 if self._side_by_side else 30,
        )  # fmt: skip
        label = with_unit(value.label, unit_of(value.unit, power))
        bar.set_label(self._wrapped(label, length), fontsize="small")
        bar.ax.tick_params(labelsize="small")
        _set_bar_ticks(bar, value, known, norm)
        self._label_tips(bar, value, known, norm)

    def _label_tips(self, bar: Colorbar, value: MapValue, known: np.ndarray, norm: Normalize) -> None:
        """Write the most extreme values beside the tips of a colour bar, where they are beyond its colours."""
        tips = {"min": known.min(initial=np.inf), "max": known.max(initial=-np.inf)}
        for side, extreme in tips.items():
            if bar.extend not in (side, "both"):
                continue
            above = side == "max"
            place = 1 + TIP_SHARE if above else -TIP_SHARE
            if self._side_by_side:
                look: dict[str, Any] = {"x": place, "y": 0.5, "ha": "left" if above else "right", "va": "center"}
            else:
                look = {"x": 0.5, "y": place, "ha": "center", "va": "bottom" if above else "top"}
            text = short_number(extreme / 10.0 ** power_of(norm)).replace("∞", value.infinite)
            bar.ax.text(s=text, transform=bar.ax.transAxes, fontsize=self._points * X_SMALL, **look)

    def _set_ticks(self, axes: Axes) -> None:
        """Put ticks at the values; those too close to the last label have none."""
        x, y = self.grid.x, self.grid.y
        width, height = self._layout.panel
        size, slanted = self._points * SMALL / 72, self._slanted
        axes.set_xticks(x.ticks, _thinned(x, size * (1.9 if slanted else 1.2) / width), fontsize="small")
        axes.set_yticks(y.ticks, _thinned(y, size * 1.2 / height), fontsize="small")
        if slanted:
            for label in axes.get_xticklabels():
                label.set(rotation=45, ha="right", rotation_mode="anchor")
        axes.minorticks_off()
        axes.set(xlim=x.edges[[0, -1]], ylim=y.edges[[0, -1]])

    @property
    def _slanted(self) -> bool:
        """Whether the labels along x need more room than they have side by side."""
        narrowest = self._layout.panel[0] * self.grid.x.room
        return self._longest_tick + 0.5 * self._points / 72 > narrowest

    @property
    def _longest_tick(self) -> float:
        """Inches of the longest label along x."""
        return max(text_inches(label, self._points * SMALL) for label in self.grid.x.tick_labels)

    def _label(self, axis: Axis, inches: float) -> str:
        return "\n".join(wrapped(axis.label, inches, self._points))

    def _wrapped(self, text: str, inches: float) -> str:
        return "\n".join(wrapped(text, inches, self._points * SMALL))

    def _label_outer_axes(self, axes: np.ndarray) -> None:
        """Label the left column, and the lowest panel of each column of a band; the last row may not be full."""
        columns = axes.shape[1]
        for number in range(len(self.columns)):
            places = self._places(axes, number)
            for index, panel in enumerate(places):
                step, column = (1, number % columns) if self._side_by_side else (columns, index % columns)
                lowest, left = index + step >= len(places), column == 0
                panel.tick_params(labelbottom=lowest, labelleft=left)
                panel.set_xlabel(self._label(self.grid.x, self._layout.panel[0]) if lowest else "")
                panel.set_ylabel(self._label(self.grid.y, self._layout.panel[1]) if left else "")


def _thinned(axis: Axis, apart: float) -> list[str]:
    """Return tick labels, empty for those nearer to the last one shown than a share of the drawn axis."""
    labels, shown = [], -np.inf
    for place, name in zip(axis.places, axis.tick_labels, strict=True):
        keep = place - shown >= apart * (1 - 1e-9)
        labels.append(name if keep else "")
        shown = place if keep else shown
    return labels


def _set_bar_ticks(bar: Colorbar, value: MapValue, known: np.ndarray, norm: Normalize) -> None:
    """Put ticks at round numbers. A single value gets one tick, and a panel without finite values gets none."""
    shown = np.unique(known[np.isfinite(known)])
    if value.scale in ("linear", "log") and len(shown) < 2:
        bar.set_ticks(shown.tolist(), labels=[short_number(one / 10.0 ** power_of(norm)) for one in shown])
        bar.minorticks_off()
    elif isinstance(norm, LogNorm):
        _label_decades(bar, norm)
    else:
        bar.locator = MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=value.is_whole)
        bar.formatter = _Plain(power_of(norm))


class _Plain(Formatter):
    """Ticks as decimal numbers, divided by a power of ten, all with as many digits as their steps need."""

    def __init__(self, power: int) -> None:
        self._power = power

    def __call__(self, value: float, position: int | None = None) -> str:
        return short_number(value / 10.0**self._power)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        scaled = np.asarray(values, float) / 10.0**self._power
        digits = next((n for n in range(9) if np.abs(np.round(scaled, n) - scaled).max() < 10.0 ** -(n + 3)), 9)
        return [decimal(one, digits) for one in scaled]


def _label_decades(bar: Colorbar, norm: LogNorm) -> None:
    """Label some powers of ten, and round numbers between them where there are few."""
    ticks = round_ticks(float(norm.vmin or 0.1), float(norm.vmax or 1))
    bar.locator = FixedLocator(ticks.tolist()) if len(ticks) >= 2 else MaxNLocator(MIN_ROUND_TICKS)
    bar.formatter = FuncFormatter(lambda value, _: tick_labels([value])[0])
    bar.minorlocator = NullLocator()


def _extend(values: np.ndarray, norm: Normalize) -> str:
    if norm.vmin is None or norm.vmax is None or not values.size:
        return "neither"
    rounding = 1e-9 * (norm.vmax - norm.vmin)
    below, above = bool(values.min() < norm.vmin - rounding), bool(values.max() > norm.vmax + rounding)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
