"""The text on the points of a map, and its explanation for the caption."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize

from analysis.plot.aggregate import Panel
from analysis.plot.variables import CategoryValue, MapValue

MIN_VISIBLE_SHARE = 0.05
"""Intervals narrower than this share of the colour scale are not written on points."""

MAX_ANNOTATED_POINTS = 150
"""Panels with more points have no text."""

_EN_DASH, _MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"

_SIGNED = ("excess", "log_ratio", "around zero")
"""Scales of scores that can be negative. Their intervals have "to", because a dash beside a minus sign is misread."""


@dataclass(frozen=True)
class Note:
    """The explanation of a kind of line: short, for the caption, and in full, for the metadata."""

    short: str
    full: str


NOTES: Mapping[str, Note] = {
    "lost": Note("k/n: k of n seeds lost plasticity", "k/n: k of n seeds lost plasticity"),
    "known": Note(
        "k of n: seeds with a value", "k of n: computed from k of n seeds; the others diverged or are untrainable"
    ),
    "interval": Note(
        "last line: 95% interval",
        "last line: 95% interval over seeds (Wilson for a share, else bootstrap), "
        f"where it is wider than {MIN_VISIBLE_SHARE:.0%} of the colour scale",
    ),
    "verdict": Note("k/n: k of n seeds have this verdict", "k/n: k of n seeds have this verdict"),
    "first_symptom": Note(
        "k/n: it comes first in k of the n seeds that lost plasticity",
        "k/n: the first symptom of k of the n seeds that lost plasticity",
    ),
    "lead": Note("+t: t tasks before the loss (median)", "+t: the symptom came t tasks before the loss (median)"),
}
"""The caption's explanation of each kind of line."""


@dataclass(frozen=True)
class Line:
    """A line on a point: its kind, a key of `NOTES`, and its text."""

    kind: str
    text: str


Writing = Mapping[tuple[int, ...], Sequence[Line]]
"""The lines on each point, by its row and column; the first ones are the most important."""


def writing_on(panel: Panel, value: MapValue | CategoryValue, norm: Normalize) -> Writing:
    """Return the lines for all points of a panel, whether or not there is room: counts of seeds, and the interval."""
    if panel.cells.size > MAX_ANNOTATED_POINTS:
        return {}
    return {point: list(_lines(panel, point, value, norm)) for point in np.ndindex(panel.cells.shape)}


def kinds_in(writings: Sequence[Writing]) -> set[str]:
    """Return the kinds of lines that occur."""
    return {line.kind for writing in writings for lines in writing.values() for line in lines}


def notes_on(kinds: Collection[str]) -> list[Note]:
    """Return the explanations of kinds of lines, in the order of the lines on a point."""
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
        yield Line("lead", f"{panel.lead[point]:+.0f}".replace("-", _MINUS))


def _interval(panel: Panel, point: tuple[int, ...], value: MapValue, norm: Normalize) -> str:
    """Return the interval as text, empty if colours would not show it."""
    low, high = panel.low[point], panel.high[point]
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    if np.ptp(norm(np.clip([low, high], norm.vmin, norm.vmax))) < MIN_VISIBLE_SHARE:
        return ""
    # A wide interval needs fewer decimals.
    digits = 2 if value.column == "lost" else int(np.clip(1 - np.floor(np.log10(max(high - low, 1e-9))), 0, 2))
    between = " to " if value.scale in _SIGNED else _EN_DASH
    return f"{_number(low, digits)}{between}{_number(high, digits)}"


def _number(value: float, digits: int) -> str:
    """Return a number with this many decimals, with a minus sign and without a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", _MINUS)
