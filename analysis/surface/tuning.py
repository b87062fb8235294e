"""What a surface takes from its outcomes before it is fitted: hyperparameters, and the weight of repeated trials.

Trials of one cell, such as the late tasks of one training run, agree more than those of different cells. A cell is all
trials of one cluster at one point. With a correlation r between the trials of a cell, a count k of n has the variance
n p (1 - p) (1 + (n - 1) r). Dividing k and n by this design effect gives the count its weight.

Source: Williams, "Extra-binomial variation in logistic linear models", Applied Statistics 31 (1982).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from analysis.surface.hyperparameters import Problem, maximise
from analysis.surface.laplace import Counts, Mode

ROUNDS = 3
"""The fit and the correlation are computed in turn; the correlation then changes by less than its own error."""

MAX_POINTS_TUNING = 200
"""Amplitude, lengths and spread are chosen from a random subset of the points if there are more."""


@dataclass(frozen=True)
class Tuned:
    """Choices by the evidence.

    Attributes:
        parameters: as in `hyperparameters.py`.
        correlation: between the trials of a cell, beyond their point and cluster; 0 for single trials.
        weighted: the counts, divided by their design effect.
    """

    parameters: np.ndarray
    correlation: float
    weighted: Counts

    def weigh(self, successes: float, trials: float) -> tuple[float, float]:
        """Return a cell's count divided by its design effect."""
        effect = float(_effect(trials, self.correlation))
        return successes / effect, trials / effect

    def with_counts(self, counts: Counts) -> Tuned:
        """Return the same choices for other counts."""
        return replace(self, weighted=divide(counts, self.correlation) if self.correlation else counts)


def tune(squares: np.ndarray, counts: Counts, clustered: bool, rng: np.random.Generator) -> Tuned:
    """Choose the hyperparameters, and with several trials per cell their correlation, in turn.

    Args:
        squares: (d, M, M) squared differences of coordinates.
        counts: the outcomes.
        clustered: whether clusters have shifts.
        rng: draws the subset of points where there are many.
    """
    several = clustered and bool((counts.trials > 1).any())
    few = _subset(len(counts.trials), rng)
    weighted, within = counts, 0.0
    for _ in range(ROUNDS if several else 1):
        part = Problem(squares[:, few[:, None], few], _rows(weighted, few), clustered)
        parameters = maximise(part)
        if several:
            within = correlation(_rows(counts, few), part.mode(parameters), part.counts)
            weighted = divide(counts, within)
    return Tuned(parameters, within, weighted)


def _subset(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of the points that the parameters are chosen from."""
    if count <= MAX_POINTS_TUNING:
        return np.arange(count)
    return np.sort(rng.choice(count, MAX_POINTS_TUNING, replace=False))


def _rows(counts: Counts, rows: np.ndarray) -> Counts:
    return Counts(counts.successes[rows], counts.trials[rows])


def correlation(counts: Counts, mode: Mode, weighted: Counts) -> float:
    """Return the correlation within cells, by the moments of the fit's residuals, from 0 to 1.

    Args:
        counts: the outcomes, as counted.
        mode: a fit to `weighted`.
        weighted: the same counts divided by an earlier design effect.
    """
    k, n = counts.successes, counts.trials
    p = ndtr(mode.f[:, None] + mode.u)
    binomial = p * (1 - p)
    at = mode.curvature
    fitted = float((at.variances(at.inner) * at.W).sum())
    cells = int((weighted.trials > 0).sum())
    freedom = max(cells - fitted, 0.1 * cells) / cells
    excess = float(((k - n * p) ** 2).sum()) / freedom - float((n * binomial).sum())
    pairs = float((n * np.maximum(n - 1, 0) * binomial).sum())
    return float(np.clip(excess / pairs, 0.0, 1.0)) if pairs > 0 else 0.0


def divide(counts: Counts, within: float) -> Counts:
    """Return counts divided by the design effect of a correlation within cells."""
    effect = _effect(counts.trials, within)
    return Counts(counts.successes / effect, counts.trials / effect)


def _effect(trials: np.ndarray | float, within: float) -> np.ndarray:
    """Return the design effect of so many trials per cell."""
    return np.asarray(1 + np.maximum(np.asarray(trials) - 1, 0) * within)
