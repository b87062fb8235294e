"""Optional metrics of the parameters: how large they are, and how far they have moved."""

from __future__ import annotations

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.metrics.arrays import distance, norm
from lop_sweep.metrics.metric import Observation, OptionalMetric
from lop_sweep.registry import register


@register("metric", "weight_norm")
class WeightNorm(OptionalMetric):
    """Frobenius norm of each hidden layer's weights after the last update, without biases."""

    label, per_layer, logarithmic, needs = "norm of the weights", True, True, frozenset(["weights"])
    cost = 0.5

    def compute(self, task: Observation) -> Array:
        """Return the norm of each layer's weights, (P, depth)."""
        assert task.weights is not None
        return array_namespace(task.losses).stack([norm([weight]) for weight in task.weights], axis=-1)


@register("metric", "distance_moved")
class DistanceMoved(OptionalMetric):
    """2-norm of the change of all parameters from the start of the task to its last update."""

    label, logarithmic, needs = "distance moved in the task", True, frozenset(["parameters", "start"])
    cost = 1.5

    def compute(self, task: Observation) -> Array:
        """Return the distance, (P,)."""
        assert task.parameters is not None
        assert task.start is not None
        return distance(task.parameters, task.start)


@register("metric", "distance_from_init")
class DistanceFromInit(OptionalMetric):
    """2-norm of all parameters after the last update minus those with which the network was initialised."""

    label, logarithmic, needs = "distance from initialisation", True, frozenset(["parameters", "initial"])
    cost = 1

    def compute(self, task: Observation) -> Array:
        """Return the distance, (P,)."""
        assert task.parameters is not None
        assert task.initial is not None
        return distance(task.parameters, task.initial)
