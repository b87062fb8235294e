"""Choose the cells that tell most about where a rate passes a level: ask for cells, and tell their outcomes.

After a coarse design, each cell is the one whose outcome is expected to lower the doubt about the side of the boundary
most, per second that it takes: stepwise uncertainty reduction (SUR). With the probability p that the rate is above the
level, doubt is p (1 - p), summed over reference points. Another seed at a known point is a candidate like any other, so
no separate rule decides between new points and more seeds. A cell that is being computed is taken to remove the same
fraction of the doubt at a reference point as it would if it were the only one.

Where the surface is sure, it is never asked, even if it is wrong. So of the first n cells about sqrt(n) are those
farthest from all others, whatever their outcomes and costs: an island is found sooner or later. Within a pack, only
cells of its shape count.

Outcomes that are undefined, as of networks that diverge, are told as 0 trials. A second surface says how probable they
are: where an outcome is improbable, reference points do not count, candidates count less, and nothing is explored.

Source: Bect, Ginsbourger, Li, Picheny and Vazquez, "Sequential design of computer experiments for the estimation of a
probability of failure", Statistics and Computing 22 (2012), for the criterion; Letham, Guan, Tymms, Bakshy and
Shvartsman, "Look-ahead acquisition functions for Bernoulli level set estimation", AISTATS (2022), for outcomes that
succeed or fail. Here outcomes share a shift per seed, and the posterior is not taken to be normal.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from scipy.special import ndtri

from analysis.refinement.beliefs import Beliefs
from analysis.refinement.candidates import Candidates
from analysis.refinement.fits import REFIT_SHARE, Fits, Outcome, defined_at, rate_surface
from analysis.refinement.standing import NOTHING, Standing
from analysis.surface import FINE, Surface
from lop_sweep.errors import AnalysisError

MAX_REFERENCE = 400
"""Points that the boundary is sought among, a random subset if there are more."""
MAX_CANDIDATES = 400
"""Points whose outcomes are weighed for the next cell: those nearest to the boundary, and as many others."""
FILLING = 0.2
"""A cell joins a pack only if its worth per second is at least this share of the best cell's, of whatever shape."""
DOUBT = 0.025
"""Probability of being on the wrong side from which a point counts as unsure: its own 95% interval has the level."""
EXPLORED = 0.25
"""Probability of a defined outcome from which a cell is explored: a few undefined outcomes may have been bad luck."""
PATIENCE = 0.02
"""New outcomes wait while they are less than this share of the cells that are being computed, and of the outcomes that
are known: they would change too little to be worth new draws, and with many workers none has to wait for a fit."""
_TINY = 1e-9
"""Squared distances that differ by less are equal."""
_PART = 256
"""Points that distances are computed to at once."""


def _explores(asked: int) -> bool:
    """Return whether the next cell is to be the one farthest from all others, as sqrt(n) of the first n cells are."""
    return math.isqrt(asked + 1) > math.isqrt(asked)


class LevelSet:
    """Chooses cells one after the other.

    Its choice depends on what it has been asked and told so far, and on nothing else: draws from the posterior are
    seeded by the number of outcomes. A new one that is told the same makes nearly the same choices.

    Args:
        candidates: the cells to choose from.
        level: of the rate, between 0 and 1.

    Raises:
        AnalysisError: the level is not between 0 and 1.
    """

    def __init__(self, candidates: Candidates, level: float = 0.5) -> None:
        if not 0 < level < 1:
            raise AnalysisError(f"level = {level}: must be between 0 and 1")
        self._of, self._level = candidates, level
        self._told: dict[int, Outcome] = {}
        self._closed = np.zeros(len(candidates.seeds), bool)
        self._fits = Fits(candidates)
        self._standing: Standing | None = None
        rng, places = np.random.default_rng(0), len(candidates.places)
        chosen = np.sort(rng.permutation(places)[:MAX_REFERENCE]) if places > MAX_REFERENCE else np.arange(places)
        self._reference = chosen

    @property
    def told(self) -> int:
        """Number of cells whose outcome is known."""
        return len(self._told)

    @property
    def design(self) -> int:
        """Number of cells that are spread evenly before the first is chosen by the outcomes."""
        return min(4 * self._of.points.shape[1] + 2, len(self._of.places))

    def tell(self, cell: int, successes: float, trials: float) -> None:
        """Take in the outcome of a cell; one that is told again replaces the earlier one.

        Args:
            cell: its number among the candidates.
            successes: such as 1 for a lost cell, or its failed tasks.
            trials: 1 for a verdict, or its late tasks; 0 if the outcome is undefined.

        Raises:
            AnalysisError: more successes than trials, or a number that no cell has.
        """
        self._check(cell)
        if not 0 <= successes <= trials:
            raise AnalysisError(f"cell {cell}: {successes:g} successes of {trials:g} trials; they cannot be more")
        self._told[cell] = (successes, trials)
        self._closed[cell] = True

    def drop(self, cell: int) -> None:
        """Never ask for a cell (again): it cannot be computed.

        Raises:
            AnalysisError: no cell has this number.
        """
        self._check(cell)
        self._closed[cell] = True

    def _check(self, cell: int) -> None:
        if not 0 <= cell < len(self._closed):
            raise AnalysisError(f"cell {cell}: must be a number from 0 to {len(self._closed) - 1}")

    def open_cells(self, pending: Collection[int] = ()) -> np.ndarray:
        """Return the cells that are neither told, pending nor dropped, in ascending order."""
        closed = self._closed.copy()
        closed[list(pending)] = True
        return np.flatnonzero(~closed)

    def ask(self, pending: Collection[int] = (), *, seconds: float = 0.0, most: int = 1) -> list[int]:
        """Return the cells to compute next, of one shape; none if all are told, pending or dropped.

        Args:
            pending: cells that are being computed.
            seconds: what the cells together should take at least, if enough of one shape are worth it.
            most: maximum number of cells.
        """
        open_cells = self.open_cells(pending)
        if not len(open_cells):
            return []
        asked = [*self._told, *pending]
        if len(asked) < self.design or not any(trials for _, trials in self._told.values()):
            return [self._farthest(open_cells, asked)]
        return self._best(open_cells, asked, list(pending), seconds, most)

    def unsure(self) -> float:
        """Return the share of the points whose side of the boundary is not known with 95%: the width of the band.

        It is that of the exact posterior, as `analysis.surface.fit_surface` draws it, and each point's own. Points at
        which outcomes are not defined do not count. It is 1 before two points have a defined outcome.
        """
        defined = self._defined
        if len(np.unique(self._of.place[list(defined)])) < 2:
            return 1.0
        places = self._reference[defined_at(self._of, self._told)[self._reference] > 0.5]
        surface = rate_surface(self._of, defined, schedule=FINE)
        score = surface.predict(self._of.at[places]).score(surface.threshold(self._level))
        return float((np.abs(score) < ndtri(1 - DOUBT)).mean()) if len(places) else 0.0

    def rates(self) -> np.ndarray:
        """Return the median rate at each distinct point, (K,), NaN where outcomes are not defined.

        The order is that of `Candidates.places`.

        Raises:
            AnalysisError: no outcome is defined yet.
        """
        if not self._defined:
            raise AnalysisError("no outcome is defined yet; tell more cells")
        median = rate_surface(self._of, self._defined).rate(self._of.at)[0]
        return np.where(defined_at(self._of, self._told) > 0.5, median, np.nan)

    @property
    def _defined(self) -> dict[int, Outcome]:
        return {cell: outcome for cell, outcome in self._told.items() if outcome[1]}

    def _farthest(self, open_cells: np.ndarray, asked: Sequence[int]) -> int:
        """Return a cell at the point that is farthest from all others: at first that in the middle.

        Seeds take turns, so that one seed's shift does not pass for the surface.
        """
        place = self._of.place[open_cells]
        places = np.unique(place)
        at = self._of.places[places]
        if asked:
            distance = np.full(len(places), np.inf)
            others = np.unique(self._of.place[list(asked)])
            for some in np.array_split(others, math.ceil(len(others) / _PART)):
                squares = self._of.scaling.squares(at, self._of.places[some]).sum(axis=0)
                distance = np.minimum(distance, squares.min(axis=1))
            chosen = places[np.argmax(distance > distance.max() - _TINY)]  # the first of those as far, but for rounding
        else:
            numeric = np.array([scale != "category" for scale in self._of.scales])
            centre = np.where(numeric, 0.5, at[0])
            chosen = places[np.argmin(self._of.scaling.squares(at, centre[None]).sum(axis=0)[:, 0])]
        there = open_cells[place == chosen]
        turn = (self._of.seeds[there] - len(asked)) % self._of.seed_count
        return int(there[np.argmin(turn)])

    def _explored(self, open_cells: np.ndarray, asked: Sequence[int], chance: np.ndarray) -> int | None:
        """Return the next cell if it is to be the one farthest from those asked for, else None.

        Only cells count whose outcome may well be defined, if there are any.
        """
        if not len(open_cells) or not _explores(len(asked)):
            return None
        good = open_cells[chance[self._of.place[open_cells]] > EXPLORED]
        return self._farthest(good if len(good) else open_cells, asked)

    def _best(
        self, open_cells: np.ndarray, asked: list[int], pending: list[int], seconds: float, most: int
    ) -> list[int]:
        """Return cells of one shape, the best first; some are explored instead."""
        chance = self._fits.defined(self._told)
        explored = self._explored(open_cells, asked, chance)
        now, waiting = self._stand(open_cells, pending)
        cells, gains = now.cells, now.beliefs.gains()
        left = np.isin(cells, open_cells)
        free = left.copy()
        worth = np.where(chance > 0.5, chance, 0.0)[self._reference] * now.left_by(waiting)
        price = self._of.seconds[cells] / chance[self._of.place[cells]]
        chosen: list[int] = []
        while len(chosen) < most and not (chosen and self._of.seconds[chosen].sum() >= seconds):
            if explored is None:
                if not free.any():
                    break
                value = gains @ worth / price
                best = int(np.argmax(np.where(free, value, -np.inf)))
                if chosen and value[best] < FILLING * value[left].max():
                    break
            cell = int(cells[best]) if explored is None else explored
            chosen.append(cell)
            worth *= now.left_by([cell])
            free &= (self._of.shapes[cells] == self._of.shapes[cell]) & (cells != cell)
            left &= cells != cell
            explored = self._explored(cells[free], [*asked, *chosen], chance)
        return chosen

    def _stand(self, open_cells: np.ndarray, pending: list[int]) -> tuple[Standing, list[int]]:
        """Return what is believed now, and the cells whose outcomes are still missing from it."""
        now, known = self._standing, self._defined
        changes = now.changes(known) if now else []
        if (
            now is None
            or len(self._told) + len(pending) > (1 + REFIT_SHARE) * now.asked
            or not np.isin(now.cells, open_cells).any()
        ):
            return self._anew(open_cells, pending), pending
        if len(changes) < PATIENCE * min(len(pending), len(known)):
            return now, [*pending, *(cell for cell in changes if cell not in now.taken)]
        if not now.has(changes):
            return self._anew(open_cells, pending), pending
        for cell in changes:
            now.take(cell, known.get(cell, NOTHING))
        if now.is_worn:
            surface = self._fits.rate(known)
            now.tuned, now.beliefs = surface.tuned, self._believe(surface, now.cells, known)
        return now, pending

    def _anew(self, open_cells: np.ndarray, pending: list[int]) -> Standing:
        """Believe what is known, about candidates that are sought anew, and return it."""
        known = self._defined
        surface = self._fits.rate(known)
        cells = np.union1d(self._candidates(open_cells, surface), pending).astype(int)
        beliefs = self._believe(surface, cells, known)
        asked = len(self._told) + len(pending)
        self._standing = Standing(cells, asked, surface.tuned, beliefs, known)
        return self._standing

    def _believe(self, surface: Surface, cells: np.ndarray, known: dict[int, Outcome]) -> Beliefs:
        trials = float(np.median([trials for _, trials in known.values()]))
        return Beliefs(
            surface, self._of.points[cells], self._of.seeds[cells], self._of.at[self._reference],
            surface.threshold(self._level), np.random.default_rng([len(known), 1]),
            trials=surface.tuned.weigh(0.0, trials)[1],
        )  # fmt: skip

    def _candidates(self, open_cells: np.ndarray, surface: Surface) -> np.ndarray:
        """Return the cells that are worth a closer look: at each point the seeds with most and with fewest outcomes."""
        place = self._of.place[open_cells]
        places = np.unique(place)
        if len(places) > MAX_CANDIDATES:
            side = surface.predict(self._of.at[places]).score(surface.threshold(self._level))
            near = np.argsort(np.abs(side), kind="stable")
            rest = np.random.default_rng(len(self._told)).permutation(near[MAX_CANDIDATES // 2 :])
            places = places[np.sort(np.concatenate([near[: MAX_CANDIDATES // 2], rest[: MAX_CANDIDATES // 2]]))]
        trials = surface.outcomes.counts.trials.sum(axis=0)[self._of.seeds[open_cells]]
        chosen = []
        for order in (np.lexsort((open_cells, trials, place)), np.lexsort((open_cells, -trials, place))):
            first = np.unique(place[order], return_index=True)
            inside = np.isin(first[0], places)
            chosen.append(open_cells[order[first[1][inside]]])
        return np.unique(np.concatenate(chosen))
