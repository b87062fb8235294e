"""The boundary of the region where plasticity is lost: the contour P(lost) = 1/2 between the points of a map."""

from __future__ import annotations

from typing import Any

import numpy as np
from contourpy import contour_generator

from analysis.plot.axes import Axis


def boundary(share: np.ndarray, x_axis: Axis, y_axis: Axis, level: float = 0.5) -> list[np.ndarray]:
    """Where a share that is known at the grid points passes a level, interpolated linearly between them.

    On a logarithmic axis it is linear in the logarithm. Beyond the outermost points, up to the map's frame, the share
    is taken to be theirs. Nothing is drawn beside points where the share is NaN.

    Args:
        share: (values of y, values of x).
        across: the horizontal axis.
        up: the vertical axis.
        level: the share.

    Returns:
        Lines, each of shape (points, 2), in the axes' own coordinates.
    """
    padded = np.pad(share, 1, mode="edge")
    generator = contour_generator(
        _padded(x_axis), _padded(y_axis), np.ma.masked_invalid(padded), corner_mask=True, name="serial"
    )
    lines: Any = generator.lines(level)
    seen = [line for line in lines if np.ptp(line, axis=0).any()]  # a point that just touches the level makes no line
    return [np.column_stack([_back(line[:, 0], x_axis), _back(line[:, 1], y_axis)]) for line in seen]


def _padded(axis: Axis) -> np.ndarray:
    """The points of an axis and its two ends, evenly drawn."""
    points = np.concatenate([axis.edges[:1], axis.positions, axis.edges[-1:]])
    return np.log(points) if axis.scale == "log" else points


def _back(values: np.ndarray, axis: Axis) -> np.ndarray:
    return np.exp(values) if axis.scale == "log" else values
