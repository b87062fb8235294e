"""The axes of a surface: which are logarithmic or categories, and how they map to the unit cube."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lop_sweep.errors import AnalysisError, comma_list, safe_repr

SCALES = ("linear", "log", "category")
MAX_AXES = 4


@dataclass(frozen=True)
class Scaling:
    """A map from d axes to the unit cube.

    A category is a number that only says which one it is. Two different categories are one unit apart, so that their
    axis has a length like any other: a short one makes their surfaces independent.

    Attributes:
        scales: (d,) names in `SCALES`.
        low, high: (d,) the axes' ends; logarithms on logarithmic axes. Unused for categories.
    """

    scales: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray

    def coordinates(self, points: npt.ArrayLike) -> np.ndarray:
        """Return points, (N, d), in the unit cube; categories stay as they are.

        Raises:
            AnalysisError: wrong shape, NaN, infinity, or a value on a logarithmic axis that is not positive.
        """
        transformed = _transform(points, self.scales)
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        numeric = np.array([scale != "category" for scale in self.scales])
        return np.where(numeric, (transformed - self.low) / span, transformed)

    def squares(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the squared differences of coordinates, (A, d) and (B, d), along each axis, as (d, A, B)."""
        return np.stack(
            [
                np.not_equal.outer(a, b).astype(float) if scale == "category" else np.subtract.outer(a, b) ** 2
                for scale, a, b in zip(self.scales, first.T, second.T, strict=True)
            ]
        )


def scaling_of(points: npt.ArrayLike, scales: Sequence[str] | None = None) -> Scaling:
    """Return the scaling under which the points fill the unit cube.

    Args:
        points: (N, d).
        scales: one name in `SCALES` per axis; None for linear axes.

    Raises:
        AnalysisError: unknown scale, wrong shape, or a coordinate that cannot be used.
    """
    values = np.asarray(points, float)
    if values.ndim != 2 or not len(values) or not 1 <= values.shape[1] <= MAX_AXES:
        raise AnalysisError(
            f"`points` must have shape (N, d) with N > 0 and d from 1 to {MAX_AXES}, got {values.shape}"
        )
    chosen = ("linear",) * values.shape[1] if scales is None else tuple(scales)
    if len(chosen) != values.shape[1] or not set(chosen) <= set(SCALES):
        raise AnalysisError(
            f"`scales` must name one scale per axis, {values.shape[1]} in total, got {safe_repr(chosen)}; "
            f"choose from: {comma_list(SCALES)}"
        )
    transformed = _transform(values, chosen)
    return Scaling(chosen, transformed.min(axis=0), transformed.max(axis=0))


def _transform(points: npt.ArrayLike, scales: tuple[str, ...]) -> np.ndarray:
    values = np.array(points, float)
    if values.ndim != 2 or values.shape[1] != len(scales):
        raise AnalysisError(f"`points` must have shape (N, {len(scales)}), got {values.shape}")
    if not np.isfinite(values).all():
        raise AnalysisError("`points` must be finite, got NaN or infinity; leave these points out")
    for axis, scale in enumerate(scales):
        if scale == "log":
            if (values[:, axis] <= 0).any():
                raise AnalysisError(
                    f"`points` must be positive on a logarithmic axis, got {values[:, axis].min():g} on axis {axis}; "
                    "make it linear"
                )
            values[:, axis] = np.log(values[:, axis])
    return values
