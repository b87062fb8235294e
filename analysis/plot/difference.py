"""The difference of two sweeps: a map of what changes from one to the other, point by point."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plot.aggregate import Panel, arrange
from analysis.plot.facets import Column, draw_sheet
from analysis.plot.maps import cells_line
from analysis.plot.variables import DIVERGING, MapValue, map_value
from analysis.scoring import LossCriterion, difference_interval
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list


def plot_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    x: str,
    y: str,
    value: str = "excess",
    criterion: LossCriterion | None = None,
    names: tuple[str, str] = ("first", "second"),
    title: str = "",
    rng: np.random.Generator | None = None,
    width: float | None = None,
) -> Figure:
    """Draw a score of the second sweep minus that of the first.

    Fields that have one value in each sweep, but not the same, are what the sweeps differ in: the caption says so.
    Points that only one sweep has, or where the score is undefined in one, are hatched or crossed. Points whose 95%
    interval excludes 0 are marked.

    Args:
        first: from `analysis.scoring.table.score_sweep`.
        second: likewise, scored with the same rule.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        value: a name in `analysis.plot.variables.VALUES`.
        rule: the rule that both were scored with.
        names: of the sweeps, for the caption.
        title: over the figure.
        rng: draws the bootstrap's resamples; None for a generator seeded with 0.
        width: as in `analysis.plot.maps.plot_map`.

    Raises:
        AnalysisError: a name is unknown, "onset" or a category's, a sweep has no cells, or they have no point in
            common.
    """
    criterion, rng = criterion or LossCriterion(), rng or np.random.default_rng(0)
    shown = map_value(value)
    if not isinstance(shown, MapValue):
        raise AnalysisError(f"value {value!r} is a category, of which there is no difference; take a score, lost say")
    if shown.column == "onset":
        raise AnalysisError("value 'onset' is never for some seeds, which has no difference; take lost or area_excess")
    moved, differing = _aligned(first, second, (x, y))
    xs, ys, before = arrange(first, shown, x, y, _places(moved), rng)
    _, _, after = arrange(moved, shown, x, y, _places(first), rng)
    panels = [_subtract(one, other) for one, other in zip(before, after, strict=True)]
    if all(np.isnan(panel.values).all() for panel in panels):
        raise AnalysisError(f"{names[0]} and {names[1]} have no point in common at which {value} is defined")
    of_difference = MapValue(shown.column, f"difference of {shown.label}", "around zero", DIVERGING)
    caption = [
        f"{names[1]} minus {names[0]}" + (f"; they differ in {comma_list(differing)}" if differing else ""),
        f"{names[0]}: {cells_line(first)}",
        f"{names[1]}: {cells_line(second)}",
        str(criterion),
    ]
    heading = title or f"{names[1]} - {names[0]}: {value} over {x} and {y}"
    return draw_sheet([Column(of_difference, panels)], (x, xs), (y, ys), criterion, heading, caption, width)


def _aligned(first: pd.DataFrame, second: pd.DataFrame, axes: tuple[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The second sweep with the first one's values of the fields that differ as a whole, and these fields in words."""
    moved, differing = second.copy(), []
    for field in FIELDS:
        one, other = first[field].unique(), second[field].unique()
        if field not in (*axes, "seed") and len(one) == len(other) == 1 and one[0] != other[0]:
            differing.append(f"{field} ({one[0]:g} and {other[0]:g})")
            moved[field] = one[0]
    return moved, differing


def _places(scored: pd.DataFrame) -> pd.DataFrame:
    """The points of a sweep, as cells that no other sweep has."""
    return scored[["cell", *FIELDS]].assign(cell="place " + scored["cell"])


def _subtract(first: Panel, second: Panel) -> Panel:
    low, high = difference_interval((first.values, first.low, first.high), (second.values, second.low, second.high))
    nothing, defined = np.zeros_like(first.cells), np.minimum(first.defined, second.defined)
    return Panel(
        key=first.key,
        cells=np.where(defined > 0, defined, np.minimum(first.cells, second.cells)),
        decidable=nothing,
        lost=nothing,
        values=second.values - first.values,
        defined=defined,
        low=low,
        high=high,
        names=first.names,
        matching=nothing,
        lead=first.lead,
        marked=(low > 0) | (high < 0),
    )
