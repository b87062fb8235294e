"""Losses at the start, along the way and at the end of a task, which every cell measures."""

from __future__ import annotations

from lop_sweep.array_api import Array
from lop_sweep.metrics.arrays import mean_of_steps
from lop_sweep.metrics.metric import Observation, TaskMetric
from lop_sweep.registry import register


@register("metric", "start_ce")
class StartCE(TaskMetric):
    """Loss before the first update."""

    label, unit, logarithmic, since = "starting CE of the task", "nats", True, "0.2"

    def compute(self, task: Observation) -> Array:
        """Return the first step's losses, (P,)."""
        return task.losses[0, :]


@register("metric", "end_ce")
class EndCE(TaskMetric):
    """Loss after the last update: the moment at which fresh networks are measured."""

    label, unit, logarithmic, since = "CE after the task", "nats", True, "0.2"

    def compute(self, task: Observation) -> Array:
        """Return the observed loss, (P,)."""
        return task.end_loss


@register("metric", "online_ce")
class OnlineCE(TaskMetric):
    """Mean of the losses before each update."""

    label, unit, logarithmic, since = "mean CE of the task", "nats", True, "0.2"

    def compute(self, task: Observation) -> Array:
        """Return the mean over steps, (P,)."""
        return mean_of_steps(task.losses)
