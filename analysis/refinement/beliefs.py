"""What is believed of the latent at the cells that may come next and at the points that the boundary is sought among.

Items are n candidate cells followed by q reference points. One more outcome at candidate i is taken in by matching
moments, with z = y (mean_i - 0) / sqrt(1 + variance_i), y = 1 or -1 and r = phi(z) / Phi(z):

    mean_j     += y covariance_ij r / sqrt(1 + variance_i)
    variance_j -= covariance_ij^2 r (z + r) / (1 + variance_i)

Source: Rasmussen and Williams, "Gaussian processes for machine learning", section 3.6 (2006).
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

from analysis.surface import NO_SHIFT, Latent

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)


class Beliefs:
    """Means, variances and covariances of the items, which outcomes change.

    Args:
        latent: the fit.
        at: (n, d) coordinates of the candidates.
        clusters: (n,) numbers of their clusters.
        reference: (q, d) coordinates of the reference points.
        threshold: latent value of the boundary.
    """

    def __init__(
        self, latent: Latent, at: np.ndarray, clusters: np.ndarray, reference: np.ndarray, threshold: float
    ) -> None:
        self._latent, self._threshold, self._n = latent, threshold, len(at)
        self._at = np.concatenate([at, reference])
        self._clusters = np.concatenate([clusters, np.full(len(reference), NO_SHIFT)])
        self.mean = latent.mean(self._at, self._clusters)
        self.variance = latent.variance(self._at, self._clusters)
        self.cross = latent.covariance(at, clusters, reference, self._clusters[self._n :])
        self._gains = np.empty((0, len(self._at)))

    def success(self, candidate: int) -> float:
        """Return the probability that a candidate's next trial is a success."""
        return float(ndtr(self.mean[candidate] / np.sqrt(1 + self.variance[candidate])))

    def observe(self, candidate: int, success: bool, weight: float = 1.0) -> None:
        """Take in an outcome.

        Args:
            candidate: its number.
            success: of the trial.
            weight: number of trials with this outcome, which need not be whole.
        """
        column = self._column(candidate)
        sign = 1.0 if success else -1.0
        root, slope, bend = _moments(sign * self.mean[candidate], self.variance[candidate])
        self.mean = self.mean + weight * sign * slope * column / root
        scale = weight * bend / root**2
        scale = min(scale, 0.999 / self.variance[candidate])  # several trials leave some variance
        self.variance = np.maximum(self.variance - scale * column**2, 1e-9)
        self.cross = self.cross - scale * np.outer(column[: self._n], column[self._n :])
        self._gains = np.vstack([self._gains, np.sqrt(scale) * column])

    def gains(self) -> np.ndarray:
        """Return by how much an outcome at each candidate lowers the expected number of reference points on the wrong
        side of the boundary, for each reference point, (n, q).

        This is the look-ahead criterion "SUR" with moments matched, see `analysis.refinement`.
        """
        n = self._n
        before = _wrong(self.mean[n:] - self._threshold, self.variance[n:])
        expected = np.zeros_like(self.cross)
        for sign in (1.0, -1.0):
            root, slope, bend = _moments(sign * self.mean[:n], self.variance[:n])
            chance = ndtr(sign * self.mean[:n] / root)
            mean = self.mean[n:] - self._threshold + self.cross * (sign * slope / root)[:, None]
            variance = self.variance[n:] - self.cross**2 * (bend / root**2)[:, None]
            expected += chance[:, None] * _wrong(mean, np.maximum(variance, 1e-9))
        return np.asarray(before - expected)

    def _column(self, candidate: int) -> np.ndarray:
        """Return the covariances of a candidate with all items, (n + q,)."""
        one = slice(candidate, candidate + 1)
        prior = self._latent.covariance(self._at[one], self._clusters[one], self._at, self._clusters)[0]
        return np.asarray(prior - self._gains.T @ self._gains[:, candidate])


def _moments(mean: np.ndarray | float, variance: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sqrt(1 + variance), r and r (z + r)."""
    root = np.sqrt(1 + np.asarray(variance))
    z = np.asarray(mean) / root
    r = np.exp(-z * z / 2 - _LOG_ROOT_2PI - log_ndtr(z))
    return root, r, r * (z + r)


def _wrong(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the probability that a normal variable is on the other side of 0 than its mean."""
    return np.asarray(ndtr(-np.abs(mean) / np.sqrt(variance)))
