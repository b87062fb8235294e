"""Tests of two samples without pairs: SciPy's values, values by hand, and how often they err over a map."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact, permutation_test, ttest_ind

from analysis.statistics import benjamini_hochberg, permutation_tests, q_values, share_test
from analysis.statistics.unpaired import MAX_ARRANGEMENTS

NAN = np.nan


def test_three_against_three_by_hand() -> None:
    """Of the 20 ways to deal out 0, 1, 2, 3, 4, 5, two have sums that differ by 9: 0 + 1 + 2 and 3 + 4 + 5."""
    p, smallest = permutation_tests([np.array([0.0, 1, 2])], [np.array([3.0, 4, 5])], np.random.default_rng(0))
    assert (p[0], smallest[0]) == (0.1, 0.1)
    p, smallest = permutation_tests([np.array([0.0, 1, 5])], [np.array([3.0, 4, 2])], np.random.default_rng(0))
    assert smallest[0] == 0.1
    assert p[0] == pytest.approx(14 / 20)  # sums of 3 that are not 7 or 8: 20 less three each of 7 and 8


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_permutations_equal_scipys(statistic: str) -> None:
    rng = np.random.default_rng(1)
    first, second = [rng.normal(0, 1, n) for n in (5, 4, 6)], [rng.normal(1, 2, m) for m in (5, 6, 3)]
    p, smallest = permutation_tests(first, second, rng, statistic)

    def distance(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        if statistic == "mean":
            return np.abs(ttest_ind(a, b, axis=axis, equal_var=False).statistic)
        return np.abs(np.median(b, axis=axis) - np.median(a, axis=axis))

    for point, pair in enumerate(zip(first, second, strict=True)):
        expected = permutation_test(pair, distance, vectorized=True, n_resamples=np.inf, alternative="greater")
        assert p[point] == pytest.approx(expected.pvalue)
        assert smallest[point] == pytest.approx(
            np.isclose(expected.null_distribution, expected.null_distribution.max()).mean()
        )


def test_equal_numbers_of_seeds_compare_plain_differences() -> None:
    """The squared standard error is a constant less a multiple of the squared difference, so the order is the same."""
    rng = np.random.default_rng(4)
    first, second = list(rng.binomial(25, 0.3, (20, 5)) / 25), list(rng.binomial(25, 0.6, (20, 5)) / 25)
    p, _ = permutation_tests(first, second, rng)
    for point, pair in enumerate(zip(first, second, strict=True)):
        expected = permutation_test(
            pair, lambda a, b, axis: np.abs(b.mean(axis=axis) - a.mean(axis=axis)), vectorized=True,
            n_resamples=np.inf, alternative="greater",
        )  # fmt: skip
        assert p[point] == pytest.approx(expected.pvalue)


def test_samples_without_spread_differ_infinitely_or_not_at_all() -> None:
    """0, 0 against 1, 1, 1: one of the 10 ways has no spread. 0.1 against 0.1: none has any, and no means differ."""
    first, second = [np.zeros(2), np.full(3, 0.1)], [np.ones(3), np.full(4, 0.1)]
    p, smallest = permutation_tests(first, second, np.random.default_rng(0))
    np.testing.assert_allclose(p, [0.1, 1])
    np.testing.assert_allclose(smallest, [0.1, 1])


def test_large_values_with_small_differences_keep_their_p() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 9, 4).astype(float), rng.integers(3, 12, 6).astype(float)
    p, smallest = permutation_tests([a, a + 1e6, -a], [b, b + 1e6, -b], rng)
    assert len(set(p)) == len(set(smallest)) == 1


def test_unequal_spread_and_seeds_leave_the_level_of_means() -> None:
    """8 seeds with three times the spread of 16: 5.2% at 5%, and 12% to 15% for the plain difference of means."""
    rng = np.random.default_rng(6)
    first, second = list(rng.normal(0, 3, (300, 8))), list(rng.normal(0, 1, (300, 16)))
    p, _ = permutation_tests(first, second, rng)
    assert 0.02 < (p <= 0.05).mean() < 0.09
    p, _ = permutation_tests(first[:60], list(rng.normal(4, 1, (60, 16))), rng)
    assert (p <= 0.05).mean() > 0.8


def test_many_seeds_are_dealt_out_at_random() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, 15), rng.normal(0.8, 1, 15)
    (p,), (smallest,) = permutation_tests([a], [b], rng)
    expected = permutation_test(
        (a, b), lambda x, y: abs(y.mean() - x.mean()), n_resamples=5000, alternative="greater", rng=3
    )
    assert p == pytest.approx(expected.pvalue, abs=0.02)
    assert smallest <= p
    (p,), _ = permutation_tests([np.zeros(15)], [np.arange(100.0, 115)], rng)
    assert p == 1 / (MAX_ARRANGEMENTS + 1)  # the seeds as they are count too


def test_fewer_seeds_or_infinite_values_are_no_test() -> None:
    first = [np.zeros(0), np.array([np.inf, 1.0]), np.array([1.0]), np.array([2.0, 2.0])]
    second = [np.ones(3), np.ones(2), np.array([5.0]), np.array([2.0, 2.0])]
    p, smallest = permutation_tests(first, second, np.random.default_rng(0))
    np.testing.assert_array_equal(p, [NAN, NAN, NAN, 1])
    np.testing.assert_array_equal(smallest, [NAN, NAN, NAN, 1])
    assert np.isnan(share_test((0, 1), (0, 4))).all()


def test_the_test_of_shares_is_fishers_with_half_of_the_ties() -> None:
    """For equal n. By hand: 70 ways to deal out four losses to two times four seeds, two of them all on one side."""
    assert share_test((0, 4), (4, 4)) == (1 / 70, 1 / 70)
    p, smallest = share_test((1, 3), (4, 4))
    assert (p, smallest) == ((2 + 32 / 2) / 70, 1 / 70)
    assert share_test((0, 0), (8, 8)) == (1, 1)
    for k, m in [(2, 7), (3, 6), (4, 5)]:
        p, farther = (fisher_exact([[a, b], [8 - a, 8 - b]]).pvalue for a, b in ((k, m), (k - 1, m + 1)))
        assert share_test((k, m), (8, 8))[0] == pytest.approx((p + farther) / 2)
        assert share_test((m, k), (8, 8)) == share_test((k, m), (8, 8))
    assert share_test((0, 5), (8, 8))[0] == pytest.approx(fisher_exact([[0, 5], [8, 3]]).pvalue / 2)
    assert share_test((3, 3), (8, 8))[0] > 0.5


@pytest.mark.parametrize(("n", "m", "largest"), [(8, 8, 0.028), (11, 11, 0.053), (16, 16, 0.050), (4, 10, 0.075)])
def test_the_mid_p_of_a_share_may_exceed_its_level(n: int, m: int, largest: float) -> None:
    """The probability of p <= 0.05, exact, at the worst of 499 shares that both samples have."""
    p = np.linspace(0.002, 0.998, 499)[:, None]
    called = np.array([[share_test((k, other), (n, m))[0] <= 0.05 for other in range(m + 1)] for k in range(n + 1)])
    first, second = binom.pmf(np.arange(n + 1), n, p), binom.pmf(np.arange(m + 1), m, p)
    assert ((first @ called) * second).sum(axis=1).max() == pytest.approx(largest, abs=6e-4)


def test_unequal_numbers_of_seeds_have_both_tails() -> None:
    """0 of 2 and 3 of 4: of 20 ways, 4 have this difference of 3/4, 4 have one of 1 - 1/4 the other way round."""
    p, _ = share_test((0, 3), (2, 4))
    assert p == pytest.approx((4 + 4) / 2 / 20)


def test_points_that_cannot_differ_do_not_count() -> None:
    p, smallest = np.array([0.01, 0.04, 1.0, 1.0, NAN]), np.array([0.01, 0.02, 1.0, 0.2, NAN])
    np.testing.assert_allclose(q_values(p, smallest), [0.02, 0.04, NAN, NAN, NAN])
    np.testing.assert_allclose(benjamini_hochberg(p)[:2], [0.04, 0.08])


def test_false_discoveries_of_shares_stay_below_their_rate() -> None:
    """8 and 8 seeds at 30 equal points and 10 different ones, 200 maps; and with nothing that differs."""
    rng = np.random.default_rng(3)
    shares, found, any_false = [], 0, 0
    p1 = np.tile([0.02, 0.2, 0.5, 0.8, 0.98], 8)
    for different in (0.95, 0.02):
        p2 = np.where(np.arange(40) < 30, p1, different)
        p1 = np.where(np.arange(40) < 30, p1, 0.02)
        for _ in range(200):
            k = rng.binomial(8, [p1, p2])
            tests = np.array([share_test((int(a), int(b)), (8, 8)) for a, b in k.T]).T
            called = q_values(*tests) <= 0.05
            if different == 0.02:
                any_false += called.any()
            else:
                shares.append(called[:30].sum() / max(called.sum(), 1))
                found += called[30:].sum()
    assert np.mean(shares) < 0.05
    assert any_false < 0.05 * 200
    assert found > 0.9 * 200 * 10
