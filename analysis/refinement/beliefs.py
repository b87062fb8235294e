"""What is believed of the latent at the cells that may come next and at the points that the boundary is sought among.

The posterior is held as weighted draws, since it is far from normal where all outcomes agree: after eight losses of
eight at a point, a normal approximation doubts its side by 3%, the posterior by 0.03%. An outcome y of candidate i
gives draw b the weight w_b P(y | draw b), and probabilities are weighted means:

    P(q above | y at i) = sum_b w_b P(y at i | b) [f_b(q) > threshold] / sum_b w_b P(y at i | b)

Doubt is the variance p (1 - p) of the side. As y is 0 or 1, the mean of the side given y is linear in y, and the
expected doubt after the outcome is the doubt before it, less what a linear prediction explains:

    gain = Cov(side of q, y at i)^2 / Var(y at i)

Symbols: n candidate cells, q reference points, B draws.

Source: Bect, Ginsbourger, Li, Picheny and Vazquez, "Sequential design of computer experiments for the estimation of a
probability of failure", Statistics and Computing 22 (2012); importance weights: Liu, "Monte Carlo strategies in
scientific computing", section 2.5 (2001).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr, ndtr

from analysis.surface import Surface

_TINY = 1e-7
"""Variances below this count as this, which avoids dividing by 0."""


class Beliefs:
    """Weighted draws of the latent at the items, which outcomes reweigh.

    Args:
        surface: the fit.
        points: (n, d) of the candidates, in units of the axes.
        clusters: (n,) numbers of their clusters.
        reference: (q, d) reference points.
        threshold: latent value of the boundary.
        rng: draws the latent between the fitted points.
        trials: number of trials in an outcome; for correlated trials, the number of independent ones that tell as much.
    """

    def __init__(
        self,
        surface: Surface,
        points: np.ndarray,
        clusters: np.ndarray,
        reference: np.ndarray,
        threshold: float,
        rng: np.random.Generator,
        trials: float = 1.0,
    ) -> None:
        distinct, place = np.unique(np.concatenate([points, reference]), axis=0, return_inverse=True)
        place = place.ravel()
        latent = surface.draw(distinct, rng)
        self._z = latent[:, place[: len(points)]] + surface.shifts[:, clusters]
        self._above = (latent[:, place[len(points) :]] > threshold).astype(np.float32)
        self._success = ndtr(self._z).astype(np.float32)
        self._trials = trials
        self._log_weight = np.zeros(len(latent))
        self._normalise()

    def _normalise(self) -> None:
        weight = np.exp(self._log_weight - self._log_weight.max())
        self._weight = (weight / weight.sum()).astype(np.float32)
        self._gains: np.ndarray | None = None

    @property
    def effective(self) -> float:
        """The share of the draws that still count, from 0 to 1: 1 / (B times the sum of the squared weights)."""
        return float(1 / (self._weight**2).sum() / len(self._weight))

    def observe(self, candidate: int, successes: float, trials: float = 1.0) -> None:
        """Take in outcomes of a candidate.

        Args:
            candidate: its number.
            successes: of the trials.
            trials: their number. Neither need be whole; negative numbers take back what was taken in.
        """
        z = self._z[:, candidate]
        self._log_weight = self._log_weight + successes * log_ndtr(z) + (trials - successes) * log_ndtr(-z)
        self._normalise()

    def gains(self) -> np.ndarray:
        """Return by how much the outcome of each candidate lowers the expected doubt at each reference point, (n, q).

        Of outcomes of several trials, it is what their number of successes explains linearly, which is never too much.
        """
        if self._gains is None:
            root = np.sqrt(self._weight)[:, None]
            success = root * (self._success - self._weight @ self._success)
            side = root * (self._above - self._weight @ self._above)
            noise = self._weight @ (self._success * (1 - self._success)) / np.float32(self._trials)
            variance = np.maximum((success**2).sum(axis=0) + noise, _TINY)
            self._gains = (success.T @ side) ** 2 / variance[:, None]
        return self._gains

    def left_by(self, candidates: Sequence[int]) -> np.ndarray:
        """Return the fraction of the doubt at each reference point that outcomes of these candidates leave, (q,).

        Each is taken to remove the same fraction of the doubt whatever the others say.
        """
        doubt_now = np.maximum(doubt(self._weight @ self._above), _TINY)
        share = 1 - self.gains()[candidates] / doubt_now
        return np.asarray(np.clip(share, 0, 1).prod(axis=0))


def doubt(p: np.ndarray) -> np.ndarray:
    """Return how far from sure a probability is: p (1 - p)."""
    return np.asarray(p * (1 - p))
