"""The largest curvature of a loss, from gradients alone.

Symbols: theta the N parameters of a network, g its gradient, H its Hessian. k products H v span the same space as k
steps of power iteration. The largest eigenvalue of H within that space (Lanczos) is at least as close to that of H as
what power iteration would have after the same products, and unlike it is not misled by a negative eigenvalue that is
larger in size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.metrics.arrays import or_one, rows

PRODUCTS = 20
"""Hessian-vector products; fewer for networks with fewer parameters."""
STEP = 1e-6
"""Half the distance between the two gradients of a product, as a length in the space of parameters."""
NEGLIGIBLE = 1e-9
"""A new direction with a smaller part of a product, compared with the largest product, is rounding."""
_GOLDEN = (1 + 5**0.5) / 2


def largest_curvature(gradient_at: Callable[[Sequence[Array]], Sequence[Array]], start: Sequence[Array]) -> Array:
    """Return the largest eigenvalue of each network's Hessian, by `PRODUCTS` steps of Lanczos' method: (P,).

    Products are central differences: H v = (g(theta + s v) - g(theta - s v)) / 2 s with |v| = 1. The start vector is
    `start_vector`. Each new vector is made orthogonal to all earlier ones twice.

    Args:
        gradient_at: from parameters in float64 to their gradients, all (P, ...). Networks must not mix.
        start: theta.

    Source: C. Lanczos, "An iteration method for the solution of the eigenvalue problem of linear differential and
    integral operators", Journal of Research of the National Bureau of Standards 45, 1950.
    """
    xp = array_namespace(start[0])
    theta = xp.concat([rows(array) for array in start], axis=-1)
    size = theta.shape[-1]

    def gradient(flat: Array) -> Array:
        return xp.concat([rows(array) for array in gradient_at(_split(flat, start))], axis=-1)

    v = xp.asarray(start_vector(size), dtype=xp.float64, device=theta.device) + xp.zeros_like(theta)
    v = v / _length(v)[:, None]
    basis, largest = v[:, None, :], xp.zeros_like(theta[:, 0])
    diagonal: list[Array] = []
    beside: list[Array] = []
    for step in range(min(PRODUCTS, size)):
        product = (gradient(theta + STEP * v) - gradient(theta - STEP * v)) / (2 * STEP)
        diagonal.append(xp.sum(v * product, axis=-1))
        largest = xp.maximum(largest, _length(product))
        for _ in range(2):
            product = product - (basis.mT @ (basis @ product[:, :, None]))[:, :, 0]
        length = _length(product)
        length = xp.where(length > NEGLIGIBLE * largest, length, xp.zeros_like(length))
        v = xp.where(length[:, None] > 0, product / or_one(length)[:, None], xp.zeros_like(product))
        if step:  # beyond an invariant space all is zero: with the first entry there, no eigenvalue is added
            diagonal[-1] = xp.where(beside[-1] == 0, diagonal[0], diagonal[-1])
        beside.append(length)
        basis = xp.concat([basis, v[:, None, :]], axis=1)
    return _largest_eigenvalue(diagonal, beside[:-1])


def start_vector(size: int) -> np.ndarray:
    """Return fixed numbers between -1/2 and 1/2 without a pattern: the fractions of j^2 times the golden ratio."""
    index = np.arange(1, size + 1, dtype=np.float64)
    fixed: np.ndarray = (index * index * _GOLDEN) % 1.0 - 0.5
    return fixed


def _length(v: Array) -> Array:
    """Return the lengths of vectors (P, N), (P,)."""
    xp = array_namespace(v)
    return xp.sqrt(xp.sum(v * v, axis=-1))


def _split(flat: Array, like: Sequence[Array]) -> list[Array]:
    """Return vectors (P, N) as arrays of the given shapes."""
    xp = array_namespace(flat)
    parts, begin = [], 0
    for array in like:
        end = begin + int(np.prod(array.shape[1:]))
        parts.append(xp.reshape(flat[:, begin:end], array.shape))
        begin = end
    return parts


def _largest_eigenvalue(diagonal: Sequence[Array], beside: Sequence[Array]) -> Array:
    """Return the largest eigenvalue of symmetric tridiagonal matrices, NaN where a number is not finite: (P,)."""
    xp = array_namespace(diagonal[0])
    zero = xp.zeros_like(diagonal[0])
    size = len(diagonal)
    entries = {(i, i): value for i, value in enumerate(diagonal)}
    entries |= {(i + 1, i): value for i, value in enumerate(beside)} | {(i, i + 1): v for i, v in enumerate(beside)}
    grid = [xp.stack([entries.get((i, j), zero) for j in range(size)], axis=-1) for i in range(size)]
    matrix = xp.stack(grid, axis=-2)
    finite = xp.all(xp.isfinite(matrix), axis=(-2, -1))
    values = xp.linalg.eigvalsh(xp.where(finite[:, None, None], matrix, xp.zeros_like(matrix)))
    return xp.where(finite, values[:, -1], xp.nan)
