"""The Laplace approximation and the exact sampler against integrals, an optimiser and finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr

from analysis.surface.hyperparameters import Problem
from analysis.surface.laplace import Counts, find_mode
from analysis.surface.low_rank import low_rank_factor
from analysis.surface.probit import derivatives, log_likelihood
from analysis.surface.sampling import Schedule, sample

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def integrals(K: np.ndarray, spread: float, counts: Counts) -> tuple[float, np.ndarray]:
    """The log evidence and the posterior mean of f for 1 or 2 points and 1 cluster, by Gauss-Hermite quadrature."""
    root = np.linalg.cholesky(K)
    grid = np.array(list(itertools.product(NODES, repeat=len(K))))
    weight = np.prod(list(itertools.product(WEIGHTS, repeat=len(K))), axis=1)
    f = grid @ root.T
    total, mean = 0.0, np.zeros(len(K))
    for node, share in zip(NODES, WEIGHTS, strict=True) if spread else [(0.0, 1.0)]:
        z = f + spread * node
        k, n = counts.successes[:, 0], counts.trials[:, 0]
        likelihood = np.exp(log_ndtr(z) @ k + log_ndtr(-z) @ (n - k)) * weight * share
        total += likelihood.sum()
        mean += likelihood @ f
    return float(np.log(total)), mean / total


def problem(seed: int, points: int = 9, clusters: int = 4) -> Problem:
    rng = np.random.default_rng(seed)
    x = rng.random((points, 2))
    trials = rng.integers(0, 4, (points, clusters)).astype(float)
    successes = np.floor(trials * rng.random((points, clusters)) + 0.5)
    squares = ((x[:, None] - x[None]) ** 2).transpose(2, 0, 1)
    return Problem(squares, Counts(successes, trials), clustered=True)


PARAMETERS = np.log([1.4, 0.4, 0.8, 0.6])


@pytest.mark.parametrize(
    ("K", "spread"), [([[1.5]], 0.0), ([[1.5]], 0.7), ([[1.5, 0.6], [0.6, 1.2]], 0.0), ([[1.5, 0.6], [0.6, 1.2]], 0.7)]
)
def test_evidence_and_mean_are_those_of_quadrature(K: list[list[float]], spread: float) -> None:
    """Laplace's evidence is approximate, within 0.05; the sampler is exact within its noise."""
    prior = np.array(K)
    counts = Counts(np.array([[3.0], [1.0]])[: len(K)], np.array([[4.0], [5.0]])[: len(K)])
    mode = find_mode(prior, spread, counts)
    evidence, mean = integrals(prior, spread, counts)
    assert mode.log_evidence == pytest.approx(evidence, abs=0.05)
    f, _ = sample(mode, counts, np.linalg.cholesky(prior), np.random.default_rng(1), Schedule(chains=2000))
    np.testing.assert_allclose(f.mean(axis=0), mean, atol=0.05)


def test_sampler_corrects_the_approximation_where_all_agree() -> None:
    prior, counts = np.array([[25.0]]), Counts(np.array([[8.0]]), np.array([[8.0]]))
    mode = find_mode(prior, 0.0, counts)
    f, _ = sample(mode, counts, np.array([[5.0]]), np.random.default_rng(2), Schedule(chains=4000))
    values = np.linspace(-30, 40, 70001)
    density = np.exp(8 * log_ndtr(values) - values**2 / 50)
    exact = density[values < 0.5].sum() / density.sum()
    approximate = ndtr((0.5 - mode.f[0]) * np.sqrt(1 / 25 + mode.curvature.D[0]))
    assert (f < 0.5).mean() == pytest.approx(exact, abs=0.006)  # 4 standard errors of independent draws
    assert approximate > 5 * exact


def test_gradient_is_the_finite_difference() -> None:
    made = problem(0)
    gradient = made.log_density(PARAMETERS)[1]
    step = 1e-5
    for index, direction in enumerate(np.eye(4) * step):
        up, down = (made.log_density(PARAMETERS + sign * direction)[0] for sign in (1, -1))
        assert gradient[index] == pytest.approx((up - down) / (2 * step), abs=2e-5)


def test_mode_is_the_optimisers() -> None:
    made = problem(1)
    K, spread = made.kernel(PARAMETERS)(made.squares), made.spread(PARAMETERS)
    precision = np.linalg.inv(K)

    def loss(h: np.ndarray) -> float:
        f, u = h[:9], h[9:]
        prior = f @ precision @ f + u @ u / spread**2
        return 0.5 * prior - log_likelihood(made.counts.successes, made.counts.trials, f[:, None] + u)

    found = minimize(loss, np.zeros(13), method="BFGS", options={"gtol": 1e-7})
    mode = made.mode(PARAMETERS)
    np.testing.assert_allclose(np.append(mode.f, mode.u), found.x, atol=1e-4)
    assert -loss(np.append(mode.f, mode.u)) == pytest.approx(mode.log_posterior, abs=1e-9)


def test_covariance_is_the_inverse_of_the_full_hessian() -> None:
    made = problem(2)
    mode = made.mode(PARAMETERS)
    at = mode.curvature
    prior = np.block([[at.K, np.zeros((9, 4))], [np.zeros((4, 9)), at.spread**2 * np.eye(4)]])
    H = np.block([[np.diag(at.D), at.W], [at.W.T, np.diag(at.E)]])
    full = np.linalg.inv(np.linalg.inv(prior) + H)
    found = np.vstack(at.covariance_times(np.eye(13)[:9], np.eye(13)[9:]))
    np.testing.assert_allclose(found, full, atol=1e-9)
    z = np.hstack([np.kron(np.eye(9), np.ones((4, 1))), np.tile(np.eye(4), (9, 1))])
    np.testing.assert_allclose(at.variances(at.inner).ravel(), np.einsum("ci,ij,cj->c", z, full, z), atol=1e-9)
    assert at.half_log_determinant == pytest.approx(0.5 * np.linalg.slogdet(np.eye(13) + prior @ H)[1])


def test_start_at_another_mode_changes_nothing() -> None:
    made = problem(3)
    other = made.mode(PARAMETERS + 0.5)
    np.testing.assert_allclose(made.mode(PARAMETERS, other).f, made.mode(PARAMETERS).f, atol=1e-5)


def test_derivatives_hold_in_both_tails() -> None:
    z = np.array([-30.0, -3.0, 0.0, 2.0, 30.0])
    k, n = np.array([2.0, 1, 3, 0, 3]), np.full(5, 3.0)
    found = derivatives(k, n, z)
    step = 1e-4

    def at(z: np.ndarray) -> np.ndarray:
        return k * log_ndtr(z) + (n - k) * log_ndtr(-z)

    np.testing.assert_allclose(found[0], (at(z + step) - at(z - step)) / (2 * step), rtol=1e-5, atol=1e-8)
    for order in (1, 2):
        up, down = (derivatives(k, n, z + sign * step)[order - 1] for sign in (1, -1))
        sign = -1 if order == 1 else 1
        np.testing.assert_allclose(found[order], sign * (up - down) / (2 * step), rtol=1e-4, atol=1e-6)


def test_low_rank_factor_gives_the_covariance_back() -> None:
    x = np.linspace(0, 1, 60)
    covariance = np.exp(-(np.subtract.outer(x, x) ** 2) / 0.1)
    factor = low_rank_factor(np.diag(covariance).copy(), lambda index: covariance[index])
    assert len(factor) < 15
    assert np.abs(factor.T @ factor - covariance).max() <= 0.01 + 1e-12
