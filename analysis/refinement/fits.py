"""Surfaces of the outcomes of cells: how often they succeed, and where they are defined at all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

from analysis.refinement.candidates import Candidates
from analysis.surface import DEFAULT, Outcomes, Schedule, Surface, Tuned, add_up, fit_outcomes

REFIT_SHARE = 0.02
"""Share of new outcomes after which a surface is fitted again."""
RETUNE_SHARE = 0.15
"""Share of new outcomes after which hyperparameters are chosen again."""

DRAWS = Schedule(chains=200)
"""800 draws to choose by; `LARGE` has fewer, and takes its place where there are many outcomes."""

Outcome = tuple[float, float]
"""Successes and trials of a cell; no trials if its outcome is undefined."""


def rate_surface(
    of: Candidates, outcomes: Mapping[int, Outcome], tuned: Tuned | None = None, schedule: Schedule = DEFAULT
) -> Surface:
    """Return the surface of the rate of success.

    Args:
        of: all cells.
        outcomes: of some of them, by number, each with trials.
        tuned: hyperparameters; None to choose them by the evidence.
        schedule: how long to sample from the posterior.
    """
    cells = np.array(sorted(outcomes), int)
    counts = np.array([outcomes[cell] for cell in cells])
    return _fitted(of, cells, counts[:, 0], counts[:, 1], of.seeds[cells], of.seed_count, tuned, schedule)


def defined_surface(of: Candidates, told: Mapping[int, Outcome], tuned: Tuned | None = None) -> Surface | None:
    """Return the surface of the rate of defined outcomes, whatever the seed; None if all are."""
    cells = np.array(sorted(told), int)
    defined = np.array([told[cell][1] > 0 for cell in cells], float)
    if defined.all():
        return None
    return _fitted(of, cells, defined, np.ones(len(cells)), np.zeros(len(cells), int), 1, tuned)


def defined_at(of: Candidates, told: Mapping[int, Outcome]) -> np.ndarray:
    """Return the probability of a defined outcome at each distinct point, (K,)."""
    return _probability(of, defined_surface(of, told))


class Fits:
    """Fits that keep what takes long until there is enough that is new.

    Args:
        of: all cells.
    """

    def __init__(self, of: Candidates) -> None:
        self._of = of
        self._rate: tuple[int, Tuned] | None = None
        self._defined: tuple[int, Tuned] | None = None
        self._chance, self._told = np.ones(len(of.at)), 0

    def rate(self, known: Mapping[int, Outcome]) -> Surface:
        """Return `rate_surface`, with `DRAWS`."""
        tuned = _still_good(self._rate, len(known))
        surface = rate_surface(self._of, known, tuned, DRAWS)
        if tuned is None:
            self._rate = len(known), surface.tuned
        return surface

    def defined(self, told: Mapping[int, Outcome]) -> np.ndarray:
        """Return `defined_at`, of these outcomes or up to `REFIT_SHARE` fewer."""
        if all(trials for _, trials in told.values()):
            return np.ones(len(self._of.at))
        if len(told) > (1 + REFIT_SHARE) * self._told:
            tuned = _still_good(self._defined, len(told))
            surface = defined_surface(self._of, told, tuned)
            if tuned is None and surface is not None:
                self._defined = len(told), surface.tuned
            self._chance, self._told = _probability(self._of, surface), len(told)
        return self._chance


def _still_good(kept: tuple[int, Tuned] | None, count: int) -> Tuned | None:
    return kept[1] if kept is not None and count < (1 + RETUNE_SHARE) * kept[0] else None


def _probability(of: Candidates, surface: Surface | None) -> np.ndarray:
    if surface is None:
        return np.ones(len(of.at))
    found = surface.predict(of.at)
    return np.asarray(ndtr(found.means / np.sqrt(1 + found.variance)).mean(axis=0))


def _fitted(
    of: Candidates,
    cells: np.ndarray,
    successes: np.ndarray,
    trials: np.ndarray,
    clusters: np.ndarray,
    count: int,
    tuned: Tuned | None,
    schedule: Schedule = DEFAULT,
) -> Surface:
    place, rows = np.unique(of.place[cells], return_inverse=True)
    counts = add_up(rows, clusters, successes, trials, count)
    outcomes = Outcomes(of.at[place], counts, clustered=count > 1)
    rng = np.random.default_rng(len(cells))
    return fit_outcomes(outcomes, of.scaling, rng=rng, tuned=tuned, schedule=schedule)
