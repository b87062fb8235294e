"""The metrics of a task: one entry each, with its function, range, label and unit.

Every cell measures those that are not `optional`. The others are measured in cells whose configuration names them in
its field `metrics`.

Shapes: (..., n, h) for n points and h features. The leading axes are networks, or networks and layers. All metrics are
written against the array API standard and computed in float64, whatever precision the networks are trained in. Inputs
must be finite; the caller records anything else as divergence.

The schema, the audit, curves, layers, scores and the report derive from `METRICS`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.config import FIELDS, FIRST_RELEASE, CellConfig, with_unit
from lop_sweep.errors import ConfigError, comma_list
from lop_sweep.registry import components, register

SATURATION_THRESHOLD = 2.0
"""|pre-activation| above which a tanh unit counts as saturated: |tanh(z)| > 0.964, slope below 0.071."""

_ROUNDING = 1e-12
"""By which a sum of shares may be too small."""

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
        post: (P, depth, n, features) activations. Some activations have several features per unit.
        logits: (P, n, 1) logits of the trained network on the task's points.
        corr_thresh: (P, 1) the configuration field of this name.
        test_loss: (P,) loss of the trained network on held-out points of the task, nats; None unless a metric that is
            measured has `held_out`.
        test_accuracy: (P,) share of these points that it classifies correctly; None under the same condition.
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
        optional: whether only cells measure it that name it in `CellConfig.metrics`.
        held_out: whether it is measured on held-out points, of which `CellConfig.test_samples` are drawn.
    """

    name: str
    label: str
    unit: str
    per_layer: bool
    logarithmic: bool
    late_statistic: str
    since: str
    optional: bool
    held_out: bool

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
    optional = False
    held_out = False

    @property
    def axis_label(self) -> str:
        """The label with the unit, for an axis of a figure."""
        return with_unit(self.label, self.unit)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 0 and infinity."""
        return 0.0, float("inf")


class OptionalMetric(TaskMetric):
    """Base of metrics that only cells measure that name them."""

    since = "0.2"
    optional = True


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
        count = features(config)
        return 0.0, (count - 1) / count if count < math.inf else 1.0


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
        each = xp.reshape(xp.reshape(task.losses.mT, (-1,)), task.losses.mT.shape)  # in rows, so that P does not matter
        return xp.mean(xp.astype(each, xp.float64), axis=-1)


@register("metric", "activation_effective_rank")
class ActivationEffectiveRank(OptionalMetric):
    """Effective rank of each hidden layer's activations: exp of the entropy of their singular values, not centred."""

    label, per_layer = "effective rank of the activations", True

    def compute(self, task: Observation) -> Array:
        """Return `activation_effective_rank` of each layer, (P, depth)."""
        return activation_effective_rank(task.post)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 1 and the number of dimensions that points can span."""
        return 1.0, float(min(config.samples, features(config)))


@register("metric", "srank")
class SRank(OptionalMetric):
    """Number of each hidden layer's largest singular values, not centred, that make up 99% of the sum of all."""

    label, per_layer = "srank of the activations", True

    def compute(self, task: Observation) -> Array:
        """Return `srank` of each layer, (P, depth)."""
        return srank(task.post)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return 1 and the number of dimensions that points can span."""
        return 1.0, float(min(config.samples, features(config)))


@register("metric", "duplicate_fraction_any")
class DuplicateFractionAny(OptionalMetric):
    """Share of each hidden layer's features whose |correlation| with any other one exceeds `corr_thresh`."""

    label, unit, per_layer = "features with a duplicate", "share", True

    def compute(self, task: Observation) -> Array:
        """Return `duplicate_fraction_any` of each layer, (P, depth)."""
        return duplicate_fraction_any(task.post, task.corr_thresh)

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the range of a share; 0 for a single feature, which has no other one."""
        return 0.0, 1.0 if features(config) > 1 else 0.0


@register("metric", "logit_scale")
class LogitScale(OptionalMetric):
    """Root mean square of the logits on the task's points after the last update."""

    label, logarithmic = "root mean square of the logits", True

    def compute(self, task: Observation) -> Array:
        """Return the root mean square over points, (P,)."""
        return root_mean_square(task.logits)


@register("metric", "test_ce")
class HeldOutCE(OptionalMetric):
    """Loss after the last update on `test_samples` held-out points of the task, in nats."""

    label, unit, logarithmic, held_out = "CE of held-out points", "nats", True, True

    def compute(self, task: Observation) -> Array:
        """Return the observed loss, (P,)."""
        assert task.test_loss is not None
        return task.test_loss


@register("metric", "test_accuracy")
class HeldOutAccuracy(OptionalMetric):
    """Share of `test_samples` held-out points of the task that are classified correctly after the last update."""

    label, unit, held_out = "accuracy on held-out points", "share", True

    def compute(self, task: Observation) -> Array:
        """Return the observed share, (P,)."""
        assert task.test_accuracy is not None
        return task.test_accuracy

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the range of a share."""
        return 0.0, 1.0


def features(config: CellConfig) -> float:
    """Return the number of activations per hidden layer: infinity if its activation is not registered here."""
    activation = components("activation").get(config.activation)
    return config.width * activation.expansion if activation else math.inf


METRICS: Mapping[str, Metric] = components("metric")
"""All metrics by name, in the order of the results' columns."""

LAYERED: tuple[str, ...] = tuple(n for n, metric in METRICS.items() if metric.per_layer and not metric.optional)
"""Those that every cell measures once per hidden layer."""


def measured(config: CellConfig) -> tuple[str, ...]:
    """Return the names of the metrics that a cell measures, in the order of `METRICS`.

    Raises:
        ConfigError: see `measured_with`; or the cell has `test_samples` of its own, which none of its metrics uses.
    """
    names = measured_with(config.metrics)
    if config.test_samples != FIELDS["test_samples"].default and not any(METRICS[name].held_out for name in names):
        users = comma_list(name for name, metric in METRICS.items() if metric.held_out)
        raise ConfigError(
            f"test_samples = {config.test_samples}: nothing is measured on held-out points; name {users} in metrics, "
            "or leave test_samples out"
        )
    return names


def held_out_points(config: CellConfig) -> int:
    """Return how many held-out points of each task a cell's metrics need, often none. Errors as `measured`."""
    return config.test_samples if any(METRICS[name].held_out for name in measured(config)) else 0


def measured_with(*settings: str) -> tuple[str, ...]:
    """Return the names of the metrics that cells with any of these values of `CellConfig.metrics` measure.

    Raises:
        ConfigError: a value names a metric that does not exist, or one that every cell measures.
    """
    optional = [name for name, metric in METRICS.items() if metric.optional]
    chosen = {name for setting in settings for name in setting.split(",") if name}
    if unknown := sorted(chosen - set(optional)):
        reason = "every cell measures it" if unknown[0] in METRICS else "there is no such metric"
        raise ConfigError(f"metrics = {comma_list(unknown)}: {reason}; choose from: {comma_list(optional)}")
    return tuple(name for name, metric in METRICS.items() if not metric.optional or name in chosen)


def metric_table(optional: bool = False) -> str:
    """Return the docs' table of the metrics, in Markdown, one row each: those of every cell, or the optional ones."""
    head = ("name", "values per task", "definition")
    rows = [head, ("---",) * len(head)]
    for name, metric in METRICS.items():
        if metric.optional == optional:
            definition = " ".join((inspect.getdoc(metric) or "").split("\n\n")[0].split()).removesuffix(".")
            values = "one per hidden layer" if metric.per_layer else "one"
            rows.append((f"`{name}`", values, definition.replace("|", "\\|")))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def undefined_metrics(shape: tuple[int, ...], config: CellConfig) -> TaskRow:
    """Return NaN for every metric that a cell measures: a diverged row, or rows in which nothing was measured.

    Args:
        shape: (P,), or (tasks, P) for several rows.
        config: of one of the cells. Its depth is the last axis of metrics per layer.
    """
    full = (*shape, config.depth)
    return {name: np.full(full if METRICS[name].per_layer else shape, np.nan) for name in measured(config)}


def stack_metrics(rows: Sequence[TaskRow]) -> dict[str, np.ndarray]:
    """Return rows of consecutive tasks as one array per metric, (tasks, P) or (tasks, P, depth)."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def unstack_metrics(history: Mapping[str, np.ndarray]) -> list[TaskRow]:
    """Return one row per task: the inverse of `stack_metrics`."""
    return [{name: values[task] for name, values in history.items()} for task in range(len(history["min_ce"]))]


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
    earlier = xp.triu(_duplicates(a, threshold), k=1)
    return xp.mean(xp.astype(xp.any(earlier, axis=-2), xp.float64), axis=-1)


def duplicate_fraction_any(a: Array, threshold: Array) -> Array:
    """Return the share of features j with |corr(i, j)| > threshold for any other feature i: (..., n, h) to (...).

    Unlike `duplicate_fraction` it does not depend on the order of the features. Arguments as there.
    """
    xp = array_namespace(a)
    duplicates = _duplicates(a, threshold)
    others = xp.triu(duplicates, k=1) | xp.tril(duplicates, k=-1)
    return xp.mean(xp.astype(xp.any(others, axis=-2), xp.float64), axis=-1)


def activation_effective_rank(a: Array) -> Array:
    """Return the effective rank of features that are not centred, (..., n, h) to (...), between 1 and min(n, h).

    Formula: exp(-sum p_i log p_i), where p are the singular values of `a`, normalised to sum 1; 1.0 where all are zero.

    Source: O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, as used
    by S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024.
    """
    xp = array_namespace(a)
    p = _singular_shares(a)
    return xp.exp(-xp.sum(p * xp.log(_or_one(p)), axis=-1))


def srank(a: Array, share: float = 0.99) -> Array:
    """Return how many of the largest singular values make up a share of their sum: (..., n, h) to (...), at least 1.

    The features are not centred.

    Source: A. Kumar et al., "Implicit under-parameterization inhibits data-efficient deep reinforcement learning",
    ICLR 2021, with their threshold of 0.01.
    """
    xp = array_namespace(a)
    below = xp.cumulative_sum(_singular_shares(a), axis=-1) < share - _ROUNDING
    count = 1.0 + xp.sum(xp.astype(below, xp.float64), axis=-1)
    return xp.where(count > min(a.shape[-2:]), xp.ones_like(count), count)


def root_mean_square(logits: Array) -> Array:
    """Return the root of the mean square over points, (P, n, 1) to (P,). Squares of finite numbers do not overflow."""
    xp = array_namespace(logits)
    logits = xp.astype(logits, xp.float64)
    largest = xp.max(xp.abs(logits), axis=(-2, -1), keepdims=True)
    scaled = logits / _or_one(largest)
    return largest[..., 0, 0] * xp.sqrt(xp.mean(scaled * scaled, axis=(-2, -1)))


def _duplicates(a: Array, threshold: Array) -> Array:
    """Return which pairs of features have a |correlation| above the threshold, (..., h, h)."""
    xp = array_namespace(a)
    a = xp.astype(a, xp.float64)
    a = a - xp.mean(a, axis=-2, keepdims=True)
    a /= _or_one(xp.sqrt(xp.sum(a * a, axis=-2, keepdims=True)))
    # Rounding never makes a correlation of 1 exceed 2, so this equals clipping, on fewer numbers.
    limit = xp.where(threshold < 1, threshold, 2 * xp.ones_like(threshold))
    return xp.abs(a.mT @ a) > limit[..., None, None]


def _singular_shares(a: Array) -> Array:
    """Return the singular values of features in descending order, as shares of their sum: (..., min(n, h))."""
    xp = array_namespace(a)
    a = xp.astype(a, xp.float64)
    values = xp.linalg.svdvals(a / _or_one(xp.max(xp.abs(a), axis=(-2, -1), keepdims=True)))
    return values / _or_one(xp.sum(values, axis=-1, keepdims=True))


def _or_one(array: Array) -> Array:
    """Return `array` with zeros replaced by ones: a divisor, or a logarithm's argument, that leaves zeros zero."""
    xp = array_namespace(array)
    return xp.where(array == 0, xp.ones_like(array), array)
