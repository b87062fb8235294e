"""What is measured after every task: pure functions on the activity of a pack.

Shapes: (..., n, h) for n points and h features; the leading axes are networks, or networks and layers. All are computed
in float64, whatever precision the networks are trained in, and written against the array API standard. Inputs must be
finite; the caller records what is not as diverged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frozen.namespace import Array, array_namespace

SATURATION_THRESHOLD = 2.0
"""|pre-activation| above which a tanh unit counts as saturated: |tanh(z)| > 0.964, slope below 0.071."""


@dataclass(frozen=True)
class TaskMeasures:
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
    def undefined(cls, cells: int, depth: int) -> TaskMeasures:
        """All NaN: the row of cells that have diverged."""
        scalar, layered = np.full(cells, np.nan), np.full((cells, depth), np.nan)
        return cls(scalar, scalar, scalar, scalar, layered, layered)


MEASURES: tuple[str, ...] = tuple(TaskMeasures.__dataclass_fields__)
"""The names of the measures, in the order of the store's columns."""

LAYERED: tuple[str, ...] = ("effective_rank", "duplicate_fraction")
"""The measures that have one value a hidden layer."""


def stack_measures(rows: list[TaskMeasures]) -> dict[str, np.ndarray]:
    """Rows of consecutive tasks as one array a measure: (tasks, P), or (tasks, P, depth) for the layered ones."""
    return {name: np.stack([getattr(row, name) for row in rows]) for name in MEASURES}


def unstack_measures(history: dict[str, np.ndarray]) -> list[TaskMeasures]:
    """The inverse of `stack_measures`."""
    return [TaskMeasures(**{name: history[name][task] for name in MEASURES}) for task in range(len(history["min_ce"]))]


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
