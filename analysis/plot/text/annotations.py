"""The text on the points of a map, and its explanation for the caption."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm, Normalize

from analysis.plot.aggregate import Panel
from analysis.plot.edge import FITTED
from analysis.plot.text.numbers import interval_text
from analysis.plot.variables import CategoryValue, MapValue

MIN_VISIBLE_SHARE = 0.05
"""Intervals narrower than this share of the colour scale are not written on points."""

MAX_ANNOTATED_POINTS = 150
"""Panels with more points have no text."""

_MINUS = "\N{MINUS SIGN}"

_SIGNED = ("excess", "log_ratio", "around zero")
"""Scales of scores that can be negative."""


@dataclass(frozen=True)
class Note:
    """The explanation of a kind of line: short, for the caption, and in full, for the metadata."""

    short: str
    full: str


_COUNTED: Mapping[str, Note] = {
    "lost": Note("k of n seeds lost plasticity", "k of n seeds lost plasticity"),
    "verdict": Note("k of n seeds have this verdict", "k of n seeds have this verdict"),
    "first_symptom": Note(
        "it comes first in k of the n seeds that lost plasticity",
        "the first symptom of k of the n seeds that lost plasticity",
    ),
}
"""What k/n is for each kind of line that has it."""

NOTES: Mapping[str, Note] = {
    "known": Note(
        "k of n: seeds with a value", "k of n: computed from k of n seeds; the others diverged or are untrainable"
    ),
    "interval": Note(
        "last line: 95% interval",
        "last line: 95% interval over seeds (Wilson for a share, else bootstrap), "
        f"where it is wider than {MIN_VISIBLE_SHARE:.0%} of the colour scale",
    ),
    "fitted": Note(
        "last line: 95% interval of the fitted rate",
        "last line: pointwise 95% interval of the rate, by a surface fitted to the failed late tasks of the panel, "
        f"where it is wider than {MIN_VISIBLE_SHARE:.0%} of the colour scale",
    ),
    "lead": Note("+t: t tasks before the loss (median)", "+t: the symptom came t tasks before the loss (median)"),
}
"""The caption's explanation of each other kind of line."""


@dataclass(frozen=True)
class Line:
    """A line on a point: its kind, a key of `_COUNTED` or `NOTES`, and its text."""

    kind: str
    text: str


Writing = Mapping[tuple[int, ...], Sequence[Line]]
"""The lines on each point, by its row and column; the first ones are the most important."""


def writing_on(panel: Panel, value: MapValue | CategoryValue, norm: Normalize) -> Writing:
    """Return the lines for all points of a panel, whether or not there is room: counts of seeds, and the interval.

    There are none on scattered points.
    """
    if panel.cells.size > MAX_ANNOTATED_POINTS or panel.cells.ndim < 2:
        return {}
    return {point: list(_lines(panel, point, value, norm)) for point in np.ndindex(panel.cells.shape)}


def kinds_in(writings: Sequence[Writing]) -> set[str]:
    """Return the kinds of lines that occur."""
    return {line.kind for writing in writings for lines in writing.values() for line in lines}


def notes_on(kinds: Collection[str]) -> list[Note]:
    """Return the explanations of kinds of lines, in the order of the lines on a point; one for all that are k/n."""
    counted = [note for kind, note in _COUNTED.items() if kind in kinds]
    short, full = (", or ".join(getattr(note, part) for note in counted) for part in ("short", "full"))
    others = [note for kind, note in NOTES.items() if kind in kinds]
    return [Note(f"k/n: {short}", f"k/n: {full}"), *others] if counted else others


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
    fitted = panel.fitted_low[point], panel.fitted_high[point]
    is_fitted = value.column == "late_failure_rate" and bool(np.isfinite(fitted).all())
    if interval := _interval(fitted if is_fitted else (panel.low[point], panel.high[point]), value, norm):
        yield Line("fitted" if is_fitted else "interval", interval)


def _of_category(panel: Panel, point: tuple[int, ...], value: CategoryValue) -> Iterator[Line]:
    name = panel.names[point]
    if not name or name == value.background:
        return
    yield Line(value.column, f"{panel.matching[point]}/{panel.defined[point]}")
    if not np.isnan(panel.lead[point]):
        yield Line("lead", f"{panel.lead[point]:+.0f}".replace("-", _MINUS))


def _interval(ends: tuple[float, float], value: MapValue, norm: Normalize) -> str:
    """Return an interval as text, empty if colours would not show it."""
    low, high = ends
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    if _share_of_scale(low, high, norm) < MIN_VISIBLE_SHARE:
        return ""
    return interval_text(
        low, high, norm, signed=value.scale in _SIGNED, digits=2 if value.column in FITTED else None
    )  # fmt: skip


def _share_of_scale(low: float, high: float, norm: Normalize) -> float:
    """Return how much of the colour scale an interval spans, also where it is beyond its ends; at most 1."""
    if isinstance(norm, LogNorm):
        low, high = np.clip([low, high], norm.vmin, None)
    else:
        norm = Normalize(norm.vmin, norm.vmax)
    return float(min(np.ptp(norm([low, high])), 1.0))
