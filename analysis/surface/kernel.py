"""The covariance of the latent surface: a constant plus a Matern-5/2 kernel with one length per axis.

Symbols: d axes, A and B numbers of points. Coordinates are in the unit cube (`scaling.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MEAN_SD = 2.0
"""Prior standard deviation of the constant mean, in probits: rates from 2% to 98% are within one of them."""

_ROOT5 = np.sqrt(5.0)


@dataclass(frozen=True)
class Kernel:
    """A Matern-5/2 kernel plus a constant.

        k(x, x') = MEAN_SD^2 + a^2 (1 + r + r^2 / 3) exp(-r),    r^2 = 5 sum_j (x_j - x'_j)^2 / l_j^2

    Attributes:
        amplitude: a, in probits.
        lengths: (d,) l, in units of the cube.

    Source: Rasmussen and Williams, "Gaussian processes for machine learning", eq. 4.17 (2006).
    """

    amplitude: float
    lengths: np.ndarray

    @property
    def variance(self) -> float:
        """The prior variance of the latent at any point."""
        return MEAN_SD**2 + self.amplitude**2

    def __call__(self, squares: np.ndarray) -> np.ndarray:
        """Return the covariance between points, from their `squares`, (d, A, B), as (A, B)."""
        r = self._distance(squares)
        return MEAN_SD**2 + self.amplitude**2 * (1 + r + r * r / 3) * np.exp(-r)

    def gradients(self, squares: np.ndarray) -> np.ndarray:
        """Return the covariance's derivatives by log a and by each log l, (1 + d, A, B)."""
        r = self._distance(squares)
        decay = np.exp(-r)
        by_amplitude = 2 * self.amplitude**2 * (1 + r + r * r / 3) * decay
        shared = self.amplitude**2 * (5 / 3) * (1 + r) * decay
        by_length = [shared * square / length**2 for square, length in zip(squares, self.lengths, strict=True)]
        return np.stack([by_amplitude, *by_length])

    def _distance(self, squares: np.ndarray) -> np.ndarray:
        scaled = np.tensordot(1 / self.lengths**2, squares, axes=1)
        return np.asarray(_ROOT5 * np.sqrt(scaled))
