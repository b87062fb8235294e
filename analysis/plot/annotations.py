"""What is written on the points of a map, as far as there is room, and what it means, for the caption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize

from analysis.plot.aggregate import Panel
from analysis.plot.variables import CategoryValue, MapValue

VISIBLE = 0.05
"""Intervals narrower than this share of the colour scale are not written on points."""

MAX_WRITTEN = 150
"""Nothing is written on panels with more points."""

_LINE_INCHES = 0.1
_WIDTH_INCHES = 0.053
"""Of a character at the size of what is written on points."""

NOTES: Mapping[str, str] = {
    "lost": "k/n: k of n seeds lost plasticity",
    "known": "k of n: of k of n seeds; the others have diverged, or fresh networks fail too",
    "interval": "last line: 95% interval over seeds (of a share Wilson's, else bootstrapped), "
    f"where it is wider than {VISIBLE:.0%} of the colour scale",
    "phase": "k/n: k of n seeds are in this phase",
    "first_symptom": "k/n: k of the n seeds that lost plasticity",
    "lead": "+t: the symptom came t tasks before the loss (median)",
}
"""What each kind of line means."""


@dataclass(frozen=True)
class Line:
    """A line on a point: its kind, a key of `NOTES`, and what it says."""

    kind: str
    text: str


@dataclass(frozen=True)
class Room:
    """What a point of a map has room for.

    Attributes:
        width, height: inches.
    """

    width: float
    height: float

    def fitting(self, lines: Sequence[Line]) -> list[Line]:
        """As many of the lines as fit, the first ones first."""
        fit = list(lines[: int(self.height / _LINE_INCHES)])
        while fit and max(len(line.text) for line in fit) * _WIDTH_INCHES > self.width:
            fit.pop()
        return fit


Writing = Mapping[tuple[int, ...], Sequence[Line]]
"""The lines of each point, by its row and column."""


def writing_on(panel: Panel, value: MapValue | CategoryValue, norm: Normalize, room: Room) -> Writing:
    """The lines on all points of a panel: how many seeds lost plasticity, or are of the category, and the interval."""
    if panel.cells.size > MAX_WRITTEN:
        return {}
    lines_of = _of_category if isinstance(value, CategoryValue) else _of_score
    return {
        point: room.fitting(list(lines_of(panel, point, value, norm)))  # type: ignore[arg-type]
        for point in np.ndindex(panel.cells.shape)
    }


def notes_on(writings: Sequence[Writing]) -> list[str]:
    """The caption's lines on what occurs in these writings."""
    kinds = {line.kind for writing in writings for lines in writing.values() for line in lines}
    return [note for kind, note in NOTES.items() if kind in kinds]


def _of_score(panel: Panel, point: tuple[int, ...], value: MapValue, norm: Normalize) -> Iterator[Line]:
    if np.isnan(panel.values[point]):
        return
    if value.decidable:
        yield Line("lost", f"{panel.lost[point]}/{panel.decidable[point]}")
    if panel.defined[point] < panel.cells[point] and value.column != "lost":
        yield Line("known", f"{panel.defined[point]} of {panel.cells[point]}")
    if interval := _interval(panel, point, value, norm):
        yield Line("interval", interval)


def _of_category(panel: Panel, point: tuple[int, ...], value: CategoryValue, norm: Normalize) -> Iterator[Line]:
    name = panel.names[point]
    if not name or name == value.background:
        return
    yield Line(value.column, f"{panel.matching[point]}/{panel.defined[point]}")
    if not np.isnan(panel.lead[point]):
        yield Line("lead", f"{panel.lead[point]:+.0f}")


def _interval(panel: Panel, point: tuple[int, ...], value: MapValue, norm: Normalize) -> str:
    """The interval as text, if it can be seen in the colours."""
    low, high = panel.low[point], panel.high[point]
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    if np.ptp(norm(np.clip([low, high], norm.vmin, norm.vmax))) < VISIBLE:
        return ""
    if value.column == "lost":
        between = "-" if low >= 0 else " to "
        return f"{100 * low:.0f}{between}{100 * high:.0f}%"
    # Figures after the point as the interval's width deserves.
    digits = int(np.clip(1 - np.floor(np.log10(max(high - low, 1e-9))), 0, 2))
    ends = [f"{end:.{digits}f}".replace("0.", ".", 1) if abs(end) < 1 else f"{end:.{digits}f}" for end in (low, high)]
    return " to ".join(ends)
