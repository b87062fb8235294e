"""Whether two samples of seeds differ, without pairs: the tests behind the dots on a map of a difference.

    n, m       seeds of the first and of the second sample
    p          share of the ways to deal out the n + m seeds at which the samples differ as much as they do, or more
    smallest   the smallest p that these seeds allow, had they fallen otherwise
    mid-p      the same as p, with half the weight on ways at which they differ exactly as much

All ways to deal out the seeds are equally likely if both samples have the same distribution. A difference of means is
divided by its standard error, so that the test is also approximately right where only the means are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from math import comb

import numpy as np

from analysis.statistics.compare import FALSE_DISCOVERIES, benjamini_hochberg

MAX_ARRANGEMENTS = 20_000
"""Samples that can be dealt out in more ways are tested with this many random ones."""

_ROUNDING, _EQUAL = 1e-12, 1e-9
"""Differences of at most this share of the largest value are 0; statistics that differ by less than the other share of
themselves are equal."""


def permutation_tests(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], rng: np.random.Generator, statistic: str = "mean"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two-sided p value of the difference of means or medians at each of J points.

    The test is exact if both samples have the same distribution. If they have equal means but unequal spread:

    - "mean" permutes Welch's statistic, the difference of means divided by its standard error. Its level is right for
      many seeds, and too high where the sample with few seeds has the larger spread (`docs/analysis.md` has rates).
      With n = m the order of the ways is that of the plain difference, so the p values are the same.
    - "median" permutes the plain difference of medians, and tests that the distributions are equal, no less.

    A standard error of 0 makes Welch's statistic infinite, and 0 if the means are equal too.

    Args:
        first: J arrays, each of shape (n,), without NaN; n may differ between points.
        second: the same of the second sample, (m,).
        rng: for random arrangements, where there are more than `MAX_ARRANGEMENTS`.
        statistic: "mean" or "median".

    Returns:
        p and the smallest p, each (J,); NaN where a sample has fewer than two values, so that its spread is unknown, or
        an infinite one.

    Source: Pitman, "Significance tests which may be applied to samples from any populations", Supplement to the JRSS 4
    (1937); Janssen, "Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens-Fisher
    problem", Statistics and Probability Letters 36 (1997); Chung and Romano, "Exact and asymptotically robust
    permutation tests", Annals of Statistics 41 (2013).
    """
    distance_of = {"mean": _welch, "median": _between_medians}[statistic]
    drawn: dict[tuple[int, int], np.ndarray] = {}
    p, smallest = np.full((2, len(first)), np.nan)
    for point, (a, b) in enumerate(zip(first, second, strict=True)):
        values = np.concatenate([a, b])
        if min(len(a), len(b)) < 2 or not np.isfinite(values).all():
            continue
        size = len(a), len(b)
        if size not in drawn:
            drawn[size] = _all_orders(*size) if comb(sum(size), len(a)) <= MAX_ARRANGEMENTS else _orders(rng, *size)
        dealt = values[drawn[size]]
        distance = distance_of(dealt[:, : len(a)], dealt[:, len(a) :], _ROUNDING * np.abs(values).max())
        p[point] = (distance >= distance[0] * (1 - _EQUAL)).mean()
        smallest[point] = (distance >= distance.max() * (1 - _EQUAL)).mean()
    return p, smallest


def _welch(first: np.ndarray, second: np.ndarray, rounding: float) -> np.ndarray:
    """Return the absolute difference of means in standard errors, (ways,), of samples (ways, n) and (ways, m).

    Differences of at most `rounding` are 0, and so are such standard errors.
    """
    centre = np.concatenate([first[0], second[0]]).mean()  # keeps the digits of a small difference of large values
    first, second = first - centre, second - centre
    difference = np.abs(second.mean(axis=1) - first.mean(axis=1))
    error = np.sqrt(sum(one.var(axis=1, ddof=1) / one.shape[1] for one in (first, second)))
    ratio = np.full(len(difference), np.inf)
    np.divide(difference, error, out=ratio, where=error > rounding)
    return np.where(difference > rounding, ratio, 0.0)


def _between_medians(first: np.ndarray, second: np.ndarray, rounding: float) -> np.ndarray:
    """Return the absolute difference of medians, (ways,), of samples (ways, n) and (ways, m); 0 up to `rounding`."""
    difference = np.abs(np.median(second, axis=1) - np.median(first, axis=1))
    return np.where(difference > rounding, difference, 0.0)


@cache
def share_test(successes: tuple[int, int], trials: tuple[int, int]) -> tuple[float, float]:
    """Return the two-sided mid-p value of Fisher's exact test that two shares are equal, and the smallest one.

    Both tails count: all tables with the same totals whose shares differ by more, and half of those whose shares differ
    by as much. Fisher's p, with all of these, errs far less often than it says where seeds are few. The mid-p is close
    to its level, but unlike Fisher's p it is not guaranteed to stay below it. NaN without trials.

    Args:
        successes: k of the first and of the second sample.
        trials: n and m.

    Source: Lancaster, "Significance tests in discrete distributions", JASA 56 (1961); Lydersen, Fagerland and Laake,
    "Recommended tests for association in 2x2 tables", Statistics in Medicine 28 (2009).
    """
    (n, m), total = trials, sum(successes)
    if not (n and m):
        return np.nan, np.nan
    ks = np.arange(max(0, total - m), min(n, total) + 1)
    ways = np.array([comb(n, int(k)) * comb(m, total - int(k)) for k in ks], object)
    distance = np.abs(ks * m - (total - ks) * n)  # |k / n - (total - k) / m| times n m, exact
    observed, largest = abs(successes[0] * m - successes[1] * n), distance.max()
    if not largest:
        return 1.0, 1.0
    mid = ways[distance > observed].sum() + ways[distance == observed].sum() / 2
    return float(mid / ways.sum()), float(ways[distance == largest].sum() / 2 / ways.sum())


def q_values(p: np.ndarray, smallest: np.ndarray, rate: float = FALSE_DISCOVERIES) -> np.ndarray:
    """Return q values (Benjamini and Hochberg) over the points that could be significant alone.

    A point at which all seeds agree, or that has too few of them, cannot reach p <= `rate` however its seeds fall. It
    is not tested, and does not count among the tests that the others are corrected for. So q depends on `rate`, and is
    to be compared with this rate only.

    Gilbert keeps fewer points: those with smallest <= rate / K, with Tarone's K, the smallest number such that at most
    K points qualify. Here all with smallest <= rate stay, which usually corrects for more tests.

    Args:
        p: (J,).
        smallest: (J,) the smallest p of each point.
        rate: the share of false discoveries to allow.

    Returns:
        (J,); NaN where a point is not tested. Calling points with q <= rate different bounds the expected share of
        false ones among them by `rate`, if p values are valid and independent or positively dependent.

    Source: Gilbert, "A modified false discovery rate multiple-comparisons procedure for discrete data", Applied
    Statistics 54 (2005); Benjamini and Yekutieli, "The control of the false discovery rate in multiple testing under
    dependency", Annals of Statistics 29 (2001).
    """
    return benjamini_hochberg(np.where(smallest <= rate, p, np.nan))


@cache
def _all_orders(n: int, m: int) -> np.ndarray:
    """Return the ways to deal out n + m seeds, (ways, n + m) indices, the first sample first; the first is as it is."""
    chosen = np.array(list(combinations(range(n + m), n))).reshape(-1, n)
    rest = np.ones((len(chosen), n + m), bool)
    np.put_along_axis(rest, chosen, False, axis=1)
    return np.hstack([chosen, np.nonzero(rest)[1].reshape(-1, m)])


def _orders(rng: np.random.Generator, n: int, m: int) -> np.ndarray:
    """Return random ways to deal out n + m seeds, after that in which they are."""
    orders = rng.permuted(np.tile(np.arange(n + m), (MAX_ARRANGEMENTS + 1, 1)), axis=1)
    orders[0] = np.arange(n + m)
    return orders
