"""The metrics of a task: one entry each, with its function, range, label and unit.

Shapes: (..., n, h) for n points and h features. The leading axes are networks, or networks and layers. All metrics are
written against the array API standard and computed in float64, whatever precision the networks are trained in. Inputs
must be finite; the caller records anything else as divergence.

The schema, the audit, curves, layers, scores and the report derive from `METRICS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.config import FIRST_RELEASE, CellConfig, with_unit
from lop_sweep.registry import components, register

SATURATION_THRESHOLD = 2.0
"""|pre-activation| above which a tanh unit counts as saturated: |tanh(z)| > 0.964, slope below 0.071."""

TaskRow = dict[str, np.ndarray]
"""One task's metrics by name for P cells: (P,), or (P, depth) for those per layer. NaN for cells that have diverged."""


@dataclass(frozen=True)
class Observation:
    """What the metrics of one task are computed from, for P cells.

    Attributes:
        losses: (steps, P) loss before each update, nats.
        end_loss: (P,) loss after the last update, nats.
        grad_norm: (P,) 2-norm of the hidden layers' gradient at the task's first step, before its update.
        pre: (P, depth, n, h) pre-activations of the trained network on the task's points.
        post: (P, depth, n, h) activations.
        corr_thresh: (P, 1) the configuration field of this name.
    """

    losses: Array
    end_loss: Array
    grad_norm: Array
    pre: Array
    post: Array
    corr_thresh: Array


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
    """

    name: str
    label: str
    unit: str
    per_layer: bool
    logarithmic: bool
    late_statistic: str
    since: str

    @property
    def axis_label(self) -> str:
        """The label with the unit, for an axis of a figure."""
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

    @property
    def axis_label(self) -> str:
        """The label with the unit, for an axis of a figure."""
        return with_unit(self.label, self.unit)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 0 and infinity."""
        return 0.0, float("inf")


@register("metric", "min_ce")
class MinCE(TaskMetric):
    """Smallest of the losses before each update, in nats."""

    label, unit, logarithmic = "smallest CE of the task", "nats", True

    def compute(self, task: Observation) -> Array:
        """Return the minimum over steps, (P,)."""
        return array_namespace(task.losses).min(task.losses, axis=0)


@register("metric", "final_ce")
class FinalCE(TaskMetric):
    """Loss before the last update, in nats."""

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
        return 0.0, (config.width - 1) / config.width


@register("metric", "start_ce")
class StartCE(TaskMetric):
    """Loss before the first update, in nats."""

    label, unit, logarithmic, since = "starting CE of the task", "nats", True, "0.2"

    def compute(self, task: Observation) -> Array:
        """Return the first step's losses, (P,)."""
        return task.losses[0, :]


@register("metric", "end_ce")
class EndCE(TaskMetric):
    """Loss after the last update, in nats: the moment at which fresh networks are measured."""

    label, unit, logarithmic, since = "CE after the task", "nats", True, "0.2"

    def compute(self, task: Observation) -> Array:
        """Return the observed loss, (P,)."""
        return task.end_loss


@register("metric", "online_ce")
class OnlineCE(TaskMetric):
    """Mean of the losses before each update, in nats."""

    label, unit, logarithmic, since = "mean CE of the task", "nats", True, "0.2"

    def compute(self, task: Observation) -> Array:
        """Return the mean over steps, (P,)."""
        xp = array_namespace(task.losses)
        return xp.mean(xp.astype(task.losses, xp.float64), axis=0)


METRICS: Mapping[str, Metric] = components("metric")
"""All metrics by name, in the order of the results' columns."""

LAYERED: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.per_layer)
"""The metrics that have one value per hidden layer."""


def metric_table() -> str:
    """Return the docs' table of all metrics, in Markdown, one row per metric."""
    head = ("name", "values per task", "definition")
    rows = [head, ("---",) * len(head)]
    for name, metric in METRICS.items():
        definition = " ".join((inspect.getdoc(metric) or "").split("\n\n")[0].split()).removesuffix(".")
        values = "one per hidden layer" if metric.per_layer else "one"
        rows.append((f"`{name}`", values, definition.replace("|", "\\|")))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def undefined_metrics(shape: tuple[int, ...], depth: int) -> TaskRow:
    """Return NaN for every metric: a diverged row, or rows in which nothing was measured.

    Args:
        shape: (P,), or (tasks, P) for several rows.
        depth: number of hidden layers, the last axis of metrics per layer.
    """
    return {name: np.full((*shape, depth) if metric.per_layer else shape, np.nan) for name, metric in METRICS.items()}


def stack_metrics(rows: Sequence[TaskRow]) -> dict[str, np.ndarray]:
    """Return rows of consecutive tasks as one array per metric, (tasks, P) or (tasks, P, depth)."""
    return {name: np.stack([row[name] for row in rows]) for name in METRICS}


def unstack_metrics(history: Mapping[str, np.ndarray]) -> list[TaskRow]:
    """Return one row per task: the inverse of `stack_metrics`."""
    return [{name: history[name][task] for name in METRICS} for task in range(len(history["min_ce"]))]


def saturation(pre: Array) -> Array:
    """Return the share of pre-activations with |z| > 2, averaged over layers: (P, depth, n, h) to (P,).

    Source: the protocol's `sat`.
    """
    xp = array_namespace(pre)
    return xp.mean(xp.astype(xp.abs(pre) > SATURATION_THRESHOLD, xp.float64), axis=(-3, -2, -1))


def effective_rank(z: Array) -> Array:
    """Return the effective rank of features, (..., n, h) to (...), between 1 and min(n - 1, h).

    Formula: exp(-sum p_i log p_i), where p are the eigenvalues of the covariance of `z` over the points, clamped at 0
    and normalised to sum 1; 1.0 where all are zero.

    The non-zero eigenvalues of Z^T Z and Z Z^T are the same, so the smaller of the two is used. The rank does not
    depend on the scale of `z`, so it is divided out first: squares cannot overflow.

    Source: O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, applied
    to covariance eigenvalues (theirs: singular values), as in the protocol.
    """
    xp = array_namespace(z)
    z = xp.astype(z, xp.float64)
    z = z / _or_one(xp.max(xp.abs(z), axis=(-2, -1), keepdims=True))
    z -= xp.mean(z, axis=-2, keepdims=True)
    gram = z.mT @ z if z.shape[-1] <= z.shape[-2] else z @ z.mT
    eigenvalues = xp.linalg.eigvalsh(gram)
    eigenvalues = xp.where(eigenvalues > 0, eigenvalues, xp.zeros_like(eigenvalues))
    p = eigenvalues / _or_one(xp.sum(eigenvalues, axis=-1, keepdims=True))
    return xp.exp(-xp.sum(p * xp.log(_or_one(p)), axis=-1))


def duplicate_fraction(a: Array, threshold: Array) -> Array:
    """Return the share of features j with |corr(i, j)| > threshold for an earlier feature i < j: (..., n, h) to (...).

    Correlations are clipped to [-1, 1]. Those with a constant feature are undefined and count as 0.

    Args:
        a: activations.
        threshold: of the shape of the result, or broadcast to it.

    Source: the protocol's `dup_frac`.
    """
    xp = array_namespace(a)
    a = xp.astype(a, xp.float64)
    a = a - xp.mean(a, axis=-2, keepdims=True)
    a /= _or_one(xp.sqrt(xp.sum(a * a, axis=-2, keepdims=True)))
    # Rounding never makes a correlation of 1 exceed 2, so this equals clipping, on fewer numbers.
    limit = xp.where(threshold < 1, threshold, 2 * xp.ones_like(threshold))
    duplicates = xp.abs(a.mT @ a) > limit[..., None, None]
    return xp.mean(xp.astype(xp.any(xp.triu(duplicates, k=1), axis=-2), xp.float64), axis=-1)


def _or_one(array: Array) -> Array:
    """Return `array` with zeros replaced by ones: a divisor, or a logarithm's argument, that leaves zeros zero."""
    xp = array_namespace(array)
    return xp.where(array == 0, xp.ones_like(array), array)
