"""The metrics of a task: one entry each, with its function, range, label and unit.

Shapes: (..., n, h) for n points and h features; the leading axes are networks, or networks and layers. All are computed
in float64, whatever precision the networks are trained in, and written against the array API standard. Inputs must be
finite; the caller records anything else as divergence.

The schema, the audit, curves, layers, scores and the report derive from `METRICS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.config import CellConfig
from lop_sweep.registry import components, register

SATURATION_THRESHOLD = 2.0
"""|pre-activation| above which a tanh unit counts as saturated: |tanh(z)| > 0.964, slope below 0.071."""


@dataclass(frozen=True)
class TaskMetrics:
    """One task's row for each of P cells; NaN where a cell has diverged.

    Attributes:
        min_ce: (P,) smallest of the losses before each update, nats.
        final_ce: (P,) loss before the last update, nats.
        saturation: (P,) share of |z| > 2, mean over layers.
        grad_norm: (P,) 2-norm of the hidden layers' gradient at the task's first step, before its update.
        effective_rank: (P, depth) effective rank of each layer's pre-activations.
        duplicate_fraction: (P, depth) share of each layer's features that duplicate an earlier one.
    """

    min_ce: np.ndarray
    final_ce: np.ndarray
    saturation: np.ndarray
    grad_norm: np.ndarray
    effective_rank: np.ndarray
    duplicate_fraction: np.ndarray

    @classmethod
    def undefined(cls, cells: int, depth: int) -> TaskMetrics:
        """All NaN: the row of cells that have diverged."""
        scalar, layered = np.full(cells, np.nan), np.full((cells, depth), np.nan)
        return cls(scalar, scalar, scalar, scalar, layered, layered)


def stack_metrics(rows: list[TaskMetrics]) -> dict[str, np.ndarray]:
    """Rows of consecutive tasks as one array a measure: (tasks, P), or (tasks, P, depth) for the layered ones."""
    return {name: np.stack([getattr(row, name) for row in rows]) for name in METRICS}


def unstack_metrics(history: dict[str, np.ndarray]) -> list[TaskMetrics]:
    """The inverse of `stack_metrics`."""
    return [TaskMetrics(**{name: history[name][task] for name in METRICS}) for task in range(len(history["min_ce"]))]


def saturation(pre: Array) -> Array:
    """Share of pre-activations with |z| > 2, mean over layers: (P, depth, n, h) to (P,).

    Source: the protocol's `sat`.
    """
    xp = array_namespace(pre)
    return xp.mean(xp.astype(xp.abs(pre) > SATURATION_THRESHOLD, xp.float64), axis=(-3, -2, -1))


def effective_rank(z: Array) -> Array:
    """Effective rank of features, (..., n, h) to (...), between 1 and min(n - 1, h).

    Formula: exp(-sum p_i log p_i), where p are the eigenvalues of the covariance of `z` over the points, clamped at 0
    and normalised to sum 1; 1.0 where all are zero.

    The non-zero eigenvalues of Z^T Z and Z Z^T are the same, so the smaller of the two is used. The rank does not
    depend on the scale of `z`, so it is divided out first: squares cannot overflow.

    Source: O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, applied
    to covariance eigenvalues (theirs: singular values), as the protocol has it.
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
    """Share of features j for which some earlier feature i < j has |corr(i, j)| > threshold: (..., n, h) to (...).

    Correlations are clipped to [-1, 1]; those with a constant feature are undefined and count as 0.

    Args:
        a: activations.
        threshold: of the shape of the result, or broadcast to it.

    Source: the protocol's `dup_frac`.
    """
    xp = array_namespace(a)
    a = xp.astype(a, xp.float64)
    a = a - xp.mean(a, axis=-2, keepdims=True)
    a /= _or_one(xp.sqrt(xp.sum(a * a, axis=-2, keepdims=True)))
    # A threshold of 1 is beyond what rounding makes of a correlation of 1: the same as clipping, on fewer numbers.
    limit = xp.where(threshold < 1, threshold, 2 * xp.ones_like(threshold))
    duplicates = xp.abs(a.mT @ a) > limit[..., None, None]
    return xp.mean(xp.astype(xp.any(xp.triu(duplicates, k=1), axis=-2), xp.float64), axis=-1)


def _or_one(array: Array) -> Array:
    """`array` with zeros replaced by ones: a divisor, or a logarithm's argument, that leaves zeros zero."""
    xp = array_namespace(array)
    return xp.where(array == 0, xp.ones_like(array), array)


@dataclass(frozen=True)
class Observation:
    """What the metrics of one task are computed from, for P cells.

    Attributes:
        losses: (steps, P) loss before each update, nats.
        grad_norm: (P,) 2-norm of the hidden layers' gradient at the task's first step, before its update.
        pre: (P, depth, n, h) pre-activations of the trained network on the task's points.
        post: (P, depth, n, h) activations.
        corr_thresh: (P, 1) the configuration field of this name.
    """

    losses: Array
    grad_norm: Array
    pre: Array
    post: Array
    corr_thresh: Array


class Metric(Protocol):
    """A number per task, or per task and hidden layer.

    Attributes:
        name: the column of the results.
        label: what an axis says, without the unit.
        unit: empty for a pure number.
        per_layer: whether there is one value per hidden layer.
        logarithmic: whether curves have a logarithmic axis.
        late_statistic: "mean" or "median", how scores summarise late tasks.
    """

    name: str
    label: str
    unit: str
    per_layer: bool
    logarithmic: bool
    late_statistic: str

    def compute(self, task: Observation) -> Array:
        """Return the values of P cells, (P,) or (P, depth)."""
        ...

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the lowest and highest value that a cell's metric can have."""
        ...


class _Base:
    """What most metrics have in common: a value per task that is not negative."""

    unit = ""
    per_layer = False
    logarithmic = False
    late_statistic = "mean"

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        return 0.0, float("inf")


@register("metric", "min_ce")
class _MinCE(_Base):
    label, unit, logarithmic = "smallest CE of the task", "nats", True

    def compute(self, task: Observation) -> Array:
        return array_namespace(task.losses).min(task.losses, axis=0)


@register("metric", "final_ce")
class _FinalCE(_Base):
    label, unit, logarithmic = "CE at the end of the task", "nats", True

    def compute(self, task: Observation) -> Array:
        return task.losses[-1, :]


@register("metric", "saturation")
class _Saturation(_Base):
    label, unit = "saturated units", f"share of |z| > {SATURATION_THRESHOLD:g}"

    def compute(self, task: Observation) -> Array:
        return saturation(task.pre)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        return 0.0, 1.0


@register("metric", "grad_norm")
class _GradNorm(_Base):
    label, logarithmic, late_statistic = "hidden gradient norm at task start", True, "median"

    def compute(self, task: Observation) -> Array:
        return task.grad_norm


@register("metric", "effective_rank")
class _EffectiveRank(_Base):
    label, per_layer = "effective rank", True

    def compute(self, task: Observation) -> Array:
        return effective_rank(task.pre)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        return 1.0, float(max(min(config.samples - 1, config.width), 1))


@register("metric", "duplicate_fraction")
class _DuplicateFraction(_Base):
    label, unit, per_layer = "duplicate features", "share", True

    def compute(self, task: Observation) -> Array:
        return duplicate_fraction(task.post, task.corr_thresh)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        return 0.0, 1.0


METRICS: Mapping[str, Metric] = components("metric")
"""All metrics by name, in the order of the results' columns."""

LAYERED: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.per_layer)
"""The metrics that have one value per hidden layer."""
