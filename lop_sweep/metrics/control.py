"""Metrics of control networks: fresh ones that are trained on the points of every `control_every`th task."""

from __future__ import annotations

from typing import Any, ClassVar

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.metrics.losses import EndCE, OnlineCE
from lop_sweep.metrics.metric import Observation, OptionalMetric
from lop_sweep.metrics.protocol import FinalCE
from lop_sweep.registry import register


class ControlMetric(OptionalMetric):
    """Base: a metric of the main network, of the control instead; NaN without one, and where it diverges.

    Attributes:
        of_main: the main network's metric.
    """

    of_main: ClassVar[Any]
    unit, logarithmic, of_control, needs = "nats", True, True, frozenset(["control"])

    def compute(self, task: Observation) -> Array:
        """Return the metric of the control, (P,)."""
        xp = array_namespace(task.end_loss)
        control = task.control
        if control is None:
            return xp.full_like(task.end_loss, xp.nan)
        finite = xp.isfinite(control.end_loss) & xp.all(xp.isfinite(control.losses), axis=0)
        return xp.where(finite, self.of_main.compute(control), xp.nan)


@register("metric", "control_end_ce")
class ControlEndCE(ControlMetric):
    """Loss of the task's control network after its last update."""

    label, of_main = "control's CE after the task", EndCE()


@register("metric", "control_final_ce")
class ControlFinalCE(ControlMetric):
    """Loss of the task's control network before its last update."""

    label, of_main = "control's final CE", FinalCE()


@register("metric", "control_online_ce")
class ControlOnlineCE(ControlMetric):
    """Mean of the losses of the task's control network before each update."""

    label, of_main = "control's mean CE", OnlineCE()
