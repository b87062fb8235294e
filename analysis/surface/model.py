"""A surface of rates over the axes of a sweep, fitted to counts: Gaussian-process classification.

    P(success of cluster s at x) = Phi(f(x) + u_s),    f ~ GP(0, kernel),    u_s ~ N(0, spread^2)
    rate(x) = mean over clusters = Phi(f(x) / sqrt(1 + spread^2))

A seed has the same tasks at every point, so its outcomes share the shift u_s. One shift per seed keeps the cost that of
the distinct points, and moves the whole boundary to first order, as an easy or a hard sequence of tasks does.

Symbols: M distinct points, B draws, G points to evaluate at, d axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtr, ndtri

from analysis.surface.hyperparameters import Problem
from analysis.surface.kernel import Kernel
from analysis.surface.outcomes import Outcomes, gather
from analysis.surface.sampling import DEFAULT, LARGE, MANY_CELLS, Schedule, sample
from analysis.surface.scaling import Scaling, scaling_of
from analysis.surface.tuning import Tuned, tune
from lop_sweep.errors import AnalysisError

_JITTER = 1e-6
_MAX_SCORE = 8.0
_STRATA = ndtri((np.arange(4) + 0.5) / 4)
"""Normal deviates that stand for the latent between the data, given a draw at the data."""


@dataclass(frozen=True)
class Prediction:
    """The latent posterior at G points: a normal distribution for each draw.

    Attributes:
        means: (B, G) mean given each draw.
        variance: (G,) variance given a draw.
        known: (M, G) the covariance given a draw is the prior's minus `known.T @ known`.
    """

    means: np.ndarray
    variance: np.ndarray
    known: np.ndarray

    def score(self, threshold: float = 0.0) -> np.ndarray:
        """Return the normal deviate of P(latent above the threshold), (G,), at most 8 in size."""
        distance = (self.means - threshold) / np.sqrt(self.variance)
        above, below = ndtr(distance).mean(axis=0), ndtr(-distance).mean(axis=0)
        tail = np.maximum(np.minimum(above, below), ndtr(-_MAX_SCORE))
        return np.asarray(np.where(above < below, 1, -1) * ndtri(tail))

    def quantiles(self, probabilities: Sequence[float]) -> np.ndarray:
        """Return quantiles of the latent, (probabilities, G)."""
        values = self.means[:, None] + np.sqrt(self.variance) * _STRATA[:, None]
        return np.asarray(np.quantile(values.reshape(-1, values.shape[-1]), probabilities, axis=0))


@dataclass(frozen=True)
class Surface:
    """A fitted surface. `fit_surface` makes it.

    Attributes:
        outcomes: what it was fitted to.
        scaling: the axes.
        kernel: amplitude and lengths.
        spread: standard deviation of the clusters' shifts, in probits; 0 without clusters.
        tuned: what was chosen by the evidence, to fit other outcomes with the same.
        shifts: (B, S) draws of the clusters' shifts.
        root: (M, M) lower Cholesky factor of the prior covariance at the points.
        whitened: (M, B) draws of the latent at the points: `root @ whitened`.
    """

    outcomes: Outcomes
    scaling: Scaling
    kernel: Kernel
    spread: float
    tuned: Tuned
    shifts: np.ndarray
    root: np.ndarray
    whitened: np.ndarray

    @property
    def correlation(self) -> float:
        """Correlation between the trials of a cell, beyond their point and cluster; 0 for single trials."""
        return self.tuned.correlation

    def threshold(self, level: float) -> float:
        """Return the latent value at which the rate has this level.

        Raises:
            AnalysisError: the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise AnalysisError(f"`level` must be between 0 and 1, got {level}")
        return float(ndtri(level) * np.hypot(1, self.spread))

    def predict(self, points: npt.ArrayLike) -> Prediction:
        """Return the latent posterior at points, (G, d)."""
        at = self.scaling.coordinates(points)
        own = self.scaling.coordinates(self.outcomes.points)
        cross = self.kernel(self.scaling.squares(own, at))
        known = solve_triangular(self.root, cross, lower=True, check_finite=False)
        variance = np.maximum(self.kernel.variance - (known**2).sum(axis=0), _JITTER * self.kernel.variance)
        return Prediction(self.whitened.T @ known, variance, known)

    def draw(self, points: npt.ArrayLike, rng: np.random.Generator) -> np.ndarray:
        """Return draws of the latent at points, (G, d), as (B, G), each from the joint posterior."""
        prediction = self.predict(points)
        at = self.scaling.coordinates(points)
        rest = self.kernel(self.scaling.squares(at, at)) - prediction.known.T @ prediction.known
        root = cholesky(rest + _JITTER * self.kernel.variance * np.eye(len(rest)), lower=True, check_finite=False)
        return np.asarray(prediction.means + rng.standard_normal(prediction.means.shape) @ root.T)

    def latent(self, points: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean, (G,), and covariance, (G, G), of the latent at points, (G, d), in probits.

        The variances are the covariance's diagonal. The distribution is skewed where all outcomes agree.
        """
        prediction = self.predict(points)
        at = self.scaling.coordinates(points)
        prior = self.kernel(self.scaling.squares(at, at))
        between = np.cov(prediction.means.T).reshape(prior.shape)
        return prediction.means.mean(axis=0), prior - prediction.known.T @ prediction.known + between

    def rate(self, points: npt.ArrayLike, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rate at points, (G, d), and its interval.

        Args:
            points: in the units of the axes.
            confidence: of each point's own interval; `boundary_band` has one that holds along the boundary.

        Returns:
            Posterior median, lower and upper end, (G,) each.

        Raises:
            AnalysisError: points that are not finite or off a logarithmic axis; a confidence not between 0 and 1.
        """
        return rates(self.predict(points), self.spread, confidence)


def rates(prediction: Prediction, spread: float, confidence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the median and interval of the rates that belong to a latent posterior, (G,) each."""
    if not 0 < confidence < 1:
        raise AnalysisError(f"`confidence` must be between 0 and 1, got {confidence}")
    latent = prediction.quantiles([0.5, (1 - confidence) / 2, (1 + confidence) / 2])
    middle, low, high = ndtr(latent / np.hypot(1, spread))
    return middle, low, high


def fit_surface(
    points: npt.ArrayLike,
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    scales: Sequence[str] | None = None,
    rng: np.random.Generator | None = None,
) -> Surface:
    """Fit a surface of rates to counts at points.

        surface = fit_surface(cells[["lr", "depth"]], cells["lost"], np.ones(len(cells)),
                              clusters=cells["seed"], scales=("log", "linear"))
        rate, low, high = surface.rate([[0.4, 8], [0.5, 8]])

    Args:
        points: (N, d), one row per point or per cell, d from 1 to 4. Categories are given as numbers.
        successes: (N,) number of successes, such as 1 for a lost cell, or the failed tasks of a cell.
        trials: (N,) number of trials; rows with 0 are left out.
        clusters: (N,) the cluster of each row, such as its seed; None if all trials are independent.
        scales: "linear", "log" or "category" for each axis; None for linear axes.
        rng: draws from the posterior; None for a generator seeded with 0.

    Raises:
        AnalysisError: arrays that do not fit together, NaN, counts out of range, no trial at all, or a single point.
    """
    outcomes = gather(points, successes, trials, clusters)
    return fit_outcomes(outcomes, scaling_of(points, scales), rng=np.random.default_rng(0) if rng is None else rng)


def fit_outcomes(
    outcomes: Outcomes,
    scaling: Scaling,
    *,
    rng: np.random.Generator,
    tuned: Tuned | None = None,
    schedule: Schedule = DEFAULT,
) -> Surface:
    """Fit a surface to outcomes that have been gathered.

    Args:
        outcomes: counts per point and cluster; a cluster may have no trials.
        scaling: the axes.
        rng: draws from the posterior.
        tuned: hyperparameters of an earlier fit; None to choose them by the evidence.
        schedule: how long to sample; `LARGE` takes its place if there are many cells.
    """
    x = scaling.coordinates(outcomes.points)
    squares = scaling.squares(x, x)
    if tuned is None:
        tuned = tune(squares, outcomes.counts, outcomes.clustered, rng)
    else:
        tuned = tuned.with_counts(outcomes.counts)
    problem, parameters = Problem(squares, tuned.weighted, outcomes.clustered), tuned.parameters
    mode = problem.mode(parameters)
    K = mode.curvature.K
    root = cholesky(K + _JITTER * K[0, 0] * np.eye(len(K)), lower=True, check_finite=False)
    large = (outcomes.counts.trials > 0).sum() > MANY_CELLS
    f, u = sample(mode, tuned.weighted, root, rng, LARGE if large else schedule)
    whitened = solve_triangular(root, f.T, lower=True, check_finite=False)
    return Surface(outcomes, scaling, problem.kernel(parameters), problem.spread(parameters), tuned, u, root, whitened)
