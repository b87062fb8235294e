"""The difference of two sweeps: a map of the changes from one to the other, point by point."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.data import format_value
from analysis.plot.aggregate import OTHERS, map_table
from analysis.plot.facets import Caption, Column, Sheet
from analysis.plot.maps import cells_line, columns_of, other_fields_line
from analysis.plot.variables import MapValue, map_value
from analysis.scoring import Estimate, criterion_of, difference_interval
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list


def plot_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    x: str,
    y: str,
    value: str = "excess",
    *,
    names: tuple[str, str] = ("first", "second"),
    title: str = "",
    width: float | None = None,
) -> Figure:
    """Draw a score of the second sweep minus that of the first.

    Fields with one value in each sweep, but not the same, are named in the caption. Points that only one sweep has, or
    where the score is undefined in one, have diagonal hatching or crosses. Points whose 95% interval excludes 0 are
    marked.

    Args:
        first: from `score`.
        second: from `score`, with the same criterion.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        value: a name in `VALUES`.
        names: of the sweeps, for the caption.
        title: over the figure; by default the names, the value and the axes.
        width: of the figure in inches, in type for print; None for as much as it needs, in type for a screen.

    Raises:
        AnalysisError: a name is unknown, the value is "onset" or a category, the criteria differ or are missing, a
            sweep has no cells, or they have no point in common.
    """
    check_difference(value)
    criterion = criterion_of(first)
    if criterion != criterion_of(second):
        raise AnalysisError(
            f"both sweeps must be scored with the same criterion, got '{criterion}' and '{criterion_of(second)}'"
        )
    rng = np.random.default_rng(0)
    moved, differing = _aligned(first, second, (x, y))
    before = map_table(first, x, y, value, requested=_places(moved), surface="counts", rng=rng)
    after = map_table(moved, x, y, value, requested=_places(first), surface="counts", rng=rng)
    table = _subtract(before, after)
    if table["value"].isna().all():
        raise AnalysisError(f"{names[0]} and {names[1]} have no point in common at which {value} is defined")
    minus = f"{names[1]} minus {names[0]}"
    differ = f"they differ in {comma_list(differing)}" if differing else ""
    seeds = [f"{name}: {cells_line(one)}" for name, one in zip(names, (before, after), strict=True)]
    others = other_fields_line(table)
    caption = Caption(
        short=[minus, others, differ, *seeds],
        full=["; ".join(filter(None, (minus, others, differ))), *seeds, str(criterion)],
    )
    grid, (column,) = columns_of(table)
    heading = title or f"{names[1]} - {names[0]}: {value} over {x} and {y}"
    told = column.value
    assert isinstance(told, MapValue)
    return Sheet([Column(told.as_difference(), column.panels)], grid, criterion, width).draw(heading, caption)


def check_difference(value: str) -> MapValue:
    """Return the score of this name, and refuse one that cannot be subtracted.

    Raises:
        AnalysisError: the name is unknown, "onset" or a category's.
    """
    shown = map_value(value)
    if not isinstance(shown, MapValue):
        raise AnalysisError(f"{value!r} is a category and cannot be subtracted; choose a numeric score such as 'lost'")
    if shown.column == "onset":
        raise AnalysisError("'onset' is infinite for some seeds and cannot be subtracted; choose lost or area_excess")
    return shown


def _aligned(first: pd.DataFrame, second: pd.DataFrame, axes: tuple[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the second sweep with the first one's values of fields that differ as a whole, and their description."""
    moved, differing = second.copy(), []
    for field in FIELDS:
        one, other = first[field].unique(), second[field].unique()
        if field not in (*axes, "seed") and len(one) == len(other) == 1 and one[0] != other[0]:
            differing.append(f"{field} ({format_value(one[0])} and {format_value(other[0])})")
            moved[field] = one[0]
    return moved, differing


def _places(scored: pd.DataFrame) -> pd.DataFrame:
    """Return the points of a sweep, as cells that no other sweep has."""
    return scored[["cell", *FIELDS]].assign(cell="place " + scored["cell"])


def _subtract(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return the table of the difference. Both tables have the same points in the same order."""
    low, high = difference_interval(_estimate(before), _estimate(after))
    defined = np.minimum(before["defined"], after["defined"])
    nothing = dict.fromkeys(("n", "lost", *OTHERS), 0)
    return before.assign(
        **nothing,
        cells=np.where(defined > 0, defined, np.minimum(before["cells"], after["cells"])),
        value=after["value"] - before["value"],
        defined=defined,
        low=low,
        high=high,
        differs=(low > 0) | (high < 0),
    )


def _estimate(table: pd.DataFrame) -> Estimate:
    return table["value"].to_numpy(), table["low"].to_numpy(), table["high"].to_numpy()
