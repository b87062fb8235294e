"""Fisher's exact test for many counts at once.

SciPy has it too. `import scipy.stats` takes longer than a map needs for everything that it tests.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

_MAX_TABLE = 4_000_000
"""Probabilities in memory at a time."""

_SLACK = 1 + 1e-7
"""Probabilities count as equal within this factor, as in SciPy."""


def fisher(
    k: npt.ArrayLike,
    m: npt.ArrayLike,
    fresh_k: npt.ArrayLike,
    fresh_n: npt.ArrayLike,
    alternative: str = "greater",
) -> np.ndarray:
    """Return the p value of Fisher's exact test that late tasks and fresh networks fail equally often.

    Args:
        k: failed late tasks, any shape.
        m: late tasks, a shape that broadcasts with it, as do the others.
        fresh_k: fresh networks that failed.
        fresh_n: fresh networks.
        alternative: "greater" for the probability of at least k failures among the late tasks, given the total;
            "two-sided" for that of all counts that are not more likely than k.

    Returns:
        The same as `scipy.stats.fisher_exact` of each table.

    Source: Fisher, "Statistical Methods for Research Workers", section 21.02 (1934).
    """
    k, m, fresh_k, fresh_n = np.broadcast_arrays(*(np.asarray(count, int) for count in (k, m, fresh_k, fresh_n)))
    p = np.empty(k.shape)
    designs = m * (fresh_n.max(initial=0) + 1) + fresh_n
    for design in np.unique(designs):
        some = designs == design
        tasks, networks = int(m[some][0]), int(fresh_n[some][0])
        p[some] = _of_design(k[some], k[some] + fresh_k[some], tasks, networks, alternative)
    return p


def _of_design(k: np.ndarray, total: np.ndarray, m: int, fresh_n: int, alternative: str) -> np.ndarray:
    """Return the p values of k of `total` failures, both (n,), for one number of tasks and of networks."""
    totals, place = np.unique(total, return_inverse=True)
    step = max(1, _MAX_TABLE // (m + 1))
    p = np.empty(len(k))
    for first in range(0, len(totals), step):
        here = (place >= first) & (place < first + step)
        table = _given_totals(m, fresh_n, totals[first : first + step], alternative)
        p[here] = table[k[here], place[here] - first]
    return p


def _given_totals(m: int, fresh_n: int, totals: np.ndarray, alternative: str) -> np.ndarray:
    """Return the p value of each number of failed tasks, given each total: (m + 1, totals)."""

    def log_choose(n: int, r: np.ndarray) -> np.ndarray:
        return np.asarray(gammaln(n + 1) - gammaln(r + 1) - gammaln(n - r + 1))

    k = np.arange(m + 1)[:, None]
    K = totals - k
    inside = np.clip(K, 0, fresh_n)
    logs = log_choose(m, k) + log_choose(fresh_n, inside) - log_choose(m + fresh_n, totals)
    probability = np.where(inside == K, np.exp(logs), 0.0)
    if alternative == "greater":
        p = np.cumsum(probability[::-1], axis=0)[::-1]
    else:
        ranked = np.sort(probability, axis=0)
        sums = np.cumsum(ranked, axis=0)
        p = np.empty_like(probability)
        for column, own in enumerate(ranked.T):
            last = np.searchsorted(own, probability[:, column] * _SLACK, side="right") - 1
            p[:, column] = sums[last, column]
    return np.minimum(p, 1.0)
