"""Power and sample sizes: SciPy's Fisher test, hand computation, simulation, the audit's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_scores import scores_of
from scipy.stats import binom, fisher_exact

from analysis.scoring import fisher
from analysis.statistics import (
    RateTest,
    needed_fresh,
    needed_pairs,
    needed_seeds,
    needed_tasks,
    power_table,
    sweep_power,
)
from lop_sweep.errors import AnalysisError


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_p_values_equal_scipys(alternative: Any) -> None:
    m, N = 7, 12
    ours = fisher(np.arange(m + 1)[:, None], m, np.arange(N + 1), N, alternative)
    for k in range(m + 1):
        for K in range(N + 1):
            theirs = fisher_exact([[k, m - k], [K, N - K]], alternative=alternative).pvalue
            assert ours[k, K] == pytest.approx(theirs, rel=1e-9)


def test_power_is_a_sum_over_all_counts() -> None:
    test, total = RateTest(alpha=0.05, min_difference=0.2), 0.0
    for k in range(6):
        for K in range(9):
            p = fisher_exact([[k, 5 - k], [K, 8 - K]], alternative="greater").pvalue
            if p < 0.05 and k / 5 - K / 8 > 0.2:
                total += binom.pmf(k, 5, 0.7) * binom.pmf(K, 8, 0.1)
    assert test.power(0.7, 0.1, 5, 8) == pytest.approx(total)


def test_power_equals_a_simulation() -> None:
    rng, test = np.random.default_rng(0), RateTest()
    k, K = rng.binomial(25, 0.3, 40_000), rng.binomial(160, 0.03, 40_000)
    assert test.power(0.3, 0.03, 25, 160) == pytest.approx(test.rejects(25, 160)[k, K].mean(), abs=0.01)


def test_false_positives_stay_below_the_level() -> None:
    """Also where half of the fresh networks fail; the mean of 20 fresh networks gave 28 to 50% there."""
    test = RateTest()
    rates = [test.power(q, q, 25, N) for q in (0.01, 0.05, 0.2, 0.5) for N in (20, 160)]
    assert max(rates) < 0.01


def test_tasks_that_fail_together_carry_less() -> None:
    test = RateTest()
    apart, together = (test.power(0.25, 0.02, 25, 160, rho) for rho in (0.0, 0.3))
    assert together < apart
    rng = np.random.default_rng(1)
    rate = rng.beta(0.25 * (1 / 0.3 - 1), 0.75 * (1 / 0.3 - 1), 40_000)
    called = test.rejects(25, 160)[rng.binomial(25, rate), rng.binomial(160, 0.02, 40_000)]
    assert together == pytest.approx(called.mean(), abs=0.01)


def test_the_smallest_sizes_reach_the_power() -> None:
    test = RateTest()
    m = int(needed_tasks(0.3, 0.02, 160))
    powers = [test.power(0.3, 0.02, size, 160) for size in range(1, m + 3)]
    assert min(powers[m - 1 :]) >= 0.8
    assert max(np.minimum(powers[: m - 2], 1)) < 0.85
    N = int(needed_fresh(0.4, 0.02, 25))
    assert test.power(0.4, 0.02, 25, N) >= 0.8
    assert np.isnan(needed_tasks(0.12, 0.1, 160, most=50))


def test_seeds_per_condition_are_fishers() -> None:
    """0.2 against 0.8 with 80% power at 5%: 13 per group by exact tables."""
    n = int(needed_seeds(0.2, 0.8))
    assert 11 <= n <= 14
    assert needed_seeds(0.4, 0.6) > 90


def test_pairs_for_equivalence_are_the_audits() -> None:
    """+-3 points at 11 or 16 discordant pairs of 96: 1,100 to 2,000 pairs."""
    assert needed_pairs(0.03, 11 / 96) == pytest.approx(1090, abs=2)
    assert needed_pairs(0.03, 16 / 96, power=0.9) == pytest.approx(2004, abs=2)


def test_pairs_for_equivalence_give_that_power() -> None:
    rng, n = np.random.default_rng(2), needed_pairs(0.1, 0.3)
    b = rng.binomial(n, 0.15, 4000)
    c = rng.binomial(n - b, 0.15 / 0.85)
    difference = (c - b) / n
    error = np.sqrt((b + c) / n - difference**2) / np.sqrt(n)
    called = (np.abs(difference) + 1.645 * error < 0.1).mean()
    assert called == pytest.approx(0.8, abs=0.03)


def test_a_table_has_every_combination() -> None:
    table = power_table([0.2, 0.4], 0.02, [10, 25], [20, 160])
    assert len(table) == 8
    assert table["power"].between(0, 1).all()
    assert table.groupby(["late_tasks", "late_rate"])["power"].apply(lambda p: p.is_monotonic_increasing).all()


def test_the_design_of_a_sweep_is_judged() -> None:
    frame = scores_of([{"seed": seed, "fresh_failure_rate": 0.02} for seed in range(4)])
    row = sweep_power(frame, 0.3).iloc[0]
    assert (row["late_tasks"], row["fresh_networks"], row["cells"]) == (25, 160, 4)
    assert row["power"] == pytest.approx(RateTest().power(0.32, 0.02, 25, 160))
    assert row["needed_tasks"] <= 25
    assert row["false_positives"] < 0.01
    with pytest.raises(AnalysisError, match="no cell has fresh networks"):
        sweep_power(frame.assign(fresh_networks=0), 0.3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RateTest(alpha=0), "alpha = 0: must be between 0 and 1"),
        (lambda: RateTest(alternative="less"), "must be one of greater, two-sided"),
        (lambda: RateTest(min_difference=1), "min_difference = 1"),
        (lambda: RateTest().power(1.2, 0.1, 5, 5), "failure rate = 1.2: must be from 0 to 1"),
        (lambda: RateTest().power(0.2, 0.1, 0, 5), "late tasks = 0"),
        (lambda: RateTest().power(0.2, 0.1, 5, 5, 1), "rho = 1"),
        (lambda: needed_pairs(0.03, 0.1, difference=0.05), "must be smaller than the margin"),
        (lambda: needed_pairs(0.03, 0), "discordant = 0"),
        (lambda: needed_tasks(0.3, 0.1, 20, power=1), "power = 1: must be between 0 and 1"),
    ],
)
def test_impossible_values_are_refused(call: Any, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        call()
