"""Outcomes as counts per distinct point and cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.surface.laplace import Counts
from lop_sweep.errors import AnalysisError


@dataclass(frozen=True)
class Outcomes:
    """Counts of M distinct points and S clusters.

    Attributes:
        points: (M, d) the points that have trials.
        counts: (M, S) each; one column if there are no clusters.
        clustered: whether trials of a column share more than the point.
    """

    points: np.ndarray
    counts: Counts
    clustered: bool


def gather(
    points: npt.ArrayLike, successes: npt.ArrayLike, trials: npt.ArrayLike, clusters: npt.ArrayLike | None = None
) -> Outcomes:
    """Add up the rows of each point and cluster. The order of rows does not matter.

    Args:
        points: (N, d), one row per point or per cell; duplicates are added up.
        successes: (N,) k.
        trials: (N,) n; rows with 0 trials are left out.
        clusters: (N,) each row's cluster, such as its seed; None if all trials are independent.

    Raises:
        AnalysisError: shapes that differ, counts that are not whole or out of range, no trial, or a single point.
    """
    x = np.asarray(points, float)
    k, n = _column("successes", successes, len(x)), _column("trials", trials, len(x))
    if not ((k >= 0) & (k <= n)).all():
        raise AnalysisError("`successes` must lie between 0 and `trials`")
    labels = np.zeros(len(x)) if clusters is None else np.asarray(clusters)
    if labels.shape != (len(x),):
        raise AnalysisError(f"`clusters` must have shape ({len(x)},), one entry per point, got {labels.shape}")
    used = n > 0
    if not used.any():
        raise AnalysisError("`trials` must be positive somewhere, got 0 at all points: there is nothing to fit")
    distinct, rows = np.unique(x[used], axis=0, return_inverse=True)
    if len(distinct) < 2:
        raise AnalysisError("`points` must hold at least two different points with trials, got 1")
    names, columns = np.unique(labels[used], return_inverse=True)
    return Outcomes(distinct, add_up(rows.ravel(), columns, k[used], n[used], len(names)), clustered=len(names) > 1)


def add_up(rows: np.ndarray, columns: np.ndarray, successes: np.ndarray, trials: np.ndarray, clusters: int) -> Counts:
    """Return the counts per point and cluster, (M, clusters), of N cells.

    Args:
        rows: (N,) number of each cell's point, each of 0 to M - 1 at least once.
        columns: (N,) number of its cluster.
        successes: (N,).
        trials: (N,).
        clusters: their number, with those that have no cell.
    """
    tables = np.zeros((2, rows.max() + 1, clusters))
    for table, values in zip(tables, (successes, trials), strict=True):
        np.add.at(table, (rows, columns), values)
    return Counts(*tables)


def _column(name: str, values: npt.ArrayLike, count: int) -> np.ndarray:
    column = np.asarray(values, float)
    if column.shape != (count,):
        raise AnalysisError(f"`{name}` must have shape ({count},), one entry per point, got {column.shape}")
    if not np.isfinite(column).all() or (column != np.floor(column)).any():
        raise AnalysisError(f"`{name}` must be whole numbers, got others or NaN; leave out what is undecided")
    return column
