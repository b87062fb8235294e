"""The boundary of the region where plasticity is lost: a contour of P(lost) between the points of a map."""

from __future__ import annotations

from typing import Any

import numpy as np
from contourpy import contour_generator

from analysis.plot.axes import Axis, Grid


def boundary(share: np.ndarray, grid: Grid, level: float = 0.5) -> list[np.ndarray]:
    """Return where a share that is known at the grid points passes a level, interpolated linearly between them.

    On a logarithmic axis interpolation is linear in the logarithm. There is none between categories: each of them has
    lines of its own, across its area. Beyond the outermost points, up to the map's frame, the share is taken to be
    theirs. There are no lines beside points where the share is NaN.

    Args:
        share: (values of y, values of x).
        grid: the map's axes.
        level: the share.

    Returns:
        Lines, each of shape (points, 2), in the axes' own coordinates.
    """
    lines = []
    for rows in _slices(grid.y):
        for columns in _slices(grid.x):
            lines += _contours(share[rows, columns], Grid(_part(grid.x, columns), _part(grid.y, rows)), level)
    return lines


def _slices(axis: Axis) -> list[slice]:
    """Return the parts of an axis within which values can be interpolated."""
    if axis.scale != "category":
        return [slice(None)]
    return [slice(index, index + 1) for index in range(len(axis.values))]


def _part(axis: Axis, part: slice) -> Axis:
    if part == slice(None):
        return axis
    return Axis(axis.values[part], axis.scale, axis.positions[part], axis.edges[part.start : part.stop + 1])


def _contours(share: np.ndarray, grid: Grid, level: float) -> list[np.ndarray]:
    padded = np.pad(share, 1, mode="edge")
    generator = contour_generator(
        _padded(grid.x), _padded(grid.y), np.ma.masked_invalid(padded), corner_mask=True, name="serial"
    )
    lines: Any = generator.lines(level)
    visible = [line for line in lines if np.ptp(line, axis=0).any()]  # touching the level in a point makes no line
    return [np.column_stack([_back(line[:, 0], grid.x), _back(line[:, 1], grid.y)]) for line in visible]


def _padded(axis: Axis) -> np.ndarray:
    """Return the points of an axis and its two ends, in the coordinates in which interpolation is linear."""
    points = np.concatenate([axis.edges[:1], axis.positions, axis.edges[-1:]])
    return np.log(points) if axis.scale == "log" else points


def _back(values: np.ndarray, axis: Axis) -> np.ndarray:
    return np.exp(values) if axis.scale == "log" else values
