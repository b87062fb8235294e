"""Matrices made orthogonal by a Newton-Schulz iteration, as both Muons use it."""

from __future__ import annotations

from lop_sweep.array_api import Array, array_namespace

_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


def orthogonalize(matrix: Array, eps: float) -> Array:
    """Return X after five times X <- a X + b (X X^T) X + c (X X^T)^2 X, from X = M / (||M||_F + eps), as a new array.

    If M = U S V^T, X is U S' V^T. Singular values of more than a hundredth of ||M||_F become 0.68 to 1.14, so X is near
    the orthogonal matrix nearest to M. Zeros stay zeros. X of the transpose is the transpose of X, so the smaller of
    X X^T and X^T X is used.

    Args:
        matrix: (P, rows, columns), M of each network; not changed.
        eps: keeps a zero matrix from being divided by zero.
    """
    xp = array_namespace(matrix)
    tall = matrix.shape[-2] > matrix.shape[-1]
    # over one axis, so that the order of summation does not depend on the number of networks
    squares = xp.sum(xp.reshape(matrix * matrix, (matrix.shape[0], -1)), axis=-1)
    x = matrix / (xp.sqrt(squares)[:, None, None] + eps)
    for _ in range(_ITERATIONS):
        gram = x.mT @ x if tall else x @ x.mT
        change = gram @ gram
        change *= _C
        gram *= _B
        change += gram
        new = x @ change if tall else change @ x
        x *= _A
        x += new
    return x
