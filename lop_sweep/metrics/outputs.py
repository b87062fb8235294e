"""Optional metrics of what a network answers: its logits, and how often it is right."""

from __future__ import annotations

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.metrics.arrays import mean_of_steps, or_one
from lop_sweep.metrics.metric import Observation, OptionalMetric, ShareMetric
from lop_sweep.registry import register


@register("metric", "logit_scale")
class LogitScale(OptionalMetric):
    """Root mean square of the logits on the task's points after the last update."""

    label, logarithmic = "root mean square of the logits", True

    def compute(self, task: Observation) -> Array:
        """Return the root mean square over points, (P,)."""
        return root_mean_square(task.logits)


@register("metric", "test_ce")
class HeldOutCE(OptionalMetric):
    """Loss after the last update on `test_samples` held-out points of the task."""

    label, unit, logarithmic, needs = "CE of held-out points", "nats", True, frozenset(["test_loss"])
    cost = 5

    def compute(self, task: Observation) -> Array:
        """Return the observed loss, (P,)."""
        assert task.test_loss is not None
        return task.test_loss


@register("metric", "test_accuracy")
class HeldOutAccuracy(ShareMetric):
    """Share of `test_samples` held-out points of the task that are classified correctly after the last update.

    It is NaN in regression, which has no classes.
    """

    label, needs, of_classes = "accuracy on held-out points", frozenset(["test_accuracy"]), True
    cost = 5

    def compute(self, task: Observation) -> Array:
        """Return the observed share, (P,)."""
        assert task.test_accuracy is not None
        return task.test_accuracy


@register("metric", "online_accuracy")
class OnlineAccuracy(ShareMetric):
    """Mean over updates of the share of their points that were classified correctly before each of them.

    It is NaN in regression, which has no classes.
    """

    label, needs, of_classes = "mean accuracy of the task", frozenset(["accuracies"]), True

    def compute(self, task: Observation) -> Array:
        """Return the mean over steps, (P,)."""
        assert task.accuracies is not None
        return mean_of_steps(task.accuracies)


def root_mean_square(logits: Array) -> Array:
    """Return the root of the mean square over points and outputs, (P, n, k) to (P,).

    Squares of finite numbers do not overflow.
    """
    xp = array_namespace(logits)
    logits = xp.astype(logits, xp.float64)
    largest = xp.max(xp.abs(logits), axis=(-2, -1), keepdims=True)
    scaled = logits / or_one(largest)
    return largest[..., 0, 0] * xp.sqrt(xp.mean(scaled * scaled, axis=(-2, -1)))
