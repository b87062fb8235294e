"""Late tasks of a network against its control: a fresh network that was trained on the same points.

Of m late tasks with a control, b are *worse* (the network failed by the control's loss) and c are *better* (the control
failed by the network's). If training has changed nothing, the two networks are exchangeable on each task, and b is
binomial with probability 1/2 given b + c: the sign test, or McNemar's. Hard tasks, which both fail, do not count. The
level holds for any distribution of losses, and for tasks of any difficulty.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from analysis.scoring.failures import CONFIDENCE
from analysis.scoring.intervals import wilson
from lop_sweep.failures import exceeds


def compare_pairs(
    losses: np.ndarray, controls: np.ndarray, margin: float, factor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of tasks with a control, and of those that are worse and better: m, b and c.

    Args:
        losses: (n, T) nats.
        controls: (n, T) losses of the controls, NaN where there is none or it diverged. These tasks do not count.
        margin: nats by which one must exceed the other.
        factor: a ratio by which it must, too.
    """
    pairs = (~np.isnan(controls) & ~np.isnan(losses)).sum(axis=1)
    worse = exceeds(losses, controls, margin, factor).sum(axis=1)
    return pairs, worse, exceeds(controls, losses, margin, factor).sum(axis=1)


def mean_difference(losses: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Return the mean of loss minus control over the tasks with a control: (n, T) to (n,), NaN where there is none."""
    differences = losses - controls
    known = ~np.isnan(differences)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, differences, 0).sum(axis=1) / known.sum(axis=1))


def sign_test(worse: npt.ArrayLike, better: npt.ArrayLike) -> np.ndarray:
    """Return the one-sided p value of the sign test: the probability of at least b of b + c for a fair coin."""
    b, c = np.broadcast_arrays(np.asarray(worse, float), np.asarray(better, float))
    return np.where(b > 0, betainc(np.maximum(b, 1), c + 1, 0.5), 1.0)


def gap_bound(pairs: npt.ArrayLike, worse: npt.ArrayLike, better: npt.ArrayLike) -> np.ndarray:
    """Return the upper bound of the share of worse tasks minus that of better ones, one-sided.

        (p - q) + sqrt(u^2 - 2 r u l + l^2),  p = b / m,  q = c / m,  u = p_high - p,  l = q - q_low

    with Wilson's one-sided bounds p_high and q_low, and r = -sqrt(p q / ((1 - p) (1 - q))), the correlation of two
    shares of one multinomial sample.

    Args:
        pairs: m; NaN is returned where it is 0.
        worse: b.
        better: c.

    Source: Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    m, b, c = np.broadcast_arrays(*(np.asarray(count, float) for count in (pairs, worse, better)))
    level = 2 * CONFIDENCE - 1  # of the two-sided interval with this upper bound
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = b / m, c / m
        above, below = wilson(b, m, level)[1] - p, q - wilson(c, m, level)[0]
        opposed = np.where((b == m) | (c == m), 0.0, np.sqrt(p * q / ((1 - p) * (1 - q))))
        return np.asarray(p - q + np.sqrt(above**2 + 2 * opposed * above * below + below**2))


def shows_loss(
    pairs: npt.ArrayLike, worse: npt.ArrayLike, better: npt.ArrayLike, alpha: float, difference: float
) -> np.ndarray:
    """Return whether counts show a loss: the test rejects, and the shares differ by at least `difference`."""
    m, b, c = np.broadcast_arrays(*(np.asarray(count, int) for count in (pairs, worse, better)))
    gap = np.round((b - c) / np.maximum(m, 1), 12)  # so that 3/25 - 1/50 is not below 0.1
    return np.asarray((sign_test(b, c) < alpha) & (gap >= difference))


def excludes_loss(pairs: npt.ArrayLike, worse: npt.ArrayLike, better: npt.ArrayLike, difference: float) -> np.ndarray:
    """Return whether counts exclude a loss: the upper bound of the difference is below `difference`."""
    return np.asarray(gap_bound(pairs, worse, better) < difference)


def paired_tables(pairs: int, alpha: float, difference: float) -> tuple[np.ndarray, np.ndarray]:
    """Return verdicts by counts: from how many worse tasks on there is a loss, and up to how many it is excluded.

    Returns:
        Two arrays of integers with an entry for each m from 0 to `pairs` and each c from 0 to m: the smallest b that
        shows a loss, m + 1 if none does, and the largest that excludes one, -1 if none does.
    """
    m = np.repeat(np.arange(pairs + 1), np.arange(1, pairs + 2))
    c = np.concatenate([np.arange(one + 1) for one in range(pairs + 1)])
    lost = _first(m, c, lambda b: shows_loss(m, b, c, alpha, difference))
    return lost, _first(m, c, lambda b: ~excludes_loss(m, b, c, difference)) - 1


def _first(m: np.ndarray, c: np.ndarray, holds: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the smallest b up to m - c for which a condition holds, as it does for all larger ones, else m + 1."""
    low, high = np.zeros_like(m), m - c + 1
    while (low < high).any():
        middle = (low + high) // 2
        found = holds(np.minimum(middle, m - c))
        high, low = np.where(found & (low < high), middle, high), np.where(found | (low >= high), low, middle + 1)
    return np.where(high > m - c, m + 1, high)
