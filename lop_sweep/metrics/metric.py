"""What all metrics share: their interface, and the observation of a task that they are computed from.

Shapes: (..., n, h) for n points and h features. The leading axes are networks, or networks and layers. All metrics are
written against the array API standard and computed in float64, whatever precision the networks are trained in. The bits
of a network's metrics do not depend on how many networks are computed together.

Names in `*_ce` stand for the loss of the cell's task stream: cross-entropy in nats, or the squared error of regression.
Labels and units are those of cross-entropy; figures of other losses replace them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from lop_sweep.array_api import Array
from lop_sweep.config import FIRST_RELEASE, CellConfig, with_unit
from lop_sweep.registry import components

TaskRow = dict[str, np.ndarray]
"""One task's metrics by name for P cells: (P,), or (P, depth) for those per layer. NaN for cells that have diverged."""


@dataclass(frozen=True)
class Control:
    """The losses of a task's control networks: before each update (steps, P), and after the last one (P,)."""

    losses: Array
    end_loss: Array


@dataclass(frozen=True)
class Observation:
    """What the metrics of one task are computed from, for P cells.

    The attributes from `test_loss` on are None unless a metric that is measured names them in its `needs`.

    Lists of parameters have the weights W_1, ..., W_out, then the biases, then the parameters of the normalisations.

    Attributes:
        losses: (steps, P) loss before each update, in the unit of the task stream's loss, as are the others.
        end_loss: (P,) loss after the last update.
        grad_norm: (P,) 2-norm of the hidden layers' gradient at the task's first step, before its update.
        pre: (P, depth, n, h) pre-activations of the trained network on the task's points.
        post: (P, depth, n, features) activations; h features, unless the activation has several per unit.
        logits: (P, n, k) logits of the trained network on the task's points.
        corr_thresh: (P, 1) the configuration field of this name.
        test_loss: (P,) loss of the trained network on held-out points of the task.
        test_accuracy: (P,) share of these points that it classifies correctly.
        accuracies: (steps, P) share of each update's points that the network classified correctly before the update.
        slopes: (P, depth, n, h) derivatives f'(z) of the trained network's units on the task's points.
        weights: W_1, ..., W_L of the trained network, each (P, fan_in, h).
        parameters: of the trained network.
        start: parameters before the task's first update.
        initial: parameters with which the network was initialised.
        gradient: of the loss by each of the parameters, on the points of the task's first update and before it.
        point_gradients: of each layer, before the task's first update, on all its points: inputs a (P, n, fan_in) and
            errors e (P, n, fan_out). The gradients of point i's share in the loss, a mean, are a_i^T e_i and e_i.
        gradient_at: from parameters in float64 near `start` to the gradient of the loss by each, on all points of the
            task, with activations expanded to second order. So its first derivative at `start` is the Hessian, in which
            the kinks of an activation have no part.
        control: of the task's control networks; also None at tasks without one.
    """

    losses: Array
    end_loss: Array
    grad_norm: Array
    pre: Array
    post: Array
    logits: Array
    corr_thresh: Array
    test_loss: Array | None = None
    test_accuracy: Array | None = None
    accuracies: Array | None = None
    slopes: Array | None = None
    weights: Sequence[Array] | None = None
    parameters: Sequence[Array] | None = None
    start: Sequence[Array] | None = None
    initial: Sequence[Array] | None = None
    gradient: Sequence[Array] | None = None
    point_gradients: Sequence[tuple[Array, Array]] | None = None
    gradient_at: Callable[[Sequence[Array]], Sequence[Array]] | None = None
    control: Control | None = None


ON_DEMAND: frozenset[str] = frozenset(field.name for field in fields(Observation) if field.default is None)
"""What `Metric.needs` may name."""

HELD_OUT: frozenset[str] = frozenset(["test_loss", "test_accuracy"])
"""Of these, what is observed on held-out points, of which `CellConfig.test_samples` are drawn."""


class Metric(Protocol):
    """A number per task, or per task and hidden layer.

    Attributes:
        name: the column of the results.
        label: axis label without the unit.
        unit: empty for a pure number.
        per_layer: whether there is one value per hidden layer.
        logarithmic: whether curves have a logarithmic axis.
        late_statistic: "mean" or "median", by which scores summarise late tasks.
        since: the release that added it. Results of earlier releases do not have it.
        optional: whether only some cells measure it: those that name it in `CellConfig.metrics`.
        of_control: whether it is of control networks: measured in cells with `CellConfig.control_every`, at the tasks
            that it divides. It is optional, but `CellConfig.metrics` does not name it.
        of_classes: whether it is NaN in cells whose targets are no classes, `Loss.has_classes`.
        needs: attributes of `Observation` that are only observed for metrics that need them.
        cost: the time that it adds to a default cell, in percent; 0 for less than 0.5. `benchmarks/metric_cost.py`
            measures it.
        gradients: how many gradients of the loss on all points it takes per task, for the cost model.
        decompositions: how many singular value decompositions of each layer's activations, for the cost model.
    """

    name: str
    label: str
    unit: str
    per_layer: bool
    logarithmic: bool
    late_statistic: str
    since: str
    optional: bool
    of_control: bool
    of_classes: bool
    needs: frozenset[str]
    cost: float
    gradients: int
    decompositions: int

    @property
    def axis_label(self) -> str:
        """The label with the unit, for an axis of a figure."""
        ...

    @property
    def held_out(self) -> bool:
        """Whether it is measured on held-out points, of which `CellConfig.test_samples` are drawn."""
        ...

    def compute(self, task: Observation) -> Array:
        """Return the values of P cells, (P,) or (P, depth)."""
        ...

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the lowest and highest value that a cell's metric can have."""
        ...


class TaskMetric:
    """Base with the properties that most metrics share: one value per task, not negative, on a linear axis."""

    name: str
    label: str
    unit = ""
    per_layer = False
    logarithmic = False
    late_statistic = "mean"
    since = FIRST_RELEASE
    optional = False
    of_control = False
    of_classes = False
    needs: frozenset[str] = frozenset()
    cost = 0.0
    gradients = 0
    decompositions = 0

    @property
    def axis_label(self) -> str:
        """The label with the unit, for an axis of a figure."""
        return with_unit(self.label, self.unit)

    @property
    def held_out(self) -> bool:
        """Whether it is measured on held-out points."""
        return not HELD_OUT.isdisjoint(self.needs)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 0 and infinity."""
        return 0.0, float("inf")


class OptionalMetric(TaskMetric):
    """Base of metrics that only cells measure that name them."""

    since = "0.2"
    optional = True


class ShareMetric(OptionalMetric):
    """Base of optional metrics that are shares."""

    unit = "share"

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the range of a share."""
        return 0.0, 1.0


def feature_count(config: CellConfig) -> float:
    """Return the number of features of each hidden layer: infinite if the activation is not registered here."""
    activation = components("activation").get(config.activation)
    return config.width * activation.expansion if activation else float("inf")
