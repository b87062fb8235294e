"""Amplitude, lengths and the clusters' spread: weak priors, and the values that maximise the evidence.

A parameter vector holds the logs of the amplitude, of the d lengths and, with clusters, of the spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from analysis.surface.kernel import Kernel
from analysis.surface.laplace import Counts, Mode, evidence_gradient, find_mode

AMPLITUDE = (2.0, 0.3)
"""Median of the amplitude, in probits, and standard deviation of its log, under a lognormal prior.

Two probits are rates of 2% and 98%. The evidence of a sharp boundary rises with the amplitude without end, so that this
prior is the tightest.
"""

LENGTH = (0.5, 0.8)
"""The same of a length, in units of the cube."""

SPREAD = (0.5, 0.7)
"""The same of the clusters' spread, in probits. The density is 0 at 0, because the most likely spread of few clusters
is often 0 although the true one is not."""

BOUND = 3.0
"""Parameters stay within this many prior standard deviations of their medians."""


@dataclass(frozen=True)
class Problem:
    """Outcomes with the squared differences between their points, (d, M, M)."""

    squares: np.ndarray
    counts: Counts
    clustered: bool

    @property
    def prior(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the parameter vector."""
        rows = [AMPLITUDE, *[LENGTH] * len(self.squares), *[SPREAD] * self.clustered]
        return np.log([median for median, _ in rows]), np.array([width for _, width in rows])

    def kernel(self, parameters: np.ndarray) -> Kernel:
        """Return the kernel with these parameters."""
        return Kernel(float(np.exp(parameters[0])), np.exp(parameters[1 : len(self.squares) + 1]))

    def spread(self, parameters: np.ndarray) -> float:
        """Return the clusters' spread."""
        return float(np.exp(parameters[-1])) if self.clustered else 0.0

    def mode(self, parameters: np.ndarray, start: Mode | None = None) -> Mode:
        """Return the latent mode under these parameters."""
        return find_mode(self.kernel(parameters)(self.squares), self.spread(parameters), self.counts, start)

    def log_density(self, parameters: np.ndarray, start: Mode | None = None) -> tuple[float, np.ndarray, Mode]:
        """Return log evidence plus log prior (up to a constant), its gradient, and the mode."""
        mode = self.mode(parameters, start)
        gradient = evidence_gradient(mode, self.counts, self.kernel(parameters).gradients(self.squares))
        mean, width = self.prior
        standard = (parameters - mean) / width
        return (
            mode.log_evidence - 0.5 * float(standard @ standard),
            gradient[: len(parameters)] - standard / width,
            mode,
        )


def maximise(problem: Problem) -> np.ndarray:
    """Return the parameters of highest posterior density, by L-BFGS from the prior's median."""
    mean, width = problem.prior
    latest: list[Mode | None] = [None]

    def loss(standard: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient, latest[0] = problem.log_density(mean + width * standard, latest[0])
        return -value, -gradient * width

    bounds = [(-BOUND, BOUND)] * len(mean)
    found = minimize(
        loss, np.zeros_like(mean), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-7, "gtol": 1e-3}
    )
    return np.asarray(mean + width * found.x)
