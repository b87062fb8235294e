"""Where a function on a grid is 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from contourpy import contour_generator


def zero_lines(values: np.ndarray, drawn: np.ndarray) -> list[np.ndarray]:
    """Return the lines along which values are 0, interpolated linearly.

    Args:
        values: (I, J) without zeros.
        drawn: (I, J) booleans; squares with a corner that is not drawn have no line.

    Returns:
        Connected lines, each (points, 2), as fractional indices of the grid. A closed line ends where it starts.
    """
    visible = np.ma.masked_array(values, ~drawn)
    lines: Any = contour_generator(z=visible, name="serial", corner_mask=False).lines(0.0)
    return [line[:, ::-1] for line in lines]


def zero_points(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return where values on a line, (I,), are 0, as fractional indices."""
    between = np.flatnonzero(((values[1:] > 0) != (values[:-1] > 0)) & drawn[1:] & drawn[:-1])
    return between + values[between] / (values[between] - values[between + 1])
