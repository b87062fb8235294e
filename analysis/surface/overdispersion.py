"""Trials of one cell that agree more than those of different cells, such as the late tasks of one training run.

A cell is all trials of one cluster at one point. With a correlation r between the trials of a cell, a count k of n
has the variance n p (1 - p) (1 + (n - 1) r). Dividing k and n by this design effect gives the count its weight.

Source: Williams, "Extra-binomial variation in logistic linear models", Applied Statistics 31 (1982).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from analysis.surface.laplace import Counts, Mode

ROUNDS = 3
"""The fit and the correlation are computed in turn; the correlation then changes by less than its own error."""


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
    effect = 1 + np.maximum(counts.trials - 1, 0) * within
    return Counts(counts.successes / effect, counts.trials / effect)
