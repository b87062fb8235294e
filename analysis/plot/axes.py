"""The values along a map's axis: how they are spaced, and where one value's area ends and the next begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DRAWABLE = 1e100
_REGULAR = 0.75
"""An axis is to scale if the standard deviation of its steps is at most this share of their mean."""


@dataclass(frozen=True)
class Axis:
    """How n sorted distinct values lie along a map's axis.

    Attributes:
        values: (n,) the values.
        scale: "linear", "log", or "index": side by side, not to scale.
        positions: (n,) where each value's tick is: the value itself, or its number for "index".
        edges: (n + 1,) borders of the values' areas, increasing.
    """

    values: np.ndarray
    scale: str
    positions: np.ndarray
    edges: np.ndarray


def lay_out(values: np.ndarray) -> Axis:
    """Choose the scale on which sorted distinct values are spaced most evenly; "index" if that is not even at all.

    One or two values, and values that are not all positive, are never "log". Values that are too large to be drawn to
    scale, or too close to each other, are "index".
    """
    borders = edges(values) if np.abs(values).max() <= _DRAWABLE else np.zeros(1)
    linearly = Axis(values, "linear", values, borders)
    to_scale = len(borders) > 1 and bool((np.diff(borders) > 0).all())
    if len(values) < 3 and to_scale:
        return linearly
    logs = np.log(values) if values[0] > 0 else None
    linear = _unevenness(values) if to_scale else np.inf
    log = _unevenness(logs) if logs is not None and len(values) > 2 else np.inf
    if min(linear, log) > _REGULAR:
        numbers = np.arange(len(values), dtype=float)
        return Axis(values, "index", numbers, edges(numbers))
    if logs is not None and log < linear:
        return Axis(values, "log", values, np.exp(edges(logs)))
    return linearly


def edges(values: np.ndarray) -> np.ndarray:
    """Borders of the areas around sorted distinct values: the midpoints, and half a step outside.

    Args:
        values: shape (n,), n at least 1.

    Returns:
        Shape (n + 1,), increasing.
    """
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middle = values[:-1] + np.diff(values) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _unevenness(values: np.ndarray) -> float:
    """Standard deviation of the steps over their mean, 0 for even spacing; steps are scaled so as not to overflow."""
    steps = np.diff(values / np.abs(values).max())
    return float(steps.std() / steps.mean())
