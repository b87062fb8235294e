"""How many tasks, fresh networks and seeds a difference needs: exact power of the test of failures, and sample sizes.

m, k    late tasks, failed late tasks
N, K    fresh networks, failed fresh networks
p, q    true failure rates of late tasks and of fresh networks
rho     correlation between the failures of one network's tasks
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from analysis.scoring import LossCriterion, fisher, rate_gap
from analysis.statistics.frames import check_share, require
from lop_sweep.errors import AnalysisError, comma_list

ALTERNATIVES: tuple[str, ...] = ("greater", "two-sided")
MAX_SIZE = 1000
"""The largest number of tasks or networks that is searched."""

_LONGEST_RUN = 3


@dataclass(frozen=True)
class RateTest:
    """The test that calls a cell lost: Fisher's exact test of k of m against K of N, and a minimum difference.

    Attributes:
        alpha: a cell is lost if p is below this, between 0 and 1.
        min_difference: and if k/m - K/N is at least this.
        alternative: "greater" (late tasks fail more often), or "two-sided".

    Raises:
        AnalysisError: a value is out of range.
    """

    alpha: float = LossCriterion.alpha
    min_difference: float = LossCriterion.difference
    alternative: str = "greater"

    def __post_init__(self) -> None:
        check_share("alpha", self.alpha)
        if not 0 <= self.min_difference < 1:
            raise AnalysisError(f"min_difference = {self.min_difference:g}: must be at least 0 and below 1")
        if self.alternative not in ALTERNATIVES:
            raise AnalysisError(f"alternative = {self.alternative!r}: must be one of {comma_list(ALTERNATIVES)}")

    def rejects(self, m: int, N: int) -> np.ndarray:
        """Return for which counts the test calls a cell lost, (m + 1, N + 1) booleans, rows k and columns K."""
        k, K = np.arange(m + 1)[:, None], np.arange(N + 1)[None, :]
        return (fisher(k, m, K, N, self.alternative) < self.alpha) & (rate_gap(k, m, K, N) >= self.min_difference)

    def power(self, p: float, q: float, m: int, N: int, rho: float = 0.0) -> float:
        """Return the probability that a cell is called lost. Where p equals q it is the rate of false positives.

        Args:
            p: failure rate of late tasks.
            q: failure rate of fresh networks.
            m: late tasks.
            N: fresh networks.
            rho: correlation between tasks, from 0 to below 1. Counts are then beta-binomial.

        Raises:
            AnalysisError: a value is out of range.
        """
        check_sizes(m, N)
        return float(_counts_of(p, m, rho) @ self.rejects(m, N) @ _counts_of(q, N, 0.0))


def power_table(
    late_rates: Iterable[float],
    fresh_rate: float,
    late_tasks: Iterable[int],
    fresh_networks: Iterable[int],
    *,
    test: RateTest | None = None,
    rho: float = 0.0,
) -> pd.DataFrame:
    """Return the power for a grid of rates and sizes.

    Args:
        late_rates: failure rates of late tasks.
        fresh_rate: failure rate of fresh networks.
        late_tasks: numbers of late tasks.
        fresh_networks: numbers of fresh networks, pooled over seeds.
        test: None for the default.
        rho: correlation between the tasks of one network.

    Returns:
        One row per combination: `late_rate`, `fresh_rate`, `late_tasks`, `fresh_networks`, `power`.

    Raises:
        AnalysisError: a value is out of range.
    """
    test = test or RateTest()
    rates, sizes = list(late_rates), list(fresh_networks)
    rows = [
        {"late_rate": p, "fresh_rate": fresh_rate, "late_tasks": m, "fresh_networks": N,
         "power": test.power(p, fresh_rate, m, N, rho)}
        for m in late_tasks for N in sizes for p in rates
    ]  # fmt: skip
    return pd.DataFrame(rows)


def needed_tasks(
    p: float, q: float, N: int, *, power: float = 0.8, test: RateTest | None = None, most: int = MAX_SIZE
) -> float:
    """Return the smallest number of late tasks that reaches a power and keeps it for the next sizes.

    The power of an exact test is a sawtooth in the size, so a single size may reach it by chance.

    Args:
        p: failure rate of late tasks.
        q: failure rate of fresh networks.
        N: fresh networks.
        power: to reach, between 0 and 1.
        test: None for the default.
        most: the largest number to try.

    Returns:
        A number of tasks, NaN if `most` do not suffice.

    Raises:
        AnalysisError: a value is out of range.
    """
    chosen = test or RateTest()
    return _smallest(lambda m: chosen.power(p, q, m, N), power, most)


def needed_fresh(
    p: float, q: float, m: int, *, power: float = 0.8, test: RateTest | None = None, most: int = MAX_SIZE
) -> float:
    """Return the smallest number of fresh networks that reaches a power; arguments as in `needed_tasks`."""
    chosen = test or RateTest()
    return _smallest(lambda N: chosen.power(p, q, m, N), power, most)


def needed_seeds(
    first: float, second: float, *, power: float = 0.8, alpha: float = 0.05, most: int = MAX_SIZE
) -> float:
    """Return the seeds per condition that tell two shares of lost networks at one point apart.

    Fisher's exact test, two-sided, of independent seeds.

    Args:
        first: share in one condition, from 0 to 1.
        second: share in the other.
        power: to reach, between 0 and 1.
        alpha: level of the test.
        most: the largest number to try.

    Returns:
        A number of seeds, NaN if `most` do not suffice.

    Raises:
        AnalysisError: a value is out of range.
    """
    check_share("alpha", alpha)

    def reached(n: int) -> float:
        counts = np.arange(n + 1)
        rejected = fisher(counts[:, None], n, counts, n, "two-sided") < alpha
        return float(_counts_of(first, n, 0.0) @ rejected @ _counts_of(second, n, 0.0))

    return _smallest(reached, power, most)


def needed_pairs(
    margin: float, discordant: float, *, power: float = 0.8, alpha: float = 0.05, difference: float = 0.0
) -> int:
    """Return the pairs of cells that an equivalence test of two shares of lost networks needs.

        n = (z_(1 - alpha) + z)^2 (discordant - difference^2) / (margin - |difference|)^2

    where z is the normal quantile of (1 + power) / 2 for a difference of 0, because both one-sided tests may fail, and
    of `power` otherwise.

    Args:
        margin: the largest difference that counts as none, between 0 and 1.
        discordant: share of pairs with different verdicts, above 0.
        power: to reach, between 0 and 1.
        alpha: level of the test.
        difference: the true difference of the shares, smaller than `margin`.

    Raises:
        AnalysisError: a value is out of range.

    Source: Liu, Hsueh, Hsieh and Chen, "Tests for equivalence or non-inferiority for paired binary data", Statistics in
    Medicine 21 (2002), for Wald's statistic.
    """
    for name, value in (("margin", margin), ("power", power), ("alpha", alpha)):
        check_share(name, value)
    if not 0 < discordant <= 1:
        raise AnalysisError(f"discordant = {discordant:g}: must be above 0 and at most 1")
    if abs(difference) >= margin or abs(difference) > discordant:
        raise AnalysisError(f"difference = {difference:g}: must be smaller than the margin, {margin:g}, and discordant")
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha) + normal.inv_cdf((1 + power) / 2 if difference == 0 else power)
    return math.ceil(z**2 * (discordant - difference**2) / (margin - abs(difference)) ** 2)


def sweep_power(
    scored: pd.DataFrame, difference: float, *, power: float = 0.8, test: RateTest | None = None
) -> pd.DataFrame:
    """Return what the design of a sweep can detect: its numbers of late tasks and fresh networks.

    Args:
        scored: from `score`, with `late_tasks`, `fresh_networks` and `fresh_failure_rate`.
        difference: of late over fresh failure rates, between 0 and 1.
        power: to reach, between 0 and 1.
        test: None for the default.

    Returns:
        One row per design: `late_tasks`, `fresh_networks`, `fresh_rate` (mean over its cells), `cells`, `late_rate`
        (capped at 1), `power`, `false_positives` (late tasks that fail as often as fresh networks), `needed_tasks`,
        `needed_fresh` (NaN where `MAX_SIZE` do not suffice).

    Raises:
        AnalysisError: a column is missing, a value is out of range, or no cell has a baseline.
    """
    check_share("difference", difference)
    require(scored, ["late_tasks", "fresh_networks", "fresh_failure_rate"])
    chosen = test or RateTest()
    frame = scored[(scored["fresh_networks"] > 0) & scored["fresh_failure_rate"].notna()]
    if frame.empty:
        raise AnalysisError("no cell has fresh networks to compare with; set fresh_baseline in the search space")
    rows = []
    sizes = frame[["late_tasks", "fresh_networks"]].to_numpy(int)
    for m, N in np.unique(sizes, axis=0).tolist():
        group = frame[(sizes == (m, N)).all(axis=1)]
        q = float(group["fresh_failure_rate"].mean())
        p = min(q + difference, 1.0)
        rows.append(
            {"late_tasks": m, "fresh_networks": N, "fresh_rate": q, "cells": len(group), "late_rate": p,
             "power": chosen.power(p, q, m, N), "false_positives": chosen.power(q, q, m, N),
             "needed_tasks": needed_tasks(p, q, N, power=power, test=chosen),
             "needed_fresh": needed_fresh(p, q, m, power=power, test=chosen)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def check_sizes(m: int, N: int) -> None:
    """Refuse numbers of tasks or networks below 1.

    Raises:
        AnalysisError: one is.
    """
    if m < 1 or N < 1:
        raise AnalysisError(f"late tasks = {m}, fresh networks = {N}: must be at least 1")


def _counts_of(rate: float, n: int, rho: float) -> np.ndarray:
    """Return the probabilities of 0 to n failures, (n + 1,): binomial, or beta-binomial for a correlation."""
    from scipy.stats import betabinom, binom

    if not 0 <= rate <= 1:
        raise AnalysisError(f"failure rate = {rate:g}: must be from 0 to 1")
    if not 0 <= rho < 1:
        raise AnalysisError(f"rho = {rho:g}: must be at least 0 and below 1")
    counts = np.arange(n + 1)
    if rho == 0 or rate in (0, 1):
        return binom.pmf(counts, n, rate)
    size = 1 / rho - 1
    return betabinom.pmf(counts, n, rate * size, (1 - rate) * size)


def _smallest(power_of: Callable[[int], float], power: float, most: int) -> float:
    """Return the first size of `_LONGEST_RUN` in a row that reach a power; NaN if none does up to `most`."""
    check_share("power", power)
    low, high = 1, 8
    while high < most and power_of(high) < power:
        low, high = high, min(2 * high, most)
    run = 0
    for size in range(low, min(high + _LONGEST_RUN, most) + 1):
        run = run + 1 if power_of(size) >= power else 0
        if run == _LONGEST_RUN:
            return float(size - _LONGEST_RUN + 1)
    return np.nan
