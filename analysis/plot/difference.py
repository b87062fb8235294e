"""The difference of two sweeps: a map of the changes from one to the other, point by point.

Points that differ have a dot. The two sweeps are tested as independent samples, as their intervals are built, though
they usually share seeds. Where seeds of both sweeps agree more than by chance, the tests err less often than they say.
Tests of pairs would use that, but with n seeds their p is at least 2 / 2^n: with 8 seeds no point of a map of 55 has a
dot until nine of them differ in all seeds. `docs/analysis.md` has measured rates.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.data import format_value
from analysis.plot.aggregate import OTHERS, map_samples, map_table
from analysis.plot.facets import Caption, Column, Sheet
from analysis.plot.maps import cells_line, columns_of, other_fields_line
from analysis.plot.variables import MapValue, map_value
from analysis.scoring import Estimate, criterion_of, difference_interval
from analysis.statistics import FALSE_DISCOVERIES, permutation_tests, q_values, share_test
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
    where the score is undefined in one, have diagonal hatching or crosses. Points that differ (`difference_table`) are
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
    before, after, differing = _both(first, second, (x, y), value)
    table = _subtract(before, after)
    if table["value"].isna().all():
        raise AnalysisError(f"{names[0]} and {names[1]} have no point in common at which {value} is defined")
    criterion = criterion_of(first)
    minus = f"{names[1]} minus {names[0]}"
    differ = f"they differ in {comma_list(differing)}" if differing else ""
    seeds = [f"{name}: {cells_line(one)}" for name, one in zip(names, (before, after), strict=True)]
    others = other_fields_line(table)
    none = "" if table["differs"].any() else f"no point has q ≤ {FALSE_DISCOVERIES:g}"
    caption = Caption(
        short=[minus, others, differ, none, *seeds],
        full=["; ".join(filter(None, (minus, others, differ))), *seeds, str(criterion), _dots_line(table, value)],
    )
    grid, (column,) = columns_of(table)
    heading = title or f"{names[1]} - {names[0]}: {value} over {x} and {y}"
    told = column.value
    assert isinstance(told, MapValue)
    return Sheet([Column(told.as_difference(), column.panels)], grid, criterion, width).draw(heading, caption)


def difference_table(
    first: pd.DataFrame,
    second: pd.DataFrame,
    x: str,
    y: str,
    value: str = "excess",
    *,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Return the numbers behind a map of a difference, one row per point and panel.

    Args:
        first: from `score`.
        second: from `score`, with the same criterion.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        value: a name in `VALUES`.
        rng: draws the bootstrap's resamples and random arrangements of seeds; None for a generator seeded with 0.

    Returns:
        The columns of `map_table`, of which `value` is the second sweep minus the first, `low` and `high` its 95%
        interval, `defined` the smaller number of cells, and these:

            p         two-sided: of shares of lost networks mid-p (`analysis.statistics.share_test`), else over all
                      ways to deal out the seeds to both sweeps (`permutation_tests`), NaN for fewer than two seeds
            q         false discovery rate (Benjamini and Hochberg) over the points of all panels at which p can be
                      0.05 or less; NaN at others
            differs   whether q is at most 0.05

    Raises:
        AnalysisError: as `plot_difference`, but for two sweeps without a common point, whose values are NaN.
    """
    before, after, _ = _both(first, second, (x, y), value, rng)
    return _subtract(before, after)


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


def _both(
    first: pd.DataFrame, second: pd.DataFrame, axes: tuple[str, str], value: str, rng: np.random.Generator | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the tables of both maps, with the same points in the same order, and the fields that differ as a whole.

    The second table has `p` and `smallest` of each point, NaN where one sweep has no value.
    """
    shown = check_difference(value)
    criterion = criterion_of(first)
    if criterion != criterion_of(second):
        raise AnalysisError(
            f"both sweeps must be scored with the same criterion, got '{criterion}' and '{criterion_of(second)}'"
        )
    rng = rng or np.random.default_rng(0)
    moved, differing = _aligned(first, second, axes)
    sweeps = (first, _places(moved)), (moved, _places(first))
    before, after = (
        map_table(one, *axes, value, requested=others, surface="counts", rng=rng) for one, others in sweeps
    )
    samples = [map_samples(one, *axes, value, requested=others) for one, others in sweeps]
    if shown.column == "lost":
        shares = [share_test((int(a.sum()), int(b.sum())), (len(a), len(b))) for a, b in zip(*samples, strict=True)]
        p, smallest = np.array(shares).T
    else:
        p, smallest = permutation_tests(samples[0], samples[1], rng, shown.statistic)
    return before, after.assign(p=p, smallest=smallest), differing


def _subtract(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return the table of the difference. Both tables have the same points in the same order."""
    low, high = difference_interval(_estimate(before), _estimate(after))
    defined = np.minimum(before["defined"], after["defined"])
    q = q_values(after["p"].to_numpy(), after["smallest"].to_numpy())
    nothing = dict.fromkeys(("n", "lost", *OTHERS), 0)
    return before.assign(
        **nothing,
        cells=np.where(defined > 0, defined, np.minimum(before["cells"], after["cells"])),
        value=after["value"] - before["value"],
        defined=defined,
        low=low,
        high=high,
        p=after["p"],
        q=q,
        differs=q <= FALSE_DISCOVERIES,
    )


def _dots_line(table: pd.DataFrame, value: str) -> str:
    """Return what dots mean, for the full caption."""
    test = "mid-p of Fisher's exact test" if map_value(value).column == "lost" else "permutation of seeds"
    tested, points = int(table["q"].notna().sum()), int(table["p"].notna().sum())
    return (
        f"dots: false discovery rate q at most {FALSE_DISCOVERIES:g} (Benjamini and Hochberg) over the {tested} of "
        f"{points} points whose seeds can show a difference; p: {test}"
    )


def _estimate(table: pd.DataFrame) -> Estimate:
    return table["value"].to_numpy(), table["low"].to_numpy(), table["high"].to_numpy()
