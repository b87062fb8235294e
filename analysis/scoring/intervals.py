"""Intervals for statements about few seeds.

SciPy has both of these (`binomtest(...).proportion_ci`, one sample at a time, and `bootstrap`, which takes an `axis`).
They are not used, because a command needs them once and `import scipy.stats` takes longer than the command's intervals:

    400 samples of 3 values, mean      here 0.03 s      SciPy 0.9 s to import, 0.01 s to compute
    3600 samples of 5 values, median   here 0.6 s       SciPy 0.9 s to import, 0.9 s to compute

`benchmarks/bootstrap.py` measures this. The tests compare with SciPy.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

MIN_SEEDS = 3
"""Points with fewer seeds are marked: near the edge of stability, few seeds are not evidence."""

MIN_SEEDS_CONTOUR = 4
"""Points with fewer seeds do not move the contours of the interval: Wilson's interval of 0 of 3 reaches to 56%."""

LEVEL = 0.95
"""Of all intervals, unless a caller chooses another one."""

RESAMPLES = 1000


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's score interval of a share.

        centre = (k + z^2/2) / (n + z^2)
        half   = z / (n + z^2) * sqrt(k (n - k) / n + z^2/4)

    Args:
        successes: k, any shape.
        trials: n, the same shape; 0 gives NaN, because nothing is known then.
        level: of the interval.

    Returns:
        Lower and upper end, in [0, 1], of the same shape.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    k, n = np.asarray(successes, float), np.asarray(trials, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (k + z * z / 2) / (n + z * z)
        half = z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
    low = np.where(k == 0, 0.0, centre - half)
    high = np.where(k == n, 1.0, centre + half)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def bootstrap(
    samples: np.ndarray,
    rng: np.random.Generator,
    statistic: str = "mean",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile bootstrap interval of the mean or median of each of m samples of the same size.

    With few values it is too narrow: with 3 normal values it contains the mean in some 75% of cases instead of 95%. A
    single value has no interval. All samples are resampled with the same indices.

    Args:
        samples: (m, n), without NaN. Infinities are allowed for the median only.
        rng: draws the indices.
        statistic: "mean" or "median".
        level: of the interval.
        resamples: number of resamples.

    Returns:
        Lower and upper end, each (m,); NaN for n below 2. The ends are values of the statistic in some resample, so
        that infinities are not interpolated.

    Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979).
    """
    count, size = samples.shape
    if size < 2:
        return np.full(count, np.nan), np.full(count, np.nan)
    drawn = rng.integers(0, size, (resamples, size))
    of: Any = {"mean": np.mean, "median": np.median}[statistic]
    statistics = np.stack([of(sample[drawn], axis=1) for sample in samples]) if count else np.empty((0, resamples))
    low = np.quantile(statistics, (1 - level) / 2, axis=1, method="lower")
    high = np.quantile(statistics, (1 + level) / 2, axis=1, method="higher")
    return low, high


Estimate = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A value with the lower and upper end of its interval, of one shape."""


def difference_interval(first: Estimate, second: Estimate) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of the difference of two independent estimates, from an interval of each.

        low  = (b - a) - sqrt((b - b_low)^2 + (a_high - a)^2)
        high = (b - a) + sqrt((b_high - b)^2 + (a - a_low)^2)

    For two shares with Wilson's intervals this is Newcombe's (1998).

    Args:
        first: a with its lower and upper end, any shape.
        second: b with its lower and upper end, the same shape.

    Returns:
        Lower and upper end for b - a.

    Source: Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    a, a_low, a_high = first
    b, b_low, b_high = second
    return b - a - np.hypot(b - b_low, a_high - a), b - a + np.hypot(b_high - b, a - a_low)
