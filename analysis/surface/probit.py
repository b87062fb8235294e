"""The binomial likelihood with a probit link, and its derivatives by the latent value.

    log p(k | n, z) = k log Phi(z) + (n - k) log Phi(-z)

Counts need not be integers: overdispersed counts are divided by their design effect. The binomial coefficient is left
out, so that k of n trials and n single trials have the same likelihood.

Source: Rasmussen and Williams, "Gaussian processes for machine learning", section 3.4 (2006).
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)


def log_likelihood(k: np.ndarray, n: np.ndarray, z: np.ndarray) -> float:
    """Return the log likelihood, summed over all counts."""
    return float(np.sum(k * log_ndtr(z) + (n - k) * log_ndtr(-z)))


def derivatives(k: np.ndarray, n: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first, the negative second and the negative third derivative of each count's log likelihood.

    Args:
        k: successes, any shape.
        n: trials, the same shape.
        z: latent values in probits, the same shape.

    Returns:
        Gradient, curvature (not negative, as the likelihood is log-concave) and the curvature's derivative.
    """
    up, down = _mills(z), _mills(-z)
    up_bend, down_bend = up * (up + z), down * (down - z)
    gradient = k * up - (n - k) * down
    curvature = k * up_bend + (n - k) * down_bend
    third = k * _bend_slope(up, z) - (n - k) * _bend_slope(down, -z)
    return gradient, np.maximum(curvature, 0.0), third


def _mills(z: np.ndarray) -> np.ndarray:
    """Return the density over the distribution function, phi(z) / Phi(z)."""
    return np.asarray(np.exp(-z * z / 2 - _LOG_ROOT_2PI - log_ndtr(z)))


def _bend_slope(r: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the derivative by z of r (r + z), where r = phi / Phi."""
    return r * (1 - r * (r + z)) - r * (r + z) ** 2
