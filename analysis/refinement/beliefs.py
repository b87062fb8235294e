"""What is believed of the latent at the cells that may come next and at the points that the boundary is sought among.

Items are n candidate cells followed by q reference points. One more outcome at candidate i is taken in by matching
moments, with z = y (mean_i - 0) / sqrt(1 + variance_i), y = 1 or -1 and r = phi(z) / Phi(z):

    mean_j     += y covariance_ij r / sqrt(1 + variance_i)
    variance_j -= covariance_ij^2 r (z + r) / (1 + variance_i)

Several trials at once have no closed form; their moments are integrals over the candidate's latent.

Source: Rasmussen and Williams, "Gaussian processes for machine learning", section 3.6 (2006).
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

from analysis.surface import NO_SHIFT, Latent

SPREAD = 0.3
"""Weight of p (1 - p) in the doubt. An outcome lowers it even where no single outcome could change the side."""

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)
_REACH = 8.0
"""Standard deviations over which the latent is integrated, beyond its mean and 0, which outcomes draw it to."""
_NODES = 2001


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
        self._first = (
            latent.mean(self._at, self._clusters),
            latent.variance(self._at, self._clusters),
            latent.covariance(at, clusters, reference, self._clusters[self._n :]),
        )
        self._prior: dict[int, np.ndarray] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all outcomes since the fit."""
        self.mean, self.variance, self.cross = self._first
        self._gains = np.empty((0, len(self._at)))

    def success(self, candidate: int) -> float:
        """Return the probability that a candidate's next trial is a success."""
        return float(ndtr(self.mean[candidate] / np.sqrt(1 + self.variance[candidate])))

    def observe(self, candidate: int, successes: float, trials: float = 1.0) -> None:
        """Take in outcomes of a candidate.

        Args:
            candidate: its number.
            successes: of the trials.
            trials: their number, positive. Neither need be whole.
        """
        column = self._column(candidate)
        mean, variance = float(self.mean[candidate]), float(self.variance[candidate])
        if trials == 1 and successes in (0, 1):
            sign = 1.0 if successes else -1.0
            root, slope, bend = _moments(sign * mean, variance)
            move, scale = sign * slope / root, bend / root**2
        else:
            new_mean, new_variance = _integrated(mean, variance, successes, trials)
            move, scale = (new_mean - mean) / variance, (variance - new_variance) / variance**2
        self.mean = self.mean + move * column
        self.variance = np.maximum(self.variance - scale * column**2, 1e-9)
        self.cross = self.cross - scale * np.outer(column[: self._n], column[self._n :])
        self._gains = np.vstack([self._gains, np.sqrt(scale) * column])

    def gains(self) -> np.ndarray:
        """Return by how much an outcome at each candidate lowers the expected doubt at each reference point, (n, q).

        With the probability p of being above the level, doubt is min(p, 1 - p) + `SPREAD` p (1 - p). The p before an
        outcome is computed as the mean of those after it, not from the moments, which agree only nearly. Doubt is
        concave in p, so no gain is negative.
        """
        n = self._n
        chances, after = [], []
        for sign in (1.0, -1.0):
            root, slope, bend = _moments(sign * self.mean[:n], self.variance[:n])
            mean = self.mean[n:] - self._threshold + self.cross * (sign * slope / root)[:, None]
            variance = self.variance[n:] - self.cross**2 * (bend / root**2)[:, None]
            chances.append(ndtr(sign * self.mean[:n] / root)[:, None])
            after.append(ndtr(mean / np.sqrt(np.maximum(variance, 1e-9))))
        before = chances[0] * after[0] + chances[1] * after[1]
        return np.asarray(_doubt(before) - chances[0] * _doubt(after[0]) - chances[1] * _doubt(after[1]))

    def _column(self, candidate: int) -> np.ndarray:
        """Return the covariances of a candidate with all items, (n + q,)."""
        if candidate not in self._prior:
            one = slice(candidate, candidate + 1)
            self._prior[candidate] = self._latent.covariance(
                self._at[one], self._clusters[one], self._at, self._clusters
            )[0]
        return np.asarray(self._prior[candidate] - self._gains.T @ self._gains[:, candidate])


def _moments(mean: np.ndarray | float, variance: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sqrt(1 + variance), r and r (z + r)."""
    root = np.sqrt(1 + np.asarray(variance))
    z = np.asarray(mean) / root
    r = np.exp(-z * z / 2 - _LOG_ROOT_2PI - log_ndtr(z))
    return root, r, r * (z + r)


def _integrated(mean: float, variance: float, successes: float, trials: float) -> tuple[float, float]:
    """Return mean and variance of a normal latent after several trials, by the trapezoidal rule."""
    reach = _REACH * np.sqrt(variance)
    z = np.linspace(min(mean, 0.0) - reach, max(mean, 0.0) + reach, _NODES)
    log_density = successes * log_ndtr(z) + (trials - successes) * log_ndtr(-z) - (z - mean) ** 2 / (2 * variance)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    middle = float(density @ z)
    return middle, float(density @ (z - middle) ** 2)


def _doubt(p: np.ndarray) -> np.ndarray:
    """Return how far from sure a probability is."""
    return np.asarray(np.minimum(p, 1 - p) + SPREAD * p * (1 - p))
