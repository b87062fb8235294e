"""The numbers behind a map: scored cells arranged on the grid of two axes, panel by panel, averaged over seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.load import varying_fields
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, named

MAX_PANELS = 24
MAX_VALUES = 60
"""Distinct values along one axis; random samples, of which each has its own, have no place on a map."""


@dataclass(frozen=True)
class Panel:
    """One panel of a map; all arrays have shape (values of y, values of x).

    Attributes:
        name: the values of the other fields that vary, "delta = 2.8"; empty if there are none.
        values: mean of the score over the cells for which it is defined; NaN where there are none.
        defined: for how many cells it is.
        cells: how many cells have been computed.
        judged: for how many of them it can be said whether plasticity is lost.
        lost: how many of those have lost it.
    """

    name: str
    values: np.ndarray
    defined: np.ndarray
    cells: np.ndarray
    judged: np.ndarray
    lost: np.ndarray


def arrange(
    scored: pd.DataFrame, column: str, x: str, y: str, requested: pd.DataFrame | None = None
) -> tuple[np.ndarray, np.ndarray, list[Panel]]:
    """Arrange scored cells for a map.

    Args:
        scored: from `analysis.scores.score_cells`.
        column: the score.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        requested: cells that have their place on the map whether they are finished or not, with the configuration
            fields and `cell`.

    Returns:
        The sorted values of x and of y, and one panel for each combination of the other fields that vary. A field that
        only follows an axis, as `fresh_steps` does with `steps`, makes no panels.

    Raises:
        AnalysisError: an axis is no configuration field, there are no cells, or there would be too many panels or
            values on an axis.
    """
    _check(scored, x, y)
    scored = scored.assign(computed=1)
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
        raise AnalysisError(
            f"{len(groups)} panels over {named(fields)}: at most {MAX_PANELS} are drawn; "
            "fix a field with --where FIELD=VALUE"
        )
    panels = []
    for key, group in groups:
        points = group.groupby([y, x])
        table = pd.DataFrame(
            {
                "values": points[column].mean(),
                "defined": points[column].count(),
                "cells": points["computed"].sum(),
                "judged": points["lost"].count(),
                "lost": points["lost"].sum(),
            }
        ).reindex(pd.MultiIndex.from_product([ys, xs]))
        values, *counts = (table[name].to_numpy().reshape(len(ys), len(xs)) for name in table.columns)
        defined, cells, judged, lost = (np.nan_to_num(count).astype(int) for count in counts)
        name = named(f"{field} = {part:g}" for field, part in zip(fields, key, strict=True))
        panels.append(Panel(name, values, defined, cells, judged, lost))
    return xs, ys, panels


def _check(scored: pd.DataFrame, x: str, y: str) -> None:
    for axis in (x, y):
        if axis not in FIELDS:
            raise AnalysisError(f"{axis!r} is no configuration field; axes are {named(FIELDS)}")
    if x == y:
        raise AnalysisError(f"x and y are both {x!r}; a map needs two different fields")
    if scored.empty:
        raise AnalysisError("there is no finished cell to draw; run the sweep first")


def _follows(cells: pd.DataFrame, field: str, x: str, y: str) -> bool:
    """Whether `field` has one value for each value of an axis."""
    return any(bool((cells.groupby(axis)[field].nunique() == 1).all()) for axis in (x, y))
