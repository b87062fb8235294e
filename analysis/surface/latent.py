"""The latent surface as a normal distribution, for choosing what to compute next.

`Surface` draws from the exact posterior, which takes a second. This is the Laplace approximation alone: means and
covariances in closed form, in milliseconds. Symbols as in `laplace.py`; A and B are numbers of cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from analysis.surface.hyperparameters import Problem
from analysis.surface.kernel import Kernel
from analysis.surface.laplace import Counts, Mode
from analysis.surface.scaling import Scaling
from analysis.surface.tuning import Tuned, tune

NO_SHIFT = -1
"""In place of a cluster's number: the surface itself."""


@dataclass(frozen=True)
class Latent:
    """The normal approximation of f and u. `fit_latent` makes it.

    Attributes:
        scaling: the axes.
        points: (M, d) coordinates of the distinct points with trials.
        kernel: amplitude and lengths.
        spread: standard deviation of the shifts, in probits.
        mode: the approximation's mean and curvature.
        tuned: what was chosen by the evidence, to begin the next fit from.
    """

    scaling: Scaling
    points: np.ndarray
    kernel: Kernel
    spread: float
    mode: Mode
    tuned: Tuned

    def threshold(self, level: float) -> float:
        """Return the latent value at which the mean rate over clusters has this level, which is between 0 and 1."""
        return float(ndtri(level) * np.hypot(1, self.spread))

    def mean(self, at: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """Return the mean of f + u at coordinates, (A, d), for the numbers of clusters or `NO_SHIFT`, (A,)."""
        shifts = np.append(self.mode.u, 0.0)
        return np.asarray(self._cross(at).T @ self.mode.weights_f + shifts[clusters])

    def variance(self, at: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """Return the variances of f + u, (A,); arguments as for `mean`."""
        cross = self._cross(at)
        own = np.append(np.diag(self.mode.curvature.P), 0.0)[clusters]
        between = np.take_along_axis(self._with_shifts(cross), clusters[:, None], axis=1)[:, 0]
        of_f = self.kernel.variance - np.einsum("ma,mn,na->a", cross, self._inner, cross, optimize=True)
        return np.asarray(np.maximum(of_f + own + 2 * between, 1e-9))

    def covariance(
        self, at: np.ndarray, clusters: np.ndarray, other: np.ndarray, other_clusters: np.ndarray
    ) -> np.ndarray:
        """Return the covariances of f + u between cells, (A, B); arguments as for `mean`, twice."""
        first, second = self._cross(at), self._cross(other)
        prior = self.kernel(self.scaling.squares(at, other))
        P = np.pad(self.mode.curvature.P, (0, 1))
        of_f = prior - first.T @ (self._inner @ second)
        shifts = P[np.ix_(clusters, other_clusters)]
        mixed = self._with_shifts(first)[:, other_clusters] + self._with_shifts(second)[:, clusters].T
        return np.asarray(of_f + shifts + mixed)

    @cached_property
    def _inner(self) -> np.ndarray:
        """(M, M), the posterior covariance of f at other points is the prior's minus cross' times this times cross."""
        at = self.mode.curvature
        return np.asarray(at.inner - at.V @ at.P @ at.V.T)

    @cached_property
    def _pull(self) -> np.ndarray:
        """(M, S + 1), minus the covariance of f with u is cross' times this; the last column stands for no shift."""
        at = self.mode.curvature
        return np.pad(at.V @ at.P, ((0, 0), (0, 1)))

    def _cross(self, at: np.ndarray) -> np.ndarray:
        return self.kernel(self.scaling.squares(self.points, at))

    def _with_shifts(self, cross: np.ndarray) -> np.ndarray:
        return np.asarray(-cross.T @ self._pull)


def fit_latent(
    scaling: Scaling,
    points: np.ndarray,
    clusters: np.ndarray,
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    count: int,
    start: Latent | None = None,
    *,
    retune: bool = True,
) -> Latent:
    """Fit a latent surface to the outcomes of cells.

    Args:
        scaling: the axes.
        points: (N, d) coordinates in the unit cube, one row per cell.
        clusters: (N,) number of each cell's cluster, from 0.
        successes: (N,) such as 1 for a lost cell.
        trials: (N,) at least 1 each.
        count: number of clusters, with those that have no cell yet.
        start: an earlier fit.
        retune: whether to choose the hyperparameters again, in place of taking those of `start`.
    """
    distinct, rows = np.unique(points, axis=0, return_inverse=True)
    counts = Counts(*(_table(rows.ravel(), clusters, values, (len(distinct), count)) for values in (successes, trials)))
    squares = scaling.squares(distinct, distinct)
    if start is None or retune:
        tuned = tune(squares, counts, clustered=count > 1, rng=np.random.default_rng(len(distinct)))
    else:
        tuned = start.tuned.with_counts(counts)
    problem = Problem(squares, tuned.weighted, count > 1)
    mode = problem.mode(tuned.parameters)
    return Latent(scaling, distinct, problem.kernel(tuned.parameters), problem.spread(tuned.parameters), mode, tuned)


def _table(
    rows: np.ndarray, columns: np.ndarray, values: npt.ArrayLike | Sequence[float], shape: tuple[int, int]
) -> np.ndarray:
    table = np.zeros(shape)
    np.add.at(table, (rows, columns), np.asarray(values, float))
    return table
