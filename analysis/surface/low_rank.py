"""A covariance matrix of many points as a product of low rank, by a pivoted Cholesky factor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MAX_RANK = 300
TOLERANCE = 1e-2
"""The factor is complete when no remaining variance exceeds this share of the largest one."""


def low_rank_factor(variance: np.ndarray, column: Callable[[int], np.ndarray], max_rank: int = MAX_RANK) -> np.ndarray:
    """Return F, (rank, G), such that F' F is close to a covariance matrix, (G, G).

    Args:
        variance: (G,) its diagonal.
        column: returns one of its columns, (G,), by its index.
        max_rank: largest rank.

    Source: Harbrecht, Peters and Schneider, "On the low-rank approximation by the pivoted Cholesky decomposition",
    Applied Numerical Mathematics 62 (2012).
    """
    rest = variance.copy()
    limit = TOLERANCE * float(variance.max())
    factor = np.empty((min(max_rank, len(variance)), len(variance)))
    for rank in range(len(factor)):
        pivot = int(np.argmax(rest))
        if rest[pivot] <= limit:
            return factor[:rank]
        factor[rank] = (column(pivot) - factor[:rank, pivot] @ factor[:rank]) / np.sqrt(rest[pivot])
        rest = np.maximum(rest - factor[rank] ** 2, 0.0)
        rest[pivot] = 0.0
    return factor
