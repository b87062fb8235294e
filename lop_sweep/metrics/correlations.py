"""Duplicates among features: pure functions of arrays (..., n, h) of n points and h features."""

from __future__ import annotations

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.metrics.arrays import or_one


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


def _duplicates(a: Array, threshold: Array) -> Array:
    """Return which pairs of features have a |correlation| above the threshold, (..., h, h)."""
    xp = array_namespace(a)
    a = xp.astype(a, xp.float64)
    a = a - xp.mean(a, axis=-2, keepdims=True)
    a /= or_one(xp.sqrt(xp.sum(a * a, axis=-2, keepdims=True)))
    # Rounding never makes a correlation of 1 exceed 2, so this equals clipping, on fewer numbers.
    limit = xp.where(threshold < 1, threshold, 2 * xp.ones_like(threshold))
    return xp.abs(a.mT @ a) > limit[..., None, None]
