"""Optional metrics of the features of each hidden layer."""

from __future__ import annotations

from lop_sweep.array_api import Array
from lop_sweep.config import CellConfig
from lop_sweep.metrics.correlations import duplicate_fraction_any
from lop_sweep.metrics.metric import Observation, OptionalMetric, ShareMetric, feature_count
from lop_sweep.metrics.ranks import activation_effective_rank, srank, stable_rank
from lop_sweep.registry import register


@register("metric", "activation_effective_rank")
class ActivationEffectiveRank(OptionalMetric):
    """Effective rank of each hidden layer's activations: exp of the entropy of their singular values, not centred."""

    label, per_layer, decompositions = "effective rank of the activations", True, 1
    cost = 5

    def compute(self, task: Observation) -> Array:
        """Return `activation_effective_rank` of each layer, (P, depth)."""
        return activation_effective_rank(task.post)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 1 and the number of dimensions that points can span."""
        return 1.0, float(min(config.samples, feature_count(config)))


@register("metric", "srank")
class SRank(OptionalMetric):
    """Number of each hidden layer's largest singular values, not centred, that make up 99% of the sum of all."""

    label, per_layer, decompositions = "srank of the activations", True, 1
    cost = 5

    def compute(self, task: Observation) -> Array:
        """Return `srank` of each layer, (P, depth)."""
        return srank(task.post)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 1 and the number of dimensions that points can span."""
        return 1.0, float(min(config.samples, feature_count(config)))


@register("metric", "duplicate_fraction_any")
class DuplicateFractionAny(ShareMetric):
    """Share of each hidden layer's features whose |correlation| with any other one exceeds `corr_thresh`."""

    label, per_layer = "features with a duplicate", True
    cost = 1.5

    def compute(self, task: Observation) -> Array:
        """Return `duplicate_fraction_any` of each layer, (P, depth)."""
        return duplicate_fraction_any(task.post, task.corr_thresh)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the range of a share; 0 for a single feature, which has no other one."""
        return 0.0, 1.0 if feature_count(config) > 1 else 0.0


@register("metric", "stable_rank")
class StableRank(OptionalMetric):
    """Sum of each hidden layer's squared singular values, not centred, divided by the largest one."""

    label, per_layer, decompositions = "stable rank of the activations", True, 1
    cost = 5

    def compute(self, task: Observation) -> Array:
        """Return `stable_rank` of each layer, (P, depth)."""
        return stable_rank(task.post)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 1 and the number of dimensions that points can span."""
        return 1.0, float(min(config.samples, feature_count(config)))
