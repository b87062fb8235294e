"""Ranks of features: pure functions of arrays (..., n, h) of n points and h features."""

from __future__ import annotations

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.metrics.arrays import or_one

_ROUNDING = 1e-12
"""By which a sum of shares may be too small."""


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
    z = z / or_one(xp.max(xp.abs(z), axis=(-2, -1), keepdims=True))
    z -= xp.mean(z, axis=-2, keepdims=True)
    gram = z.mT @ z if z.shape[-1] <= z.shape[-2] else z @ z.mT
    eigenvalues = xp.linalg.eigvalsh(gram)
    eigenvalues = xp.where(eigenvalues > 0, eigenvalues, xp.zeros_like(eigenvalues))
    p = eigenvalues / or_one(xp.sum(eigenvalues, axis=-1, keepdims=True))
    return xp.exp(-xp.sum(p * xp.log(or_one(p)), axis=-1))


def activation_effective_rank(a: Array) -> Array:
    """Return the effective rank of features that are not centred, (..., n, h) to (...), between 1 and min(n, h).

    Formula: exp(-sum p_i log p_i), where p are the singular values of `a`, normalised to sum 1; 1.0 where all are zero.

    Source: O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, as used
    by S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024.
    """
    xp = array_namespace(a)
    p = _singular_shares(a)
    return xp.exp(-xp.sum(p * xp.log(or_one(p)), axis=-1))


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


def stable_rank(a: Array) -> Array:
    """Return the stable rank of features, not centred, (..., n, h) to (...), between 1 and min(n, h).

    Formula: ||A||_F^2 / ||A||_2^2, the sum of the squared singular values over the largest one; 1.0 where all are zero.

    Source: M. Rudelson and R. Vershynin, "Sampling from large matrices: an approach through geometric functional
    analysis", Journal of the ACM 54, 2007, where it is called numerical rank.
    """
    xp = array_namespace(a)
    shares = _singular_shares(a)
    relative = shares / or_one(shares[..., :1])
    rank = xp.sum(relative * relative, axis=-1)
    return xp.where(rank < 1, xp.ones_like(rank), rank)


def _singular_shares(a: Array) -> Array:
    """Return the singular values of features in descending order, as shares of their sum: (..., min(n, h))."""
    xp = array_namespace(a)
    a = xp.astype(a, xp.float64)
    values = xp.linalg.svdvals(a / or_one(xp.max(xp.abs(a), axis=(-2, -1), keepdims=True)))
    return values / or_one(xp.sum(values, axis=-1, keepdims=True))
