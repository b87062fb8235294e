"""Whether two samples of seeds differ, without pairs: the tests behind the dots on a map of a difference.

    n, m       seeds of the first and of the second sample
    p          share of the ways to deal out the n + m seeds at which the samples differ as much as they do, or more
    smallest   the smallest p that these seeds allow, had they fallen otherwise
    mid-p      the same as p, with half the weight on ways at which they differ exactly as much

Dealing out the seeds anew needs no distribution, but that seeds of both samples have the same one is what is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from analysis.statistics.compare import FALSE_DISCOVERIES, benjamini_hochberg

MAX_ARRANGEMENTS = 20_000
"""Samples that can be dealt out in more ways are tested with this many random ones."""


def permutation_tests(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], rng: np.random.Generator, statistic: str = "mean"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two-sided p value of the difference of means or medians at each of J points.

    Args:
        first: J arrays, each of shape (n,), without NaN; n may differ between points.
        second: the same of the second sample, (m,).
        rng: for random arrangements, where there are more than `MAX_ARRANGEMENTS`.
        statistic: "mean" or "median".

    Returns:
        p and the smallest p, each (J,); NaN where a sample is empty or has an infinite value.

    Source: Pitman, "Significance tests which may be applied to samples from any populations", Supplement to the JRSS 4
    (1937).
    """
    of: Any = {"mean": np.mean, "median": np.median}[statistic]
    drawn: dict[tuple[int, int], np.ndarray] = {}
    p, smallest = np.full((2, len(first)), np.nan)
    for point, (a, b) in enumerate(zip(first, second, strict=True)):
        values = np.concatenate([a, b])
        if not (len(a) and len(b) and np.isfinite(values).all()):
            continue
        size = len(a), len(b)
        if size not in drawn:
            drawn[size] = _all_orders(*size) if comb(sum(size), len(a)) <= MAX_ARRANGEMENTS else _orders(rng, *size)
        dealt = values[drawn[size]]
        distance = np.abs(of(dealt[:, len(a) :], axis=1) - of(dealt[:, : len(a)], axis=1))
        rounding = 1e-12 * np.abs(values).max()
        p[point] = (distance >= distance[0] - rounding).mean()
        smallest[point] = (distance >= distance.max() - rounding).mean()
    return p, smallest


@cache
def share_test(successes: tuple[int, int], trials: tuple[int, int]) -> tuple[float, float]:
    """Return the two-sided mid-p value of Fisher's exact test that two shares are equal, and the smallest one.

    Both tails count: all tables with the same totals whose shares differ by more, and half of those whose shares differ
    by as much. Fisher's p, with all of these, errs far less often than it says where seeds are few; the mid-p does not
    exceed its level by much. NaN without trials.

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
    is not tested, and does not count among the tests that the others are corrected for.

    Args:
        p: (J,).
        smallest: (J,) the smallest p of each point.
        rate: the share of false discoveries to allow.

    Returns:
        (J,); NaN where a point is not tested.

    Source: Gilbert, "A modified false discovery rate multiple-comparisons procedure for discrete data", Applied
    Statistics 54 (2005).
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
