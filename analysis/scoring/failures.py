"""Failed tasks, and whether a network fails on more of them than fresh networks do.

Losses of tasks are heavy-tailed: one large loss can raise a mean above any threshold. So a network is judged by how
often it fails. k of its m late tasks failed, and K of N fresh networks did. If training has changed nothing, all m + N
losses are exchangeable, and k is hypergeometric given k + K: Fisher's exact test, whose level holds for any
distribution of losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.scoring.exact import fisher
from analysis.scoring.intervals import difference_interval, wilson
from lop_sweep.config import FIELDS
from lop_sweep.failures import exceeds

CONFIDENCE = 0.95
"""Of the one-sided bound by which "plastic" excludes a loss."""


def failed(losses: np.ndarray, fresh: np.ndarray, margin: float, factor: float) -> np.ndarray:
    """Return which losses are those of a failed task: `loss - fresh > margin` and `loss > factor * fresh`.

    Args:
        losses: (n, T) nats.
        fresh: (n,) median loss of the fresh networks, nats.
        margin: nats.
        factor: a ratio.

    Returns:
        (n, T) booleans, False where anything is NaN.
    """
    return exceeds(losses, fresh[:, None], margin, factor)


@dataclass(frozen=True)
class FreshPool:
    """The fresh networks of each configuration, those of all its seeds together, which are exchangeable.

    Attributes:
        group: (cells,) the configuration of each cell, from 0.
        sizes: (G,) number of fresh networks of each configuration.
        medians: (G,) their median loss, nats; infinite where more than half diverged, NaN where there are none.
        losses: all losses, by configuration and then in ascending order; infinite for networks that diverged.
    """

    group: np.ndarray
    sizes: np.ndarray
    medians: np.ndarray
    losses: np.ndarray

    @classmethod
    def of(cls, cells: pd.DataFrame) -> FreshPool:
        """Pool the fresh networks of cells that differ only in their seed.

        Args:
            cells: with the configuration fields and `fresh_ce`, a list of losses (NaN: the network diverged).
        """
        fields = [name for name in FIELDS if name != "seed"]
        group = cells.groupby(fields, sort=False, dropna=False).ngroup().to_numpy()
        lists: Sequence[np.ndarray] = [np.asarray(losses, float) for losses in cells["fresh_ce"]]
        losses = np.concatenate([*lists, np.empty(0)])
        losses = np.where(np.isnan(losses), np.inf, losses)
        owner = np.repeat(group, [len(one) for one in lists])
        order = np.lexsort((losses, owner))
        sizes = np.bincount(owner, minlength=group.max(initial=-1) + 1)
        return cls(group, sizes, _medians(losses[order], sizes), losses[order])

    def failures(self, margin: float, factor: float) -> np.ndarray:
        """Return how many fresh networks of each configuration failed, (G,)."""
        medians = np.repeat(self.medians, self.sizes)
        beyond = failed(self.losses[:, None], medians, margin, factor)[:, 0] | np.isinf(self.losses)
        owner = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return np.bincount(owner[beyond], minlength=len(self.sizes))


def _medians(losses: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the median of each run of sorted losses; of an even number the mean of the two in the middle."""
    starts = np.cumsum(sizes) - sizes
    some = sizes > 0
    medians = np.full(len(sizes), np.nan)
    low, high = (starts[some] + (sizes[some] - 1) // 2, starts[some] + sizes[some] // 2)
    medians[some] = (losses[low] + losses[high]) / 2
    return medians


def excess_bound(
    k: npt.ArrayLike, m: npt.ArrayLike, fresh_k: npt.ArrayLike, fresh_n: npt.ArrayLike, confidence: float = CONFIDENCE
) -> np.ndarray:
    """Return the upper bound of the late failure rate minus that of fresh networks.

        (p - q) + sqrt((p_high - p)^2 + (q - q_low)^2),  p = k / m,  q = K / N

    with Wilson's one-sided bounds p_high and q_low.

    Args:
        k: failed late tasks, and m, fresh_k, fresh_n: as in `fisher`; NaN where m or fresh_n is 0.
        confidence: of the bound, one-sided.

    Source: Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine
    17 (1998), method 10.
    """
    k, m, fresh_k, fresh_n = (np.asarray(count, float) for count in (k, m, fresh_k, fresh_n))
    level = 2 * confidence - 1  # of the two-sided interval with this upper bound
    with np.errstate(divide="ignore", invalid="ignore"):
        fresh, late = (fresh_k / fresh_n, *wilson(fresh_k, fresh_n, level)), (k / m, *wilson(k, m, level))
    return difference_interval(fresh, late)[1]


def rate_gap(k: npt.ArrayLike, m: npt.ArrayLike, fresh_k: npt.ArrayLike, fresh_n: npt.ArrayLike) -> np.ndarray:
    """Return the late failure rate minus the fresh one, NaN where either is unknown; arguments as in `fisher`.

    It is rounded so that 3/25 - 1/50 is not below 0.1 by an error of rounding.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.round(np.divide(k, m) - np.divide(fresh_k, fresh_n), 12))


def lost_from(m: int, fresh_n: int, alpha: float, difference: float) -> np.ndarray:
    """Return the smallest number of failed late tasks that shows a loss, for each number of fresh networks that failed.

    A loss is shown if Fisher's test rejects at level `alpha`, and the rates differ by at least `difference`.

    Returns:
        (fresh_n + 1,) integers, m + 1 where no number of failures shows it.
    """
    fresh_k = np.arange(fresh_n + 1)
    low, high = np.zeros_like(fresh_k), np.full_like(fresh_k, m + 1)
    while (low < high).any():  # more failures show it the more
        k = (low + high) // 2
        some = np.minimum(k, m)
        shown = (fisher(some, m, fresh_k, fresh_n) < alpha) & (rate_gap(some, m, fresh_k, fresh_n) >= difference)
        high, low = np.where(shown & (low < high), k, high), np.where(shown | (low >= high), low, k + 1)
    return high


def plastic_to(m: int, fresh_n: int, difference: float) -> np.ndarray:
    """Return the largest number of failed late tasks that excludes a loss, for each number of fresh ones that failed.

    A loss is excluded if the upper bound of the difference between the rates is below `difference`.

    Returns:
        (fresh_n + 1,) integers, -1 where not even 0 failures exclude it.
    """
    k, fresh_k = np.arange(m + 1)[:, None], np.arange(fresh_n + 1)
    excluded = excess_bound(k, m, fresh_k, fresh_n) < difference
    return np.where(excluded.any(axis=0), m - excluded[::-1].argmax(axis=0), -1)
