"""The normal approximation of surface and shifts against plain matrix algebra over all of them at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from analysis.surface import NO_SHIFT, Latent, fit_latent, scaling_of
from analysis.surface.laplace import Counts, find_mode
from analysis.surface.probit import derivatives

CLUSTERS = 5
"""Number 4 has no cell in most problems here."""

SCALES = ("log", "linear", "category")


def cells(
    rng: np.random.Generator, count: int = 40, trials: int = 1, clusters: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return points in the unit cube, clusters, successes and trials; some points have several cells."""
    places = np.column_stack([rng.random((12, 2)), rng.integers(0, 2, 12)])
    points = places[rng.integers(0, len(places), count)]
    number, shift = rng.integers(0, clusters, count), rng.normal(0, 0.7, clusters)
    n = np.full(count, float(trials))
    k = rng.binomial(trials, ndtr(4 * points[:, 0] - 2 + shift[number] + points[:, 2])).astype(float)
    return points, number, k, n


def fit(rng: np.random.Generator, trials: int = 1, count: int = CLUSTERS) -> Latent:
    points, number, k, n = cells(rng, trials=trials, clusters=min(4, count))
    scaling = scaling_of(np.column_stack([np.exp(points[:, 0]), points[:, 1:]]), SCALES)
    return fit_latent(scaling, points, number, k, n, count)


def everything(latent: Latent, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of f at the data, f at `at`, and u, by plain algebra.

    The likelihood is replaced by a normal one with the curvature W of the counts at the mode.
    """
    m, g = len(latent.points), len(at)
    places = np.vstack([latent.points, at])
    prior = np.zeros((m + g + CLUSTERS, m + g + CLUSTERS))
    prior[: m + g, : m + g] = latent.kernel(latent.scaling.squares(places, places))
    prior[m + g :, m + g :] = latent.spread**2 * np.eye(CLUSTERS)
    counts = latent.tuned.weighted
    mode = find_mode(latent.kernel(latent.scaling.squares(latent.points, latent.points)), latent.spread, counts)
    z = mode.f[:, None] + mode.u
    gradient, W, _ = derivatives(counts.successes, counts.trials, z)
    rows = np.zeros((m * CLUSTERS, len(prior)))  # z = rows @ (f, f at `at`, u)
    for point in range(m):
        for cluster in range(CLUSTERS):
            rows[point * CLUSTERS + cluster, [point, m + g + cluster]] = 1
    known = W.ravel() > 0
    rows, noise, seen = (
        rows[known],
        1 / W.ravel()[known],
        (z.ravel() + gradient.ravel() / W.ravel().clip(1e-300))[known],
    )
    gain = prior @ rows.T @ np.linalg.inv(rows @ prior @ rows.T + np.diag(noise))
    return gain @ seen, prior - gain @ rows @ prior


@pytest.mark.parametrize("trials", [1, 6])
def test_moments_are_those_of_the_joint_normal(trials: int) -> None:
    """At data and elsewhere, with each cluster, one without a cell, and none."""
    rng = np.random.default_rng(trials)
    latent = fit(rng, trials)
    at = np.vstack([np.column_stack([rng.random((5, 2)), rng.integers(0, 2, 5)]), latent.points[:3]])
    mean, covariance = everything(latent, at)
    m, g = len(latent.points), len(at)
    for clusters in (rng.integers(0, CLUSTERS, g), np.full(g, 4), np.full(g, NO_SHIFT), np.arange(g) % 6 - 1):
        rows = np.zeros((g, len(mean)))
        rows[np.arange(g), m + np.arange(g)] = 1
        shifted = clusters != NO_SHIFT
        rows[np.flatnonzero(shifted), m + g + clusters[shifted]] = 1
        np.testing.assert_allclose(latent.mean(at, clusters), rows @ mean, atol=2e-4)
        whole = rows @ covariance @ rows.T
        np.testing.assert_allclose(latent.variance(at, clusters), np.diag(whole), atol=1e-6)
        np.testing.assert_allclose(latent.covariance(at, clusters, at, clusters), whole, atol=1e-6)
        others = np.roll(clusters, 1)
        mixed = rows.copy()
        mixed[:, m + g :] = 0
        mixed[np.flatnonzero(others != NO_SHIFT), m + g + others[others != NO_SHIFT]] = 1
        np.testing.assert_allclose(latent.covariance(at, clusters, at, others), rows @ covariance @ mixed.T, atol=1e-6)


def test_a_cluster_without_cells_keeps_its_prior() -> None:
    latent = fit(np.random.default_rng(2))
    at, without = latent.points, np.full(len(latent.points), NO_SHIFT)
    new = np.full(len(at), 4)
    np.testing.assert_allclose(latent.mean(at, new), latent.mean(at, without), atol=1e-12)
    np.testing.assert_allclose(latent.variance(at, new) - latent.variance(at, without), latent.spread**2, atol=1e-9)


def test_a_single_cluster_has_no_shift() -> None:
    latent = fit(np.random.default_rng(3), count=1)
    at, first = latent.points, np.zeros(len(latent.points), int)
    assert latent.spread == 0
    np.testing.assert_array_equal(latent.mean(at, first), latent.mean(at, first - 1))
    np.testing.assert_array_equal(latent.variance(at, first), latent.variance(at, first - 1))


def test_the_threshold_is_that_of_the_mean_rate_over_clusters() -> None:
    latent = fit(np.random.default_rng(4))
    shifts = latent.spread * np.random.default_rng(0).normal(size=200_000)
    for level in (0.1, 0.5, 0.8):
        assert ndtr(latent.threshold(level) + shifts).mean() == pytest.approx(level, abs=0.005)


def test_several_trials_of_a_cell_count_for_less() -> None:
    """Cells whose trials all agree have a correlation, and their counts are divided by the design effect."""
    rng = np.random.default_rng(5)
    points, number = np.repeat(np.linspace(0, 1, 30), 4)[:, None], np.tile(np.arange(4), 30)
    lost = (rng.random(120) < 0.5).astype(float)
    latent = fit_latent(scaling_of(points), points, number, 6 * lost, np.full(120, 6.0), CLUSTERS)
    within = latent.tuned.correlation
    assert within > 0.5
    np.testing.assert_allclose(latent.tuned.weighted.trials[:, :4], 6 / (1 + 5 * within))


def test_hyperparameters_are_kept_on_request() -> None:
    rng = np.random.default_rng(6)
    points, number, k, n = cells(rng, count=60, trials=3)
    scaling = scaling_of(points, ("linear", "linear", "category"))
    first = fit_latent(scaling, points[:30], number[:30], k[:30], n[:30], CLUSTERS)
    kept = fit_latent(scaling, points, number, k, n, CLUSTERS, first, retune=False)
    assert (kept.kernel.amplitude, kept.spread) == (first.kernel.amplitude, first.spread)
    np.testing.assert_array_equal(kept.kernel.lengths, first.kernel.lengths)
    assert kept.tuned.correlation == first.tuned.correlation
    assert kept.tuned.weighted.trials.sum() > 1.5 * first.tuned.weighted.trials.sum()
    again = fit_latent(scaling, points, number, k, n, CLUSTERS, first)
    assert again.kernel.amplitude != first.kernel.amplitude
    anew = fit_latent(scaling, points, number, k, n, CLUSTERS)
    np.testing.assert_array_equal(again.mode.f, anew.mode.f)


def test_rows_of_a_point_and_cluster_are_added() -> None:
    rng = np.random.default_rng(7)
    points, number, k, n = cells(rng, count=50)
    order = rng.permutation(50)
    scaling = scaling_of(points, ("linear", "linear", "category"))
    first = fit_latent(scaling, points, number, k, n, CLUSTERS)
    second = fit_latent(scaling, points[order], number[order], k[order], n[order], CLUSTERS)
    np.testing.assert_array_equal(first.points, second.points)
    assert isinstance(second.tuned.weighted, Counts)
    np.testing.assert_array_equal(first.tuned.weighted.trials, second.tuned.weighted.trials)
    np.testing.assert_array_equal(first.mode.f, second.mode.f)
