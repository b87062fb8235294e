"""Optional metrics of units that do not take part: dead, dormant and frozen ones, as shares of each hidden layer."""

from __future__ import annotations

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.metrics.arrays import or_one
from lop_sweep.metrics.metric import Observation, ShareMetric
from lop_sweep.registry import register

DORMANT_SCORE = 0.1
"""Score up to which a feature counts as dormant."""
_NO_DIVISION_BY_ZERO = 1e-9
"""Added to the denominator of the score, as in the published code. Activations are first divided by their largest."""
FROZEN_SLOPE, FROZEN_SHARE = 0.05, 0.98
"""|slope| below which a point does not move a unit, and the share of such points above which the unit is frozen."""


@register("metric", "dead_units")
class DeadUnits(ShareMetric):
    """Share of each hidden layer's features that are 0 on all points of the task."""

    label, per_layer = "dead features", True

    def compute(self, task: Observation) -> Array:
        """Return `dead_units` of each layer, (P, depth)."""
        return dead_units(task.post)


@register("metric", "dormant_units")
class DormantUnits(ShareMetric):
    """Share of each hidden layer's features with mean |a| over points of at most 0.1 times the layer's mean of it."""

    label, per_layer = "dormant features", True

    def compute(self, task: Observation) -> Array:
        """Return `dormant_units` of each layer, (P, depth)."""
        return dormant_units(task.post)


@register("metric", "frozen_units")
class FrozenUnits(ShareMetric):
    """Share of each hidden layer's units with slope |f'(z)| < 0.05 on more than 98% of the task's points."""

    label, per_layer, needs = "frozen units", True, frozenset(["slopes"])
    cost = 0.7

    def compute(self, task: Observation) -> Array:
        """Return `frozen_units` of each layer, (P, depth)."""
        assert task.slopes is not None
        return frozen_units(task.slopes)


def dead_units(a: Array) -> Array:
    """Return the share of features that are 0 on all points: (..., n, h) to (...).

    Source: S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024.
    """
    xp = array_namespace(a)
    return xp.mean(xp.astype(xp.all(a == 0, axis=-2), xp.float64), axis=-1)


def dormant_units(a: Array, score: float = DORMANT_SCORE) -> Array:
    """Return the share of features whose score is at most a threshold: (..., n, h) to (...).

    Formula: s_i = mean |a_i| / (mean over j of mean |a_j| + 1e-9), means over points. The scale of the features is
    divided out first, so that the small number matters only where all are zero; then all are dormant.

    Source: G. Sokar et al., "The dormant neuron phenomenon in deep reinforcement learning", ICML 2023.
    """
    xp = array_namespace(a)
    a = xp.abs(xp.astype(a, xp.float64))
    a /= or_one(xp.max(a, axis=(-2, -1), keepdims=True))
    size = xp.mean(a, axis=-2)
    scores = size / (xp.mean(size, axis=-1, keepdims=True) + _NO_DIVISION_BY_ZERO)
    return xp.mean(xp.astype(scores <= score, xp.float64), axis=-1)


def frozen_units(slopes: Array) -> Array:
    """Return the share of units with |slope| < 0.05 on more than 98% of the points: (..., n, h) to (...).

    Source: A. Joudaki, `ajoudaki/simple-lop`.
    """
    xp = array_namespace(slopes)
    flat = xp.astype(xp.abs(slopes) < FROZEN_SLOPE, xp.float64)
    return xp.mean(xp.astype(xp.mean(flat, axis=-2) > FROZEN_SHARE, xp.float64), axis=-1)
