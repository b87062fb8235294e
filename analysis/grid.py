"""The values along a map's axis: how they are spaced, and where one value's area ends and the next begins."""

from __future__ import annotations

import numpy as np


def is_log_spaced(values: np.ndarray) -> bool:
    """Whether sorted distinct values are spaced more evenly on a logarithmic axis than on a linear one.

    With fewer than three values, or values that are not positive, the axis is linear.
    """
    if len(values) < 3 or values[0] <= 0:
        return False
    return _unevenness(np.log(values)) < _unevenness(values)


def edges(values: np.ndarray, log: bool) -> np.ndarray:
    """Borders of the areas around sorted distinct values: midpoints (geometric if `log`), and half a step outside.

    Args:
        values: shape (n,), n at least 1.
        log: whether the axis is logarithmic.

    Returns:
        Shape (n + 1,), increasing.
    """
    if log:
        return np.exp(edges(np.log(values), log=False))
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middle = (values[:-1] + values[1:]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _unevenness(values: np.ndarray) -> float:
    steps = np.diff(values)
    return float(steps.std() / steps.mean())
