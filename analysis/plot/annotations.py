"""The text on the points of a map, as far as there is room, and its explanation for the caption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize

from analysis.plot.aggregate import Panel
from analysis.plot.variables import CategoryValue, MapValue

MIN_VISIBLE_SHARE = 0.05
"""Intervals narrower than this share of the colour scale are not written on points."""

MAX_ANNOTATED_POINTS = 150
"""Panels with more points have no text."""

_LINE_INCHES = 0.1
_CHARACTER_INCHES = 0.053
"""Size of the text on points."""

NOTES: Mapping[str, str] = {
    "lost": "k/n: k of n seeds lost plasticity",
    "known": "k of n: computed from k of n seeds; the others diverged or are untrainable",
    "interval": "last line: 95% interval over seeds (Wilson for a share, else bootstrap), "
    f"where it is wider than {MIN_VISIBLE_SHARE:.0%} of the colour scale",
    "verdict": "verdict k/n: k of n seeds are in this verdict",
    "first_symptom": "symptom k/n: the first one of k of the n seeds that lost plasticity",
    "lead": "+t: the symptom came t tasks before the loss (median)",
}
"""The caption's explanation of each kind of line."""


@dataclass(frozen=True)
class Line:
    """A line on a point: its kind, a key of `NOTES`, and its text."""

    kind: str
    text: str


@dataclass(frozen=True)
class Room:
    """The room for text on the points of a panel.

    Attributes:
        widths: inches, per column of points.
        heights: inches, per row.
    """

    widths: np.ndarray
    heights: np.ndarray

    def fitting(self, point: tuple[int, ...], lines: Sequence[Line]) -> list[Line]:
        """Return the first lines, as many as fit on a point, which is given by row and column."""
        fit = list(lines[: int(self.heights[point[0]] / _LINE_INCHES)])
        while fit and max(len(line.text) for line in fit) * _CHARACTER_INCHES > self.widths[point[1]]:
            fit.pop()
        return fit


Writing = Mapping[tuple[int, ...], Sequence[Line]]
"""The lines on each point, by its row and column."""


def writing_on(panel: Panel, value: MapValue | CategoryValue, norm: Normalize, room: Room) -> Writing:
    """Return the lines on all points of a panel: counts of seeds, and the interval."""
    if panel.cells.size > MAX_ANNOTATED_POINTS:
        return {}
    return {
        point: room.fitting(point, list(_lines(panel, point, value, norm))) for point in np.ndindex(panel.cells.shape)
    }


def notes_on(writings: Sequence[Writing]) -> list[str]:
    """Return the caption's explanations of the kinds of lines that occur."""
    kinds = {line.kind for writing in writings for lines in writing.values() for line in lines}
    return [note for kind, note in NOTES.items() if kind in kinds]


def _lines(panel: Panel, point: tuple[int, ...], value: MapValue | CategoryValue, norm: Normalize) -> Iterator[Line]:
    if isinstance(value, CategoryValue):
        return _of_category(panel, point, value)
    return _of_score(panel, point, value, norm)


def _of_score(panel: Panel, point: tuple[int, ...], value: MapValue, norm: Normalize) -> Iterator[Line]:
    if np.isnan(panel.values[point]):
        return
    if value.decidable_only:
        yield Line("lost", f"{panel.lost[point]}/{panel.decidable[point]}")
    if panel.defined[point] < panel.cells[point] and value.column != "lost":
        yield Line("known", f"{panel.defined[point]} of {panel.cells[point]}")
    if interval := _interval(panel, point, value, norm):
        yield Line("interval", interval)


def _of_category(panel: Panel, point: tuple[int, ...], value: CategoryValue) -> Iterator[Line]:
    name = panel.names[point]
    if not name or name == value.background:
        return
    yield Line(value.column, f"{panel.matching[point]}/{panel.defined[point]}")
    if not np.isnan(panel.lead[point]):
        yield Line("lead", f"{panel.lead[point]:+.0f}")


def _interval(panel: Panel, point: tuple[int, ...], value: MapValue, norm: Normalize) -> str:
    """Return the interval as text, empty if colours would not show it."""
    low, high = panel.low[point], panel.high[point]
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    if np.ptp(norm(np.clip([low, high], norm.vmin, norm.vmax))) < MIN_VISIBLE_SHARE:
        return ""
    if value.column == "lost":
        between = "-" if low >= 0 else " to "
        return f"{100 * low:.0f}{between}{100 * high:.0f}%"
    # A wide interval needs fewer decimals.
    digits = int(np.clip(1 - np.floor(np.log10(max(high - low, 1e-9))), 0, 2))
    ends = [f"{end:.{digits}f}".replace("0.", ".", 1) if abs(end) < 1 else f"{end:.{digits}f}" for end in (low, high)]
    return " to ".join(ends)
