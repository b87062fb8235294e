"""The six metrics of the protocol, which every cell measures."""

from __future__ import annotations

import math

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.config import CellConfig
from lop_sweep.metrics.correlations import duplicate_fraction
from lop_sweep.metrics.metric import Observation, TaskMetric, feature_count
from lop_sweep.metrics.ranks import effective_rank
from lop_sweep.registry import register

SATURATION_THRESHOLD = 2.0
"""|pre-activation| above which a tanh unit counts as saturated: |tanh(z)| > 0.964, slope below 0.071."""


@register("metric", "min_ce")
class MinCE(TaskMetric):
    """Smallest of the losses before each update."""

    label, unit, logarithmic = "smallest CE of the task", "nats", True

    def compute(self, task: Observation) -> Array:
        """Return the minimum over steps, (P,)."""
        return array_namespace(task.losses).min(task.losses, axis=0)


@register("metric", "final_ce")
class FinalCE(TaskMetric):
    """Loss before the last update."""

    label, unit, logarithmic = "final CE of the task", "nats", True

    def compute(self, task: Observation) -> Array:
        """Return the last step's losses, (P,)."""
        return task.losses[-1, :]


@register("metric", "saturation")
class Saturation(TaskMetric):
    """Share of pre-activations with |z| > 2 after the last update, over all layers."""

    label, unit = "saturated units", f"share of |z| > {SATURATION_THRESHOLD:g}"

    def compute(self, task: Observation) -> Array:
        """Return `saturation` of all layers together, (P,)."""
        return saturation(task.pre)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the range of a share."""
        return 0.0, 1.0


@register("metric", "grad_norm")
class GradNorm(TaskMetric):
    """2-norm of the hidden layers' gradient at the task's first step, before its update."""

    label, logarithmic, late_statistic = "hidden gradient norm at task start", True, "median"

    def compute(self, task: Observation) -> Array:
        """Return the observed norm, (P,)."""
        return task.grad_norm


@register("metric", "effective_rank")
class EffectiveRank(TaskMetric):
    """Effective rank of each hidden layer's pre-activations: exp of the entropy of their covariance's eigenvalues."""

    label, per_layer = "effective rank", True

    def compute(self, task: Observation) -> Array:
        """Return `effective_rank` of each layer, (P, depth)."""
        return effective_rank(task.pre)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 1 and the number of dimensions that centred points can span."""
        return 1.0, float(max(min(config.samples - 1, config.width), 1))


@register("metric", "duplicate_fraction")
class DuplicateFraction(TaskMetric):
    """Share of each hidden layer's features whose |correlation| with an earlier one exceeds `corr_thresh`."""

    label, unit, per_layer = "duplicate features", "share", True

    def compute(self, task: Observation) -> Array:
        """Return `duplicate_fraction` of each layer, (P, depth)."""
        return duplicate_fraction(task.post, task.corr_thresh)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 0 and the share where all features but the first are duplicates."""
        count = feature_count(config)
        return 0.0, (count - 1) / count if count < math.inf else 1.0


def saturation(pre: Array) -> Array:
    """Return the share of pre-activations with |z| > 2, averaged over layers: (P, depth, n, h) to (P,).

    Source: the protocol's `sat`.
    """
    xp = array_namespace(pre)
    return xp.mean(xp.astype(xp.abs(pre) > SATURATION_THRESHOLD, xp.float64), axis=(-3, -2, -1))
