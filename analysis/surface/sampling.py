"""Draws from the exact latent posterior, by elliptical slice sampling around the Laplace approximation.

Where all outcomes agree, the likelihood is flat to one side and the Laplace approximation is much too wide: the sign of
the latent is then doubtful in most of a map with a sharp boundary. The draws start from the approximation and are
corrected by the ratio of the exact to the approximate likelihood. Many chains advance together.

Symbols as in `laplace.py`; B is the number of chains.

Source: Murray, Adams and MacKay, "Elliptical slice sampling", AISTATS (2010); with an approximation as reference:
Nishihara, Murray and Adams, "Parallel MCMC with generalized elliptical slice sampling", JMLR 15 (2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import log_ndtr

from analysis.surface.laplace import Counts, Mode
from analysis.surface.probit import derivatives


@dataclass(frozen=True)
class Schedule:
    """How long to sample: states are kept every `thin` steps once `burn_in` steps have been made.

    The chains start from the approximation, so they need only few steps.
    """

    chains: int = 100
    burn_in: int = 8
    kept: int = 4
    thin: int = 3


DEFAULT = Schedule()
FINE = Schedule(chains=200, kept=8)
"""Enough draws to tell 2% from 3%."""
LARGE = Schedule(chains=80, burn_in=4, kept=4, thin=1)
"""For many cells: with much data the approximation is closer, and every step costs more."""
MANY_CELLS = 3000


@dataclass(frozen=True)
class State:
    """Chains' latent values minus the mode, (B, M) and (B, S), and their log ratio of likelihoods, (B,)."""

    f: np.ndarray
    u: np.ndarray
    log_ratio: np.ndarray


class Reference:
    """The Laplace approximation as a distribution to draw from, and the exact likelihood relative to it."""

    def __init__(self, mode: Mode, counts: Counts, root_K: np.ndarray) -> None:
        self._mode, self._root_K = mode, root_K
        used = counts.trials > 0
        self._rows, self._columns = np.nonzero(used)
        cells = np.arange(len(self._rows))
        self._to_rows = csr_array((np.ones(len(cells)), (self._rows, cells)), (len(used), len(cells)))
        self._to_columns = csr_array((np.ones(len(cells)), (self._columns, cells)), (used.shape[1], len(cells)))
        self._k, self._n = counts.successes[used], counts.trials[used]
        self._centre = mode.f[self._rows] + mode.u[self._columns]
        self._gradient = derivatives(self._k, self._n, self._centre)[0]
        self._curvature = mode.curvature.W[used]
        self._root_W = np.sqrt(self._curvature)
        self._unanimous = bool(((self._k == 0) | (self._k == self._n)).all())

    def draw(self, rng: np.random.Generator, chains: int) -> tuple[np.ndarray, np.ndarray]:
        """Return draws of (f, u) minus the mode, (B, M) and (B, S).

        With a draw h from the prior and noise e of the likelihood's precision H, a draw is h - covariance (H h + e).
        """
        at = self._mode.curvature
        m, s = at.W.shape
        f = self._root_K @ rng.standard_normal((m, chains))
        u = at.spread * rng.standard_normal((s, chains))
        noise = (rng.standard_normal((chains, len(self._rows))) * self._root_W).T
        h_f, h_u = at.precision_times(f, u)
        back_f, back_u = at.covariance_times(h_f + self._to_rows @ noise, h_u + self._to_columns @ noise)
        return (f - back_f).T, (u - back_u).T

    def state(self, f: np.ndarray, u: np.ndarray) -> State:
        """Return a state with its log ratio, up to a constant."""
        step = f[:, self._rows] + u[:, self._columns]
        z = self._centre + step
        if self._unanimous:  # one call instead of two
            exact = log_ndtr(np.where(self._k > 0, z, -z)) @ self._n
        else:
            exact = log_ndtr(z) @ self._k + log_ndtr(-z) @ (self._n - self._k)
        approximate = step @ self._gradient - 0.5 * (step * step) @ self._curvature
        return State(f, u, exact - approximate)


def sample(
    mode: Mode, counts: Counts, root_K: np.ndarray, rng: np.random.Generator, schedule: Schedule = DEFAULT
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of the latent surface and of the shifts.

    Args:
        mode: from `find_mode`, for the same counts.
        counts: the outcomes.
        root_K: (M, M) lower Cholesky factor of the prior covariance of f.
        rng: draws everything.
        schedule: number of chains and steps.

    Returns:
        f, (draws, M), and u, (draws, S), with `chains * kept` draws.
    """
    reference = Reference(mode, counts, root_K)
    state = reference.state(*reference.draw(rng, schedule.chains))
    kept = []
    for step in range(1, schedule.burn_in + schedule.thin * schedule.kept + 1):
        state = advance(reference, state, rng)
        if step > schedule.burn_in and (step - schedule.burn_in) % schedule.thin == 0:
            kept.append(state)
    return mode.f + np.concatenate([one.f for one in kept]), mode.u + np.concatenate([one.u for one in kept])


def advance(reference: Reference, state: State, rng: np.random.Generator) -> State:
    """Return every chain's next state: a point on an ellipse through its own and a new draw."""
    chains = len(state.f)
    to_f, to_u = reference.draw(rng, chains)
    threshold = state.log_ratio + np.log(rng.random(chains))
    angle = rng.uniform(0, 2 * np.pi, chains)
    low, high = angle - 2 * np.pi, angle.copy()
    f, u, log_ratio = state.f.copy(), state.u.copy(), state.log_ratio.copy()
    pending = np.arange(chains)
    while len(pending):
        c, s = np.cos(angle[pending])[:, None], np.sin(angle[pending])[:, None]
        tried = reference.state(c * state.f[pending] + s * to_f[pending], c * state.u[pending] + s * to_u[pending])
        accepted = tried.log_ratio >= threshold[pending]
        done = pending[accepted]
        f[done], u[done], log_ratio[done] = tried.f[accepted], tried.u[accepted], tried.log_ratio[accepted]
        pending = pending[~accepted]
        below = angle[pending] < 0
        low[pending[below]], high[pending[~below]] = angle[pending[below]], angle[pending[~below]]
        angle[pending] = rng.uniform(low[pending], high[pending])
    return State(f, u, log_ratio)
