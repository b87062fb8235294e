"""Beliefs about a boundary: outcomes against integrals, the look-ahead against the bivariate normal distribution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr
from scipy.stats import multivariate_normal

from analysis.refinement.beliefs import SPREAD, Beliefs
from analysis.surface import NO_SHIFT, Latent, fit_latent, scaling_of

CLUSTERS = 3


@pytest.fixture(scope="module")
def latent() -> Latent:
    """Return a fit to 25 cells of three seeds, lost where the first axis is large."""
    rng = np.random.default_rng(0)
    points, number = rng.random((25, 2)), rng.integers(0, CLUSTERS, 25)
    lost = (rng.random(25) < ndtr(5 * points[:, 0] - 2 + np.array([-0.5, 0, 0.5])[number])).astype(float)
    return fit_latent(scaling_of(points), points, number, lost, np.ones(25), CLUSTERS)


def beliefs(latent: Latent, candidates: int = 12, references: int = 15, threshold: float = 0.2) -> Beliefs:
    rng = np.random.default_rng(1)
    at, reference = rng.random((candidates, 2)), rng.random((references, 2))
    return Beliefs(latent, at, np.arange(candidates) % CLUSTERS, reference, threshold)


def joint(latent: Latent, candidates: int = 12, references: int = 15) -> np.ndarray:
    """Return the covariance of all items, (n + q, n + q)."""
    rng = np.random.default_rng(1)
    at = np.vstack([rng.random((candidates, 2)), rng.random((references, 2))])
    clusters = np.append(np.arange(candidates) % CLUSTERS, np.full(references, NO_SHIFT))
    return latent.covariance(at, clusters, at, clusters)


def integrated(
    mean: np.ndarray, covariance: np.ndarray, successes: float, trials: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the moments of a normal pair after outcomes at the first, by integration over both on a grid."""
    root = np.linalg.cholesky(covariance)
    z = np.linspace(-11, 11, 601)
    pairs = mean[:, None, None] + np.tensordot(root, np.stack(np.meshgrid(z, z, indexing="ij")), axes=1)
    log = -(z[:, None] ** 2 + z**2) / 2 + successes * log_ndtr(pairs[0]) + (trials - successes) * log_ndtr(-pairs[0])
    density = np.exp(log - log.max())
    density /= density.sum()
    middle = (pairs * density).sum(axis=(1, 2))
    apart = pairs - middle[:, None, None]
    return middle, np.einsum("aij,bij,ij->ab", apart, apart, density)


@pytest.mark.parametrize(
    ("successes", "trials"), [(1, 1), (0, 1), (7, 7), (0, 25), (11, 25), (0.4, 1.7), (1.0, 0.5 + 0.5)]
)
@pytest.mark.parametrize(("candidate", "item"), [(0, 12), (5, 20), (7, 3)])
def test_an_outcome_gives_the_moments_of_the_posterior(
    latent: Latent, candidate: int, item: int, successes: float, trials: float
) -> None:
    """Those of the candidate and of any other item, be it a candidate or a reference point."""
    made = beliefs(latent)
    pair = [candidate, item]
    mean, covariance = integrated(made.mean[pair], joint(latent)[np.ix_(pair, pair)], successes, trials)
    made.observe(candidate, successes, trials)
    np.testing.assert_allclose(made.mean[pair], mean, atol=1e-6)
    np.testing.assert_allclose(made.variance[pair], np.diag(covariance), atol=1e-6)
    if item >= 12:
        assert made.cross[candidate, item - 12] == pytest.approx(covariance[0, 1], abs=1e-6)


def test_a_sure_candidate_that_surprises_is_believed(latent: Latent) -> None:
    """Outcomes far from what was expected move the mean towards them, and not past them."""
    made = beliefs(latent)
    candidate = int(made.mean[:12].argmax())
    made.observe(candidate, 0, 25)
    assert -2.5 < made.mean[candidate] < 0
    assert made.variance[candidate] > 0.02


def test_outcomes_one_after_the_other_keep_the_covariances(latent: Latent) -> None:
    """After each, the variances are those of the joint normal that all earlier ones have left."""
    made, covariance = beliefs(latent), joint(latent)
    for candidate, successes, trials in [(3, 1, 1), (3, 1, 1), (8, 0, 1), (0, 3, 4.5), (3, 0, 1)]:
        before = made.variance[candidate]
        made.observe(candidate, successes, trials)
        scale = (before - made.variance[candidate]) / before**2
        column = covariance[:, candidate].copy()
        covariance = covariance - scale * np.outer(column, column)
        np.testing.assert_allclose(made.variance, np.diag(covariance), atol=1e-9)
        np.testing.assert_allclose(made.cross, covariance[:12, 12:], atol=1e-9)


def test_a_success_is_as_probable_as_on_average(latent: Latent) -> None:
    made = beliefs(latent)
    z = np.random.default_rng(2).normal(size=400_000)
    for candidate in (0, 6):
        drawn = ndtr(made.mean[candidate] + np.sqrt(made.variance[candidate]) * z).mean()
        assert made.success(candidate) == pytest.approx(drawn, abs=0.002)


def exact_gains(made: Beliefs, threshold: float, candidates: int, references: int) -> np.ndarray:
    """Return the expected fall of each reference point's doubt, from the exact probabilities after an outcome."""

    def doubt(p: float) -> float:
        return min(p, 1 - p) + SPREAD * p * (1 - p)

    found = np.zeros((candidates, references))
    for i, j in itertools.product(range(candidates), range(references)):
        root, sd = np.sqrt(1 + made.variance[i]), np.sqrt(made.variance[candidates + j])
        a, b = made.mean[i] / root, (threshold - made.mean[candidates + j]) / sd
        rho = -made.cross[i, j] / (root * sd)
        success, below = ndtr(a), ndtr(b)
        both = multivariate_normal.cdf([a, b], cov=[[1, rho], [rho, 1]])
        after = both / success, (below - both) / (1 - success)
        found[i, j] = doubt(below) - success * doubt(after[0]) - (1 - success) * doubt(after[1])
    return found


@pytest.mark.parametrize("told", [[], [(3, 1), (8, 0), (3, 1)]])
def test_gains_are_those_of_the_exact_look_ahead(latent: Latent, told: list[tuple[int, int]]) -> None:
    made = beliefs(latent)
    for candidate, outcome in told:
        made.observe(candidate, outcome)
    found, exact = made.gains(), exact_gains(made, 0.2, 12, 15)
    assert found.shape == (12, 15)
    np.testing.assert_allclose(found, exact, rtol=0, atol=0.01 * exact.max())
    totals, expected = found.sum(axis=1), exact.sum(axis=1)
    np.testing.assert_allclose(totals, expected, rtol=0, atol=0.015 * expected.max())
    good = np.flatnonzero(expected > 0.06 * expected.max())
    assert len(good) >= 4
    np.testing.assert_array_equal(np.argsort(totals)[-len(good) :], np.argsort(expected)[-len(good) :])


def test_no_gain_is_more_than_the_doubt(latent: Latent) -> None:
    """Nor is one negative, which the doubt before an outcome, taken from the moments, would not ensure."""
    made = beliefs(latent)
    p = ndtr((made.mean[12:] - 0.2) / np.sqrt(made.variance[12:]))
    gains, doubt = made.gains(), np.minimum(p, 1 - p) + SPREAD * p * (1 - p)
    assert (gains >= -1e-12).all()
    assert (gains <= doubt * 1.001 + 1e-3).all()


def test_what_is_independent_gains_nothing(latent: Latent) -> None:
    made = beliefs(latent)
    made.cross[:, 4] = 0.0
    gains = made.gains()
    np.testing.assert_allclose(gains[:, 4], 0.0, atol=1e-12)
    assert (gains[:, :4].max(axis=0) > 1e-6).all()


def test_another_trial_there_gains_less(latent: Latent) -> None:
    made = beliefs(latent)
    best = int(made.gains().sum(axis=1).argmax())
    before = made.gains().sum(axis=1)[best]
    for _ in range(3):
        made.observe(best, made.success(best) >= 0.5)
    assert made.gains().sum(axis=1)[best] < before
