"""Intervals: SciPy's, closed forms, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.scoring.failures import excess_bound
from analysis.scoring.intervals import bootstrap, difference_interval, wilson


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_equals_scipys(level: float) -> None:
    trials = np.repeat(np.arange(1, 12), 12)
    successes = np.tile(np.arange(12), 11)
    successes, trials = successes[successes <= trials], trials[successes <= trials]
    low, high = wilson(successes, trials, level)
    for index, (k, n) in enumerate(zip(successes, trials, strict=True)):
        expected = stats.binomtest(int(k), int(n)).proportion_ci(level, method="wilson")
        assert (low[index], high[index]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trials_have_no_interval() -> None:
    low, high = wilson(np.array([0]), np.array([0]))
    assert np.isnan([low[0], high[0]]).all()


def test_the_bootstrap_is_close_to_scipys() -> None:
    sample = np.random.default_rng(0).lognormal(size=12)
    ours = bootstrap(sample[None], np.random.default_rng(1), resamples=20_000)
    expected = stats.bootstrap(
        (sample,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    np.testing.assert_allclose([ours[0][0], ours[1][0]], [expected.low, expected.high], rtol=0.02)


def test_the_bootstrap_has_the_documented_coverage() -> None:
    """With 3 normal values rarely enough, with 30 nearly; the docstring says so."""
    for size, share in ((3, 0.75), (30, 0.94)):
        samples = np.random.default_rng(size).normal(size=(2000, size))
        low, high = bootstrap(samples, np.random.default_rng(0), resamples=500)
        assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(share, abs=0.04)


def test_intervals_of_rates_cover_where_the_bootstrap_of_skewed_losses_does_not() -> None:
    """The mean of 8 lognormal(1.5) losses is in its bootstrapped interval in two of three cases.

    The same losses as failures beyond a limit have Wilson's interval, and Newcombe's bound against fresh networks.
    """
    rng = np.random.default_rng(0)
    coverage = {}
    for name, draw, mean in (
        ("normal", lambda size: rng.normal(size=size), 0.0),
        ("skewed", lambda size: rng.lognormal(sigma=1.5, size=size), np.exp(1.5**2 / 2)),
    ):
        low, high = bootstrap(draw((2000, 8)), np.random.default_rng(1), resamples=500)
        coverage[name] = np.mean((low <= mean) & (mean <= high))
    assert coverage["normal"] == pytest.approx(0.88, abs=0.03)
    assert coverage["skewed"] == pytest.approx(0.65, abs=0.04)
    rate, fresh_rate = (1 - stats.lognorm(1.5).cdf(limit) for limit in (3.0, 8.0))
    late, fresh = rng.lognormal(sigma=1.5, size=(2000, 8 * 25)), rng.lognormal(sigma=1.5, size=(2000, 160))
    k, fresh_k = (late > 3).sum(axis=1), (fresh > 8).sum(axis=1)
    low, high = wilson(k, np.full(2000, 8 * 25))
    assert np.mean((low <= rate) & (rate <= high)) == pytest.approx(0.95, abs=0.015)
    assert np.mean(rate - fresh_rate <= excess_bound(k, 8 * 25, fresh_k, 160)) == pytest.approx(0.95, abs=0.015)


def test_the_generator_decides_the_bootstrap() -> None:
    samples = np.random.default_rng(0).normal(size=(4, 5))
    first, second, other = (bootstrap(samples, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (np.stack(first) != np.stack(other)).any()
    assert np.isnan(bootstrap(samples[:, :1], np.random.default_rng(0))).all()


def test_a_median_may_be_infinite() -> None:
    low, high = bootstrap(np.array([[3.0, 5.0, np.inf]]), np.random.default_rng(0), "median")
    assert (low[0], high[0]) == (3.0, np.inf)


def test_the_difference_of_two_shares_is_newcombes() -> None:
    """56/70 - 48/80, an example of Newcombe (1998): 0.0524 to 0.3339."""
    shares = [(k / n, *wilson(k, n)) for k, n in ((48, 80), (56, 70))]
    low, high = difference_interval(*shares)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
