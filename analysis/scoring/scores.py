"""Loss-of-plasticity scores of task sequences: pure functions on arrays of shape (n, T), n networks and T tasks.

    late      the last W tasks
    early     the first E tasks
    fresh     mean CE of the fresh baseline: networks with new weights, each on a task of its own; shape (n,)
    excess    CE - fresh; above 0, a network learns worse than a fresh one

Losses are in nats. Task numbers count from 1, as floats, NaN for "never". A sequence with a NaN in it, because it
diverged, has NaN for every score over all of its tasks.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

CHANCE_CE = math.log(2)
"""Cross-entropy, in nats, of predicting 1/2 for every input."""

MAX_POINTS = 200
"""Longer sequences are averaged to this many points before slopes are taken, whose number grows with the square."""

MAX_PAIRS = 4_000_000
"""Slopes in memory at a time."""


def late_mean(values: np.ndarray, last: int) -> np.ndarray:
    """Return the mean over the last tasks: `mean(v_t, t > T - W)`, over all of them if `last` exceeds T.

    Args:
        values: (n, T).
        last: W, at least 1.

    Returns:
        (n,).
    """
    return values[:, -last:].mean(axis=1)


def late_median(values: np.ndarray, last: int) -> np.ndarray:
    """Return the median over the last tasks. Arguments and result as in `late_mean`."""
    return np.median(values[:, -last:], axis=1)


def late_mean_of_known(values: np.ndarray, last: int) -> np.ndarray:
    """Return the mean over those of the last tasks that have a value, NaN where none has. As `late_mean` otherwise."""
    late = values[:, -last:]
    known = ~np.isnan(late)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, late, 0).sum(axis=1) / known.sum(axis=1))


def median_of_known(values: np.ndarray) -> np.ndarray:
    """Return the median over the tasks that have a value: (n, T) to (n,), NaN where none has."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    ordered = np.sort(np.where(known, values, np.inf), axis=1)
    row = np.arange(len(values))
    middle = (
        ordered[row, np.maximum(count - 1, 0) // 2] + ordered[row, np.minimum(count // 2, values.shape[1] - 1)]
    ) / 2
    return np.where(count > 0, middle, np.nan)


def early_mean(values: np.ndarray, first: int) -> np.ndarray:
    """Return the mean over the first tasks: `mean(v_t, t <= E)`. Arguments and result as in `late_mean`."""
    return values[:, :first].mean(axis=1)


def log_ratio(late: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Return `log10(late / fresh)`: 0 for as good as fresh, 1 for ten times the loss.

    A loss of exactly 0 gives -inf or inf, and two of them NaN.

    Args:
        late: (n,) nats.
        fresh: (n,) nats.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(late / fresh)


def area(values: np.ndarray) -> np.ndarray:
    """Return the area under a curve over tasks, each of width 1: `sum(v_t)`, in the values' unit times tasks.

    The area of the excess is the loss of the whole sequence against fresh networks. It is negative for a gain. The area
    of the CE is its total cost.

    Args:
        values: (n, T).

    Returns:
        (n,).
    """
    return values.sum(axis=1)


def onset(condition: np.ndarray, hold: int) -> np.ndarray:
    """Return the first task from which a condition holds for `hold` tasks in a row.

    Right-censored: NaN means that this did not happen within the T tasks, and may happen later. A condition that begins
    to hold fewer than `hold` tasks before the end has not been observed.

    Args:
        condition: (n, T) booleans.
        hold: m, at least 1.

    Returns:
        (n,) task numbers from 1, NaN for never.
    """
    n, tasks = condition.shape
    if hold > tasks:
        return np.full(n, np.nan)
    counts = np.concatenate([np.zeros((n, 1), np.int64), np.cumsum(condition, axis=1)], axis=1)
    held = counts[:, hold:] - counts[:, :-hold] == hold
    return np.where(held.any(axis=1), held.argmax(axis=1) + 1.0, np.nan)


def recovery(condition: np.ndarray, since: np.ndarray, hold: int) -> np.ndarray:
    """Return the first task after an onset from which the condition fails for `hold` tasks in a row.

    Args:
        condition: (n, T) booleans, False where undefined. So a sequence that diverges seems to recover.
        since: (n,) onsets, NaN for never.
        hold: m, at least 1.

    Returns:
        (n,) task numbers from 1, NaN for never and where there was no onset.
    """
    task = np.arange(1, condition.shape[1] + 1)
    return onset(~condition & (task > since[:, None]), hold)


def lost_state(condition: np.ndarray, hold: int, recover: int) -> np.ndarray:
    """Return at which tasks a network is in a loss: from an onset until a recovery, as often as it relapses.

    A loss begins with `hold` tasks in a row at which the condition holds, and ends with `recover` tasks in a row at
    which it fails. Each counts from the first of these tasks.

    Args:
        condition: (n, T) booleans, False where undefined.
        hold: at least 1.
        recover: at least 1.

    Returns:
        (n, T) booleans.
    """
    n, tasks = condition.shape
    within, run = np.zeros(n, bool), np.zeros(n, int)
    turns = np.zeros((n, tasks), bool)
    for task in range(tasks):
        run = np.where(condition[:, task] != within, run + 1, 0)
        turned = run >= np.where(within, recover, hold)
        turns[turned, task + 1 - run[turned]] = True
        within, run = within ^ turned, np.where(turned, 0, run)
    return np.cumsum(turns, axis=1) % 2 == 1


def collapse(values: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the lost share of a metric, `1 - late / early`: 0 for no change, 1 for all, negative for growth.

    NaN where the early mean is 0. Used for the effective rank.

    Args:
        values: (n, T).
        first: early tasks.
        last: late tasks.

    Returns:
        (n,).
    """
    early = early_mean(values, first)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(early == 0, np.nan, 1 - late_mean(values, last) / early)


def growth(values: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the late mean minus the early mean, for shares. Arguments as in `collapse`."""
    return late_mean(values, last) - early_mean(values, first)


def theil_sen(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the Theil-Sen slope over tasks, the median slope of all pairs of tasks, with a confidence interval.

    It is robust against single bad tasks. The interval is Sen's (1968), from the normal approximation of Kendall's tau.
    It assumes independent tasks given the trend, and does not correct for ties. More than `MAX_POINTS` tasks are first
    averaged in blocks of equal length. The last tasks, which fill no block, are left out.

    Args:
        values: (n, T).
        level: of the interval.

    Returns:
        Slope, lower and upper end, each (n,), in the values' unit per task. NaN for sequences with a NaN or of fewer
        than 2 tasks. The ends are NaN where there are too few tasks for the level: at 95%, fewer than 5.

    Source: Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968); the same as
    `scipy.stats.theilslopes`.
    """
    block = math.ceil(values.shape[1] / MAX_POINTS)
    points = values.shape[1] // block
    values = values[:, : points * block].reshape(len(values), points, block).mean(axis=2)
    result = np.full((3, len(values)), np.nan)
    pairs = points * (points - 1) // 2
    if pairs:
        whole = np.flatnonzero(np.isfinite(values).all(axis=1))
        for some in np.array_split(whole, max(1, math.ceil(len(whole) * pairs / MAX_PAIRS))):
            result[:, some] = _slopes(values[some], level)
    slope, low, high = result / block
    return slope, low, high


def _slopes(values: np.ndarray, level: float) -> np.ndarray:
    """Return median, lower and upper end of the slopes of all pairs, shape (3, n)."""
    points = values.shape[1]
    slopes = np.concatenate([(values[:, lag:] - values[:, :-lag]) / lag for lag in range(1, points)], axis=1)
    pairs = slopes.shape[1]
    spread = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(points * (points - 1) * (2 * points + 5) / 18)
    low, high = round((pairs - spread) / 2) - 1, round((pairs + spread) / 2)
    middle, ends = [(pairs - 1) // 2, pairs // 2], [low, high] if low >= 0 and high < pairs else []
    slopes.partition([*middle, *ends], axis=1)
    interval = slopes[:, ends] if ends else np.full((len(slopes), 2), np.nan)
    return np.stack([slopes[:, middle].mean(axis=1), *interval.T])
