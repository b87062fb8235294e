"""Logistic regression that has an estimate at a sharp edge, for many sets of counts at a time.

    J       rows: distinct points, with k of m successes each
    p       columns of the design, an intercept included
    R       sets of counts, for example bootstrap resamples
    beta    coefficients, log odds per unit of a column
    pi      expit(X beta), the probability of a success

At a sharp edge (all lost above a learning rate, none below) the maximum of the likelihood is at infinity. Firth's
penalty, half the log determinant of the information, gives a finite estimate with less bias.
"""

from __future__ import annotations

import math

import numpy as np

MAX_STEPS = 60
SHARP = 2 * math.log(9)
"""In units of 1 / slope, the distance from P = 0.1 to P = 0.9."""

TOO_SHARP = "the edge is sharper than a step of lr, which limits the interval; add learning rates near it"
_MAX_CHANGE = 3.0
_TOLERANCE = 1e-7
_RIDGE = 1e-9


def firth(design: np.ndarray, successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return the coefficients of a logistic regression with Firth's penalty.

    Newton's method on the modified score X'(k - m pi + h (1/2 - pi)), where h is the diagonal of the hat matrix
    W^(1/2) X (X'WX)^-1 X' W^(1/2) and W = m pi (1 - pi). A column without any trials keeps the coefficient 0.

    Args:
        design: X, (J, p).
        successes: k, (R, J).
        trials: m, (R, J); 0 leaves a row out.

    Returns:
        beta, (R, p). NaN for a set that does not converge.

    Source: Firth, "Bias reduction of maximum likelihood estimates", Biometrika 80 (1993).
    """
    X, k, m = design, successes, trials
    beta = np.zeros((len(k), X.shape[1]))
    change = np.full(len(k), np.inf)
    ridge = _RIDGE * np.eye(X.shape[1])
    for _ in range(MAX_STEPS):
        pi = 1 / (1 + np.exp(-np.clip(beta @ X.T, -500, 500)))
        W = m * pi * (1 - pi)
        inverse = np.linalg.inv(np.einsum("rj,jp,jq->rpq", W, X, X, optimize=True) + ridge)
        hat = W * np.einsum("jp,rpq,jq->rj", X, inverse, X, optimize=True)
        score = (k - m * pi + hat * (0.5 - pi)) @ X
        step = np.einsum("rpq,rq->rp", inverse, score)
        size = np.abs(step).max(axis=1)
        step *= np.minimum(1, _MAX_CHANGE / np.maximum(size, 1e-300))[:, None]
        beta = beta + step
        change = size
        if change.max() < _TOLERANCE:
            break
    return np.where(change[:, None] < 1e-3, beta, np.nan)


def is_sharp(slope: float, points: np.ndarray, shares: np.ndarray) -> bool:
    """Return whether an edge lies between two neighbouring points of an axis, so that no seed says where.

    A bootstrap over seeds then has an interval of no width, however coarse the axis is.

    Args:
        slope: of the logistic regression, per unit of the axis.
        points: (n,) increasing values of the axis, n at least 2.
        shares: of successes at all points; NaN where there are no trials.
    """
    known = shares[np.isfinite(shares)]
    step = float(np.median(np.diff(points)))
    return bool(abs(slope) * step > SHARP or np.isin(known, (0.0, 1.0)).all())


def separated(design: np.ndarray, successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return which coefficients have no finite maximum-likelihood estimate.

    Counts are separated if some direction b of the coefficients has x'b >= 0 wherever all trials succeed, <= 0 wherever
    none does and 0 elsewhere, and is not 0 everywhere. Along it the likelihood grows for ever.

    Args:
        design: X, (J, p), of full column rank.
        successes: k, (J,).
        trials: m, (J,), at least 1.

    Returns:
        (p,) booleans, True where b is not 0.

    Source: Konis, "Linear programming algorithms for detecting separated data in binary logistic regression models",
    thesis, Oxford (2007).
    """
    from scipy.optimize import linprog

    sure, never = successes == trials, successes == 0
    signed = np.concatenate([design[sure], -design[never]])
    mixed = design[~(sure | never)]
    if not len(signed):
        return np.zeros(design.shape[1], bool)
    found = linprog(
        -signed.sum(axis=0),
        A_ub=-signed,
        b_ub=np.zeros(len(signed)),
        A_eq=mixed if len(mixed) else None,
        b_eq=np.zeros(len(mixed)) if len(mixed) else None,
        bounds=(-1, 1),
    )
    if found.status != 0 or -found.fun < 1e-7:
        return np.zeros(design.shape[1], bool)
    return np.abs(found.x) > 1e-7
