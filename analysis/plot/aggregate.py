"""The numbers behind a map: scored cells arranged on the grid of two axes, panel by panel, summarised over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data import varying_fields
from analysis.plot.variables import CategoryValue, MapValue
from analysis.scoring import bootstrap, wilson
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list

MAX_PANELS = 24
MAX_VALUES = 60
"""Distinct values along one axis; random samples, of which each has its own, have no place on a map."""


@dataclass(frozen=True)
class Panel:
    """One panel of a map; all arrays have shape (values of y, values of x).

    Attributes:
        key: the other fields that vary, and their values here.
        cells: how many cells have been computed.
        decidable: for how many of them it can be said whether plasticity is lost.
        lost: how many of those have lost it.
        values: the score's mean or median over the cells for which it is defined; NaN where there are none.
        defined: for how many cells it is.
        low, high: 95% interval of `values`: Wilson's of a share, else bootstrapped; NaN for a single cell.
        names: the most common name of a category; "" where no cell has been computed.
        named: how many cells have it, of `defined`, which leaves out those in the background.
        lead: median lead of the cells of that name, tasks; NaN where there is none.
        marked: points that are sure to differ from 0, of a difference.
    """

    key: Mapping[str, float]
    cells: np.ndarray
    decidable: np.ndarray
    lost: np.ndarray
    values: np.ndarray
    defined: np.ndarray
    low: np.ndarray
    high: np.ndarray
    names: np.ndarray
    matching: np.ndarray
    lead: np.ndarray
    marked: np.ndarray | None = None

    @property
    def title(self) -> str:
        """The values of the other fields, "delta = 2.8"; empty if there are none."""
        return comma_list(f"{field} = {part:g}" for field, part in self.key.items())

    @property
    def share(self) -> np.ndarray:
        """Share of the judged cells that have lost plasticity; NaN where there are none."""
        with np.errstate(invalid="ignore"):
            return self.lost / np.where(self.decidable > 0, self.decidable, np.nan)


def arrange(
    scored: pd.DataFrame,
    value: MapValue | CategoryValue,
    x: str,
    y: str,
    requested: pd.DataFrame | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, list[Panel]]:
    """Arrange scored cells for a map.

    Args:
        scored: from `analysis.scoring.table.score_sweep`.
        value: what is shown.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        requested: cells that have their place on the map whether they are finished or not, with the configuration
            fields and `cell`.
        rng: draws the bootstrap's resamples; None for a generator seeded with 0.

    Returns:
        The sorted values of x and of y, and one panel for each combination of the other fields that vary. A field that
        only follows an axis, as `fresh_steps` does with `steps`, makes no panels.

    Raises:
        AnalysisError: an axis is no configuration field, there are no cells, or there would be too many panels or
            values on an axis.
    """
    check_axes(x, y)
    if scored.empty:
        raise AnalysisError("there is no finished cell to draw; run the sweep first")
    rng = rng or np.random.default_rng(0)
    scored = scored.assign(computed=1, score=value.of_cells(scored) if isinstance(value, MapValue) else np.nan)
    if requested is not None:
        unfinished = requested[~requested["cell"].isin(scored["cell"])]
        if not unfinished.empty:
            scored = pd.concat([scored, unfinished.assign(computed=0)])
    xs, ys = np.unique(scored[x].astype(float)), np.unique(scored[y].astype(float))
    for axis, values in ((x, xs), (y, ys)):
        if len(values) > MAX_VALUES:
            raise AnalysisError(
                f"{axis} has {len(values)} values: a map shows at most {MAX_VALUES} on an axis; "
                "take another axis, or --where, or plot the table that `lop-analysis scores` writes"
            )
    fields = [field for field in varying_fields(scored) if field not in (x, y) and not _follows(scored, field, x, y)]
    groups = list(scored.groupby(fields)) if fields else [((), scored)]
    if len(groups) > MAX_PANELS:
        constant = [f"{axis} has one value" for axis, values in ((x, xs), (y, ys)) if len(values) == 1]
        raise AnalysisError(
            f"{len(groups)} panels over {comma_list(fields)}: at most {MAX_PANELS} are drawn; "
            + (f"{comma_list(constant)}, take another axis, or " if constant else "")
            + "fix a field with --where FIELD=VALUE"
        )
    panels = []
    for key, group in groups:
        point = np.searchsorted(ys, group[y].to_numpy(float)) * len(xs) + np.searchsorted(xs, group[x].to_numpy(float))
        arrays = _arrays(group, point, (len(ys), len(xs)), value, rng)
        panels.append(Panel(dict(zip(fields, np.asarray(key, float).tolist(), strict=True)), **arrays))
    return xs, ys, panels


def _arrays(
    group: pd.DataFrame,
    point: np.ndarray,
    shape: tuple[int, int],
    value: MapValue | CategoryValue,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """A panel's arrays; `point` is the flat index of each cell's point."""
    counts = _count(group, point, shape)
    if isinstance(value, MapValue):
        return counts | _summarise(group, point, shape, value, counts, rng)
    return counts | _most_common(group, point, shape, value)


def _count(group: pd.DataFrame, point: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    size = shape[0] * shape[1]
    lost = group["lost"].to_numpy(float)
    weights = {"cells": group["computed"].to_numpy(float), "decidable": ~np.isnan(lost), "lost": lost == 1}
    return {
        name: np.bincount(point, weight, minlength=size).astype(int).reshape(shape) for name, weight in weights.items()
    }


def _summarise(
    group: pd.DataFrame,
    point: np.ndarray,
    shape: tuple[int, int],
    value: MapValue,
    counts: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The numbers of a score: statistic and interval of each point."""
    scores = group["score"].to_numpy(float)
    known = ~np.isnan(scores)
    order = np.argsort(point[known], kind="stable")
    defined = np.bincount(point[known], minlength=shape[0] * shape[1])
    samples = np.split(scores[known][order], np.cumsum(defined)[:-1])
    values, low, high = np.full((3, len(samples)), np.nan)
    for size in np.unique(defined[defined > 0]):
        some = np.flatnonzero(defined == size)
        stacked = np.stack([samples[index] for index in some])
        values[some] = (np.mean if value.statistic == "mean" else np.median)(stacked, axis=1)
        low[some], high[some] = bootstrap(stacked, rng, value.statistic)
    if value.column == "lost":
        low, high = wilson(counts["lost"].ravel(), counts["decidable"].ravel())
    arrays = {"values": values, "defined": defined, "low": low, "high": high}
    nothing = {"names": np.full(shape, ""), "matching": np.zeros(shape, int), "lead": np.full(shape, np.nan)}
    return {name: array.reshape(shape) for name, array in arrays.items()} | nothing


def _most_common(
    group: pd.DataFrame, point: np.ndarray, shape: tuple[int, int], value: CategoryValue
) -> dict[str, np.ndarray]:
    """The numbers of a category: of the names that count, the most common one, in doubt the first of the legend."""
    size = shape[0] * shape[1]
    computed = group["computed"].to_numpy() == 1
    names = group[value.column].to_numpy()
    order = [*(name for name in value.colours if name != value.background), value.background]
    counts = np.stack([np.bincount(point[computed & (names == name)], minlength=size) for name in order])
    foreground = counts[:-1].sum(axis=0)
    best = np.where(foreground > 0, counts[:-1].argmax(axis=0), len(order) - 1)
    number = np.take_along_axis(counts, best[None], axis=0)[0]
    chosen = np.where(number > 0, np.array(order)[best], "")
    lead = np.full(size, np.nan)
    if value.lead:
        for index in np.flatnonzero(number):
            leads = group["lead"].to_numpy(float)[(point == index) & (names == chosen[index])]
            lead[index] = np.median(leads) if len(leads) and not np.isnan(leads).any() else np.nan
    nothing = np.full(shape, np.nan)
    defined = np.where(foreground > 0, foreground, counts[-1])
    arrays = {"names": chosen, "matching": number, "defined": defined, "lead": lead}
    return {name: array.reshape(shape) for name, array in arrays.items()} | dict.fromkeys(
        ("values", "low", "high"), nothing
    )


def check_axes(x: str, y: str) -> None:
    """Refuse what cannot be the axes of a map, before anything is read.

    Raises:
        AnalysisError: one is no configuration field, or both are the same.
    """
    for axis in (x, y):
        if axis not in FIELDS:
            raise AnalysisError(f"{axis!r} is no configuration field; axes are {comma_list(FIELDS)}")
    if x == y:
        raise AnalysisError(f"x and y are both {x!r}; a map needs two different fields")


def _follows(cells: pd.DataFrame, field: str, x: str, y: str) -> bool:
    """Whether `field` has one value for each value of an axis."""
    return any(bool((cells.groupby(axis)[field].nunique() == 1).all()) for axis in (x, y))
