"""The Laplace approximation of a latent Gaussian process with one random shift per cluster.

Symbols, with their shapes:

    f (M,)       latent surface at the M distinct points, prior N(0, K)
    u (S,)       shifts of the S clusters (seeds), prior N(0, t^2 I)
    k, n (M, S)  successes and trials of each cluster at each point; n = 0 where there are none
    W (M, S)     negative second derivative of each count's log likelihood at z = f + u
    D (M,)       row sums of W; E (S,) its column sums
    C (M, M)     (K^-1 + diag D)^-1, the covariance of f if the shifts were known
    P (S, S)     posterior covariance of u

f is eliminated first and u by its Schur complement, so that one evaluation costs O(M^3 + M S^2), not O((M S)^3).

Source: Rasmussen and Williams, "Gaussian processes for machine learning", algorithms 3.1 and 5.1 (2006), extended here
by the shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from analysis.surface.probit import derivatives, log_likelihood

MAX_STEPS = 100
TOLERANCE = 1e-9
"""Newton's method ends when a step raises the log posterior by less."""


@dataclass(frozen=True)
class Counts:
    """Successes and trials, each (M, S)."""

    successes: np.ndarray
    trials: np.ndarray


@dataclass(frozen=True)
class Mode:
    """The most probable latent values and the curvature there.

    Attributes:
        f, u: (M,), (S,) the mode.
        weights_f, weights_u: the prior's inverse covariance times the mode.
        log_posterior: log likelihood minus half the prior's quadratic form.
        curvature: the factors of the posterior at the mode.
    """

    f: np.ndarray
    u: np.ndarray
    weights_f: np.ndarray
    weights_u: np.ndarray
    log_posterior: float
    curvature: Curvature

    @property
    def log_evidence(self) -> float:
        """The approximate log marginal likelihood."""
        return self.log_posterior - self.curvature.half_log_determinant


class Curvature:
    """Factors of the approximate posterior covariance of (f, u), for given second derivatives W."""

    def __init__(self, K: np.ndarray, spread: float, W: np.ndarray) -> None:
        self.K, self.spread, self.W = K, spread, W
        self.D, self.E = W.sum(axis=1), W.sum(axis=0)
        self.root = np.sqrt(self.D)
        inner = self.root[:, None] * K * self.root
        inner.flat[:: len(inner) + 1] += 1.0
        self.factor = cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
        self.V = W - self.root[:, None] * self.solve(self.root[:, None] * (K @ W))
        self.CW = K @ self.V
        Q = np.diag(self.E) - W.T @ self.CW
        self.cluster = np.eye(len(Q)) + spread**2 * (Q + Q.T) / 2
        self.cluster_factor = cholesky(self.cluster, lower=True, check_finite=False)
        root_P = spread * solve_triangular(self.cluster_factor, np.eye(len(Q)), lower=True).T
        self.root_P = root_P
        self.P = root_P @ root_P.T

    @property
    def half_log_determinant(self) -> float:
        """Half the log determinant of I + prior covariance times curvature."""
        return float(np.log(np.diag(self.factor)).sum() + np.log(np.diag(self.cluster_factor)).sum())

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return (I + D^1/2 K D^1/2)^-1 times `right`."""
        return np.asarray(cho_solve((self.factor, True), right, check_finite=False))

    def covariance_times(self, b_f: np.ndarray, b_u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior covariance of (f, u) times a vector, or the columns of matrices (M, B) and (S, B)."""
        root = self.root if b_f.ndim == 1 else self.root[:, None]
        Cb = self.K @ (b_f - root * self.solve(root * (self.K @ b_f)))
        u = self.P @ (b_u - self.W.T @ Cb)
        return Cb - self.CW @ u, u

    @property
    def inner(self) -> np.ndarray:
        """(K + D^-1)^-1, (M, M)."""
        scaled = solve_triangular(self.factor, np.diag(self.root), lower=True, check_finite=False)
        return np.asarray(scaled.T @ scaled)

    def variances(self, inner: np.ndarray) -> np.ndarray:
        """Return the posterior variance of each z = f + u, (M, S), from `inner`."""
        of_f = np.diag(self.K) - np.einsum("ij,ij->i", self.K @ inner, self.K)
        cross = -self.CW @ self.P
        of_f = of_f - np.einsum("is,is->i", cross, self.CW)
        return np.asarray(of_f[:, None] + np.diag(self.P) + 2 * cross)

    def precision_times(self, f: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the likelihood's part of the posterior precision times a vector, or columns."""
        return (self.D * f.T).T + self.W @ u, self.W.T @ f + (self.E * u.T).T


def _begin(K: np.ndarray, spread: float, counts: Counts, start: Mode | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the first weights: those of `start`, unless zeros are more probable."""
    m, s = counts.trials.shape
    zeros = np.zeros(m), np.zeros(s)
    if start is None:
        return zeros
    given = start.weights_f, start.weights_u
    better = _log_posterior(counts, *_latent(K, spread, given), given) > _log_posterior(counts, *zeros, zeros)
    return given if better else zeros


def _latent(K: np.ndarray, spread: float, weights: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return K @ weights[0], spread**2 * weights[1]


def find_mode(K: np.ndarray, spread: float, counts: Counts, start: Mode | None = None) -> Mode:
    """Return the posterior's mode by Newton's method with step halving.

    Args:
        K: (M, M) prior covariance of f.
        spread: t, prior standard deviation of the shifts; 0 for none.
        counts: the outcomes.
        start: the mode for similar K, to begin from.
    """
    k, n = counts.successes, counts.trials
    a_f, a_u = _begin(K, spread, counts, start)
    f, u = _latent(K, spread, (a_f, a_u))
    value = _log_posterior(counts, f, u, (a_f, a_u))
    for _ in range(MAX_STEPS):
        gradient, W, _ = derivatives(k, n, f[:, None] + u)
        curvature = Curvature(K, spread, W)
        b_f, b_u = curvature.precision_times(f, u)
        b_f, b_u = b_f + gradient.sum(axis=1), b_u + gradient.sum(axis=0)
        new_f, new_u = curvature.covariance_times(b_f, b_u)
        h_f, h_u = curvature.precision_times(new_f, new_u)
        step_f, step_u = b_f - h_f - a_f, b_u - h_u - a_u
        move_f, move_u = new_f - f, new_u - u
        size, gain = 1.0, -1.0
        while gain < 0 and size > 1e-6:
            trial = a_f + size * step_f, a_u + size * step_u
            gain = _log_posterior(counts, f + size * move_f, u + size * move_u, trial) - value
            size /= 2
        if gain < TOLERANCE:
            break
        size *= 2
        a_f, a_u, f, u = a_f + size * step_f, a_u + size * step_u, f + size * move_f, u + size * move_u
        value += gain
    return Mode(f, u, a_f, a_u, value, curvature)


def evidence_gradient(mode: Mode, counts: Counts, derivatives_of_K: np.ndarray) -> np.ndarray:
    """Return the derivatives of the approximate log marginal likelihood.

    Args:
        mode: from `find_mode`.
        counts: the outcomes.
        derivatives_of_K: (parameters, M, M).

    Returns:
        Derivatives by the parameters of K, and last by the log of the shifts' spread; (parameters + 1,).
    """
    at = mode.curvature
    inner = at.inner
    R = inner - at.V @ at.P @ at.V.T
    third = derivatives(counts.successes, counts.trials, mode.f[:, None] + mode.u)[2]
    pull = -0.5 * at.variances(inner) * third  # how the log determinant changes with each latent value
    s_f, s_u = pull.sum(axis=1), pull.sum(axis=0)
    h_f, h_u = at.precision_times(*at.covariance_times(s_f, s_u))
    e_f, e_u = s_f - h_f, s_u - h_u
    moved = derivatives_of_K @ mode.weights_f
    by_K = moved @ (0.5 * mode.weights_f + e_f) - 0.5 * np.einsum("pij,ij->p", derivatives_of_K, R)
    shrunk = cho_solve((at.cluster_factor, True), at.cluster - np.eye(len(at.cluster)))
    by_spread = 2 * at.spread**2 * mode.weights_u @ (0.5 * mode.weights_u + e_u) - np.trace(shrunk)
    return np.append(by_K, by_spread)


def _log_posterior(counts: Counts, f: np.ndarray, u: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> float:
    prior = float(weights[0] @ f + weights[1] @ u)
    return log_likelihood(counts.successes, counts.trials, f[:, None] + u) - 0.5 * prior
