"""Optional metrics of the loss as a function of the parameters, before the first update of a task."""

from __future__ import annotations

from collections.abc import Sequence

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.config import CellConfig
from lop_sweep.metrics.arrays import norm, sum_of_squares
from lop_sweep.metrics.metric import Observation, OptionalMetric
from lop_sweep.metrics.sharpness import PRODUCTS, largest_curvature
from lop_sweep.registry import register


@register("metric", "gradient_norm")
class GradientNorm(OptionalMetric):
    """2-norm of the loss's gradient by all parameters before the task's first update, on the points of that update."""

    label, logarithmic, late_statistic = "gradient norm at task start", True, "median"
    needs, gradients = frozenset(["gradient"]), 1
    cost = 2.5

    def compute(self, task: Observation) -> Array:
        """Return the norm, (P,)."""
        assert task.gradient is not None
        return norm(task.gradient)


@register("metric", "gradient_variance")
class GradientVariance(OptionalMetric):
    """Mean over the task's points of |g_i - mean g|^2 before its first update, g_i the point's gradient by W and b."""

    label, logarithmic, late_statistic = "gradient variance at task start", True, "median"
    needs, gradients = frozenset(["point_gradients"]), 1
    cost = 3.5

    def compute(self, task: Observation) -> Array:
        """Return the variance, (P,)."""
        assert task.point_gradients is not None
        return gradient_variance(task.point_gradients)


@register("metric", "sharpness")
class Sharpness(OptionalMetric):
    """Largest eigenvalue of the loss's Hessian by all parameters before the task's first update, on all its points."""

    label, late_statistic = "sharpness at task start", "median"
    needs, gradients = frozenset(["start", "gradient_at"]), 2 * PRODUCTS
    cost = 140

    def compute(self, task: Observation) -> Array:
        """Return `largest_curvature`, (P,)."""
        assert task.start is not None
        assert task.gradient_at is not None
        return largest_curvature(task.gradient_at, task.start)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return no bounds: at a maximum of the loss even the largest eigenvalue is negative."""
        return float("-inf"), float("inf")


def gradient_variance(point_gradients: Sequence[tuple[Array, Array]]) -> Array:
    """Return the variance of the points' gradients: the trace of their covariance, (P,).

    Formula: mean over points of |g_i|^2, minus |mean g_i|^2, with g_i = n (a_i^T e_i, e_i) over all layers. No point's
    gradient is made, because |a_i^T e_i|^2 = |a_i|^2 |e_i|^2. It covers weights and biases. Where points interact, as
    in batch normalisation, g_i is the point's share of the gradient. The variance of a single point is 0.

    Args:
        point_gradients: of each layer a, (P, n, fan_in), and e, (P, n, fan_out); see `Observation`.
    """
    xp = array_namespace(point_gradients[0][0])
    own, common = [], []
    for inputs, errors in point_gradients:
        a, e = xp.astype(inputs, xp.float64), xp.astype(errors, xp.float64) * inputs.shape[-2]
        squares = xp.sum(e * e, axis=-1)
        own.append(xp.mean((xp.sum(a * a, axis=-1) + 1) * squares, axis=-1))
        gradient = a.mT @ e / inputs.shape[-2]
        common.append(sum_of_squares(gradient) + sum_of_squares(xp.mean(e, axis=-2)))
    variance = xp.sum(xp.stack(own, axis=-1), axis=-1) - xp.sum(xp.stack(common, axis=-1), axis=-1)
    return xp.where(variance < 0, xp.zeros_like(variance), variance)  # by rounding, where all points agree
