"""Failed tasks and the test of failure rates: hand-made cases, SciPy, and simulated error rates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, fisher_exact

from analysis.scoring import LossCriterion
from analysis.scoring.exact import fisher
from analysis.scoring.failures import FreshPool, excess_bound, failed, lost_from, plastic_to
from lop_sweep.config import CellConfig

NAN, INF = float("nan"), float("inf")
RULE = LossCriterion()


def test_a_task_fails_by_margin_and_factor_both() -> None:
    losses, fresh = np.array([[0.21, 0.35, 0.31, NAN], [1.05, 1.2, 1.6, 1.4]]), np.array([0.2, 1.0])
    expected = [[False, True, True, False], [False, False, True, False]]
    np.testing.assert_array_equal(failed(losses, fresh, margin=0.1, factor=1.5), expected)
    assert not failed(losses, np.array([NAN, INF]), 0.1, 1.5).any()


def cells(*lists: list[float], **fields: list[object]) -> pd.DataFrame:
    frame = pd.DataFrame([CellConfig(seed=seed).model_dump() for seed in range(len(lists))])
    return frame.assign(fresh_ce=[np.array(losses) for losses in lists], **fields)


def test_fresh_networks_are_pooled_over_seeds_only() -> None:
    pool = FreshPool.of(cells([0.1, 0.2], [0.3, 9.0], [1.0, NAN, 1.2], [], lr=[0.1, 0.1, 0.2, 0.4]))
    assert pool.group.tolist() == [0, 0, 1, 2]
    assert pool.sizes.tolist() == [4, 3, 0]
    np.testing.assert_allclose(pool.medians, [0.25, 1.2, NAN])
    assert pool.failures(0.1, 1.5).tolist() == [1, 1, 0]  # a network that diverged has failed
    assert FreshPool.of(cells([NAN, NAN])).failures(0.1, 1.5).tolist() == [2]


def test_the_p_value_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        m, n = rng.integers(1, 40, 2)
        k, fresh = rng.integers(0, m + 1), rng.integers(0, n + 1)
        expected = fisher_exact([[k, m - k], [fresh, n - fresh]], "greater").pvalue
        assert fisher(k, m, fresh, n) == pytest.approx(expected, rel=1e-9)


def test_p_values_of_many_designs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any shape, also with more probabilities than are kept in memory at a time."""
    monkeypatch.setattr("analysis.scoring.exact._MAX_TABLE", 60)
    rng = np.random.default_rng(0)
    m, n = rng.choice([0, 1, 25], (20, 15)), rng.choice([0, 8, 160], (20, 15))
    k, fresh = rng.binomial(m, 0.3), rng.binomial(n, 0.3)
    for alternative in ("greater", "two-sided"):
        ours = fisher(k, m, fresh, n, alternative)
        for at in np.ndindex(m.shape):
            tables = [[k[at], m[at] - k[at]], [fresh[at], n[at] - fresh[at]]]
            assert ours[at] == pytest.approx(fisher_exact(tables, alternative).pvalue, rel=1e-9)
    assert fisher([], 25, [], 160).shape == (0,)


def test_the_bound_is_newcombes() -> None:
    """Table II of the source, 56/70 against 48/80: method 10 gives 0.0524 to 0.3339, two-sided at 95%."""
    assert excess_bound(56, 70, 48, 80, confidence=0.975) == pytest.approx(0.3339, abs=5e-5)
    assert np.isnan(excess_bound(0, 0, 0, 10))


@pytest.mark.parametrize(("m", "fresh_n"), [(25, 160), (10, 20), (1, 3), (40, 0)])
def test_tables_of_counts_are_the_verdicts(m: int, fresh_n: int) -> None:
    if fresh_n == 0:
        with np.errstate(invalid="ignore", divide="ignore"):
            assert plastic_to(m, 0, 0.1).tolist() == [-1]
        return
    least, most = lost_from(m, fresh_n, RULE.alpha, RULE.difference), plastic_to(m, fresh_n, RULE.difference)
    for fresh in range(fresh_n + 1):
        for k in range(m + 1):
            lost = fisher(k, m, fresh, fresh_n) < RULE.alpha and round(k / m - fresh / fresh_n, 9) >= RULE.difference
            assert (k >= least[fresh]) == lost
            assert (k <= most[fresh]) == (excess_bound(k, m, fresh, fresh_n) < RULE.difference)


def verdict_rates(losses: np.ndarray, pool: np.ndarray) -> tuple[float, float]:
    """Return how often networks with these late losses, (repeats, m), are lost and plastic, each with its own pool."""
    medians = np.median(pool, axis=1)
    fresh = failed(pool, medians, RULE.margin, RULE.factor).sum(axis=1)
    k = failed(losses, medians, RULE.margin, RULE.factor).sum(axis=1)
    m, n = losses.shape[1], pool.shape[1]
    return float((k >= lost_from(m, n, RULE.alpha, RULE.difference)[fresh]).mean()), float(
        (k <= plastic_to(m, n, RULE.difference)[fresh]).mean()
    )


@pytest.mark.parametrize("fails", [0.0, 0.02, 0.1, 0.3, 0.45])
@pytest.mark.parametrize("networks", [20, 160])
def test_networks_like_fresh_ones_are_seldom_lost(fails: float, networks: int) -> None:
    """At most 1% by construction, for any tails. With 20,000 repeats 0.013 is four standard errors above it."""
    rng = np.random.default_rng([int(100 * fails), networks])

    def draw(count: int) -> np.ndarray:
        bad = rng.random((20_000, count)) < fails
        return np.where(bad, rng.lognormal(0, 1.5, bad.shape) + 0.5, rng.lognormal(-4, 1, bad.shape))

    lost, _ = verdict_rates(draw(25), draw(networks))
    assert lost <= 0.013


def test_power_and_errors_of_plastic_are_those_of_the_binomial() -> None:
    """Fresh networks never fail, 160 of them; 3 of 25 late tasks show a loss, and only 0 exclude one."""
    rates = np.array([0.05, 0.1, 0.2, 0.4])
    least, most = lost_from(25, 160, 0.01, 0.1)[0], plastic_to(25, 160, 0.1)[0]
    assert (least, most) == (3, 0)
    np.testing.assert_allclose(binom.sf(least - 1, 25, rates), [0.127, 0.463, 0.902, 1.0], atol=1e-3)
    assert binom.cdf(most, 25, 0.1) == pytest.approx(0.072, abs=1e-3)  # a loss of 0.1 is called plastic
