"""Sums, norms and divisors in float64 whose bits do not depend on the number of networks, P.

NumPy rounds a sum over two axes at once, or over the first axis, differently for P = 1. Here each network's numbers lie
in a row of their own, and the last axis is summed.
"""

from __future__ import annotations

from collections.abc import Sequence

from lop_sweep.array_api import Array, array_namespace


def rows(array: Array) -> Array:
    """Return each network's numbers as one row in float64: (P, ...) to (P, N)."""
    xp = array_namespace(array)
    return xp.reshape(xp.astype(array, xp.float64), (array.shape[0], -1))


def mean_of_steps(values: Array) -> Array:
    """Return the mean over steps in float64, (steps, P) to (P,)."""
    xp = array_namespace(values)
    by_network = xp.reshape(xp.reshape(values.mT, (-1,)), values.mT.shape)  # copied, so that each is a row in memory
    return xp.mean(xp.astype(by_network, xp.float64), axis=-1)


def sum_of_squares(array: Array) -> Array:
    """Return each network's sum of squares in float64, (P, ...) to (P,)."""
    xp = array_namespace(array)
    values = rows(array)
    return xp.sum(values * values, axis=-1)


def norm(arrays: Sequence[Array]) -> Array:
    """Return the 2-norm of each network's numbers in all arrays, each (P, ...), in float64: (P,).

    Squares of finite numbers do not overflow.
    """
    xp = array_namespace(arrays[0])
    flat = [rows(array) for array in arrays]
    largest = xp.max(xp.stack([xp.max(xp.abs(values), axis=-1) for values in flat], axis=-1), axis=-1)
    divisor = or_one(largest)[:, None]
    squares = [sum_of_squares(values / divisor) for values in flat]
    return largest * xp.sqrt(xp.sum(xp.stack(squares, axis=-1), axis=-1))


def distance(arrays: Sequence[Array], others: Sequence[Array]) -> Array:
    """Return the 2-norm of the difference of each network's numbers, in float64: (P,)."""
    return norm([rows(array) - rows(other) for array, other in zip(arrays, others, strict=True)])


def or_one(array: Array) -> Array:
    """Return `array` with zeros replaced by ones: a divisor, or a logarithm's argument, that leaves zeros zero."""
    xp = array_namespace(array)
    return xp.where(array == 0, xp.ones_like(array), array)
