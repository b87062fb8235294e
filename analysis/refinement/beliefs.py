"""What is believed of the latent at the cells that may come next and at the points that the boundary is sought among.

The posterior is held as weighted draws, since it is far from normal where all outcomes agree: after eight losses of
eight at a point, a normal approximation doubts its side by 3%, the posterior by 0.03%. An outcome y of candidate i
gives draw b the weight w_b P(y | draw b), and the look-ahead is a weighted mean:

    P(q above | y at i) = sum_b w_b P(y at i | b) [f_b(q) > threshold] / sum_b w_b P(y at i | b)

Symbols: n candidate cells, q reference points, B draws.

Source: Bect, Ginsbourger, Li, Picheny and Vazquez, "Sequential design of computer experiments for the estimation of a
probability of failure", Statistics and Computing 22 (2012); importance weights: Liu, "Monte Carlo strategies in
scientific computing", section 2.5 (2001).
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

from analysis.surface import Surface

_TINY = 1e-7
"""An outcome less probable than this is taken to be as probable, which avoids dividing by 0."""


class Beliefs:
    """Weighted draws of the latent at the items, which outcomes reweigh.

    Args:
        surface: the fit.
        points: (n, d) of the candidates, in units of the axes.
        clusters: (n,) numbers of their clusters.
        reference: (q, d) reference points.
        threshold: latent value of the boundary.
        rng: draws the latent between the fitted points.
    """

    def __init__(
        self,
        surface: Surface,
        points: np.ndarray,
        clusters: np.ndarray,
        reference: np.ndarray,
        threshold: float,
        rng: np.random.Generator,
    ) -> None:
        distinct, place = np.unique(np.concatenate([points, reference]), axis=0, return_inverse=True)
        place = place.ravel()
        latent = surface.draw(distinct, rng)
        self._z = latent[:, place[: len(points)]] + surface.shifts[:, clusters]
        self._above = (latent[:, place[len(points) :]] > threshold).astype(np.float32)
        self._success = ndtr(self._z).astype(np.float32)
        self._log_weight = np.zeros(len(latent))
        self._normalise()

    def _normalise(self) -> None:
        weight = np.exp(self._log_weight - self._log_weight.max())
        self._weight = (weight / weight.sum()).astype(np.float32)

    @property
    def effective(self) -> float:
        """The share of the draws that still count, from 0 to 1: 1 / (B times the sum of the squared weights)."""
        return float(1 / (self._weight**2).sum() / len(self._weight))

    def success(self, candidate: int) -> float:
        """Return the probability that a candidate's next trial is a success."""
        return float(self._weight @ self._success[:, candidate])

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
        """Return by how much an outcome at each candidate lowers the expected doubt at each reference point, (n, q).

        With the probability p of being above the level, doubt is p (1 - p). The same draws give the p before an outcome
        and those after it, so that no gain is negative.
        """
        weighted = self._success * self._weight[:, None]
        chance = weighted.sum(axis=0)[:, None]
        joint = weighted.T @ self._above
        before = self._weight @ self._above
        one, other = joint / np.maximum(chance, _TINY), (before - joint) / np.maximum(1 - chance, _TINY)
        one, other = np.clip(one, 0, 1), np.clip(other, 0, 1)  # rounding
        return np.maximum(doubt(before) - chance * doubt(one) - (1 - chance) * doubt(other), 0.0)


def doubt(p: np.ndarray) -> np.ndarray:
    """Return how far from sure a probability is: p (1 - p)."""
    return np.asarray(p * (1 - p))
