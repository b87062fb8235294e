"""Choose the cells that tell most about where a rate passes a level: ask for cells, and tell their outcomes.

After a coarse design, each cell is the one whose outcome is expected to lower the doubt about the side of the boundary
most, per second that it takes: stepwise uncertainty reduction (SUR). With the probability p that the rate is above the
level, doubt is min(p, 1 - p) and a little of p (1 - p), summed over reference points. The first alone asks for seed
after seed where the rate is close to the level, and leaves the band wide elsewhere. Another seed at a known point is a
candidate like any other, so there is no rule of when to add points and when seeds. Cells that are being computed count
as having their most probable outcome.

Where the surface is sure, it is never asked, even if it is wrong. So of the first n cells about 2 sqrt(n) are those
farthest from all others, whatever their outcomes and costs: an island is found sooner or later.

Outcomes that are undefined, as of networks that diverge, are told as 0 trials. A second surface says how probable they
are: where an outcome is improbable, reference points do not count, candidates count less, and nothing is explored.

Source: Bect, Ginsbourger, Li, Picheny and Vazquez, "Sequential design of computer experiments for the estimation of a
probability of failure", Statistics and Computing 22 (2012), for the criterion; Letham, Guan, Tymms, Bakshy and
Shvartsman, "Look-ahead acquisition functions for Bernoulli level set estimation", AISTATS (2022), for outcomes that
succeed or fail, with the doubt min(p, 1 - p). Here outcomes share a shift per seed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri

from analysis.refinement.beliefs import Beliefs
from analysis.surface import NO_SHIFT, Latent, Scaling, fit_latent, fit_surface, scaling_of
from lop_sweep.errors import AnalysisError

MAX_REFERENCE = 400
"""Points that the boundary is sought among, a random subset if there are more."""
MAX_CANDIDATES = 400
"""Points whose outcomes are weighed for the next cell: those nearest to the boundary, and as many others."""
REFIT_SHARE = 0.02
"""Share of new outcomes after which the surface is fitted again; in between they are taken in one by one."""
RETUNE_SHARE = 0.15
"""The same after which its hyperparameters are chosen again."""
DOUBT = 0.025
"""Probability of being on the wrong side from which a point counts as unsure: its own 95% interval has the level."""


EXPLORED = 0.25
"""Probability of a defined outcome from which a cell is explored: a few undefined outcomes may have been bad luck."""
_TINY = 1e-9
"""Squared distances that differ by less are equal."""
_PART = 256
"""Points that distances are computed to at once."""


@dataclass(frozen=True)
class Candidates:
    """The cells to choose from, N of them.

    Attributes:
        points: (N, d) values of the axes, d from 1 to 4.
        scales: "linear", "log" or "category" for each axis.
        seeds: (N,) number of each cell's seed, from 0.
        seconds: (N,) what each costs.
        shapes: (N,) number of each cell's shape; cells of one shape can be computed together.

    Raises:
        AnalysisError: there is none, or an axis cannot be used.
    """

    points: np.ndarray
    scales: tuple[str, ...]
    seeds: np.ndarray
    seconds: np.ndarray
    shapes: np.ndarray

    def __post_init__(self) -> None:
        scaling_of(self.points, self.scales)

    @cached_property
    def scaling(self) -> Scaling:
        """The map to the unit cube."""
        return scaling_of(self.points, self.scales)

    @cached_property
    def coordinates(self) -> np.ndarray:
        """(N, d) in the unit cube."""
        return self.scaling.coordinates(self.points)

    @cached_property
    def place(self) -> np.ndarray:
        """(N,) number of each cell's distinct point."""
        return self._distinct[1].ravel()

    @cached_property
    def places(self) -> np.ndarray:
        """(K, d) coordinates of the distinct points."""
        return self._distinct[0]

    @cached_property
    def _distinct(self) -> tuple[np.ndarray, np.ndarray]:
        places, place = np.unique(self.coordinates, axis=0, return_inverse=True)
        return places, place


@dataclass(frozen=True)
class _Standing:
    """Beliefs at some cells, and the outcomes that they have taken in since the fit.

    Attributes:
        fit: the surface.
        cells: numbers of the cells, the first `candidates` of which can be chosen.
        candidates: how many.
        beliefs: about them.
        taken: cell to successes and trials, of what is known and of what is assumed.
    """

    fit: Latent
    cells: np.ndarray
    candidates: int
    beliefs: Beliefs
    taken: dict[int, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def number(self) -> dict[int, int]:
        """The place of each cell in `cells`."""
        return {int(cell): number for number, cell in enumerate(self.cells)}

    def has(self, cells: Iterable[int]) -> bool:
        """Return whether all these cells are here."""
        return all(cell in self.number for cell in cells)

    def can_choose(self, cell: int) -> bool:
        """Return whether a cell is a candidate."""
        return self.number.get(cell, self.candidates) < self.candidates

    def agrees(self, pending: Collection[int], recent: Mapping[int, tuple[float, float]]) -> bool:
        """Return whether nothing that was assumed has turned out wrong."""
        expected = {cell: recent.get(cell, outcome) for cell, outcome in self.taken.items()}
        return expected == self.taken and self.taken.keys() <= {*pending, *recent}

    def reset(self) -> None:
        """Forget what was taken in."""
        self.beliefs.reset()
        self.taken.clear()

    def observe(self, cell: int, outcome: tuple[float, float]) -> None:
        """Take in an outcome, unless it was assumed."""
        if cell not in self.taken:
            self.beliefs.observe(self.number[cell], *outcome)
            self.taken[cell] = outcome

    def assume(self, number: int) -> None:
        """Assume the most probable outcome of the cell with this number."""
        outcome = float(self.beliefs.success(number) >= 0.5), 1.0
        self.beliefs.observe(number, *outcome)
        self.taken[int(self.cells[number])] = outcome


def _explores(asked: int) -> bool:
    """Return whether the next cell is to be the one farthest from all others, as 2 sqrt(n) of the first n cells are."""
    return math.isqrt(4 * (asked + 1)) > math.isqrt(4 * asked)


class LevelSet:
    """Chooses cells one after the other.

    Its choice depends on the outcomes, on their order where there are many, and on what is being computed; nothing is
    random.

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
        self._told: dict[int, tuple[float, float]] = {}
        self._dropped: set[int] = set()
        self._fit: Latent | None = None
        self._defined: Latent | None = None
        self._standing: _Standing | None = None
        self._fitted: set[int] = set()
        self._tuned_at = 0
        self._seeds = int(candidates.seeds.max()) + 1
        rng, places = np.random.default_rng(0), len(candidates.places)
        chosen = np.sort(rng.permutation(places)[:MAX_REFERENCE]) if places > MAX_REFERENCE else np.arange(places)
        self._reference = candidates.places[chosen]
        self._first_cells = np.unique(candidates.place, return_index=True)[1][chosen]

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
            AnalysisError: more successes than trials.
        """
        if not 0 <= successes <= trials:
            raise AnalysisError(f"cell {cell}: {successes:g} successes of {trials:g} trials; they cannot be more")
        if self._told.get(cell) != (successes, trials):
            self._fitted.discard(cell)
            if cell in self._told:  # seen by the fit with another outcome
                self._fit = None
        self._told[cell] = (successes, trials)

    def drop(self, cell: int) -> None:
        """Never ask for a cell (again): it cannot be computed."""
        self._dropped.add(cell)

    def open_cells(self, pending: Collection[int] = ()) -> np.ndarray:
        """Return the cells that are neither told, pending nor dropped, in ascending order."""
        return np.setdiff1d(np.arange(len(self._of.seeds)), [*self._told, *pending, *self._dropped])

    def ask(self, pending: Collection[int] = (), *, seconds: float = 0.0, most: int = 1) -> list[int]:
        """Return the cells to compute next, of one shape; none if all are told, pending or dropped.

        Args:
            pending: cells that are being computed.
            seconds: what the cells together should take at least, if there are enough of one shape.
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

        It is that of the exact posterior, `analysis.surface.fit_surface`, and each point's own. Points at which
        outcomes are not defined do not count. It is 1 before two points have a defined outcome.
        """
        cells = np.array([cell for cell, (_, trials) in self._told.items() if trials], int)
        if len(np.unique(self._of.place[cells])) < 2:
            return 1.0
        counts = np.array([self._told[cell] for cell in cells])
        surface = fit_surface(
            self._of.points[cells], counts[:, 0], counts[:, 1],
            clusters=self._of.seeds[cells] if self._seeds > 1 else None, scales=self._of.scales,
        )  # fmt: skip
        self._refit()
        inside = self._weight(self._reference) > 0.5
        points = self._of.points[self._first_cells][inside]
        score = surface.predict(points).score(surface.threshold(self._level))
        return float((np.abs(score) < ndtri(1 - DOUBT)).mean()) if inside.any() else 0.0

    def rates(self) -> np.ndarray:
        """Return the median rate at each distinct point, (K,), NaN where outcomes are not defined.

        The order is that of `Candidates.places`.

        Raises:
            AnalysisError: no outcome is defined yet.
        """
        if not any(trials for _, trials in self._told.values()):
            raise AnalysisError("no outcome is defined yet; tell more cells")
        fit, places = self._refit(), self._of.places
        mean = fit.mean(places, np.full(len(places), NO_SHIFT))
        return np.where(self._weight(places) > 0.5, ndtr(mean / np.hypot(1, fit.spread)), np.nan)

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
        turn = (self._of.seeds[there] - len(asked)) % self._seeds
        return int(there[np.argmin(turn)])

    def _explored(self, open_cells: np.ndarray, asked: Sequence[int]) -> int | None:
        """Return the next cell if it is to be the one farthest from those asked for, else None.

        Only cells count whose outcome may well be defined, if there are any.
        """
        if not len(open_cells) or not _explores(len(asked)):
            return None
        defined = open_cells[self._weight(self._of.coordinates[open_cells]) > EXPLORED]
        return self._farthest(defined if len(defined) else open_cells, asked)

    def _best(
        self, open_cells: np.ndarray, asked: list[int], pending: list[int], seconds: float, most: int
    ) -> list[int]:
        """Return cells of one shape, the best first; some are explored instead."""
        fit = self._refit()
        explored = self._explored(open_cells, asked)
        now = self._standing_for(open_cells, pending, explored, fit)
        cells, beliefs = now.cells[: now.candidates], now.beliefs
        free = np.isin(cells, open_cells)
        weight = self._weight(self._reference)
        worth = np.where(weight > 0.5, weight, 0.0)
        price = self._of.seconds[cells] / self._weight(self._of.coordinates[cells])
        chosen: list[int] = []
        while free.any() and len(chosen) < most:
            if chosen and self._of.seconds[cells[chosen]].sum() >= seconds:
                break
            if explored is not None:
                best = now.number[explored]
            else:
                value = (beliefs.gains()[: len(cells)] @ worth) / price
                best = int(np.argmax(np.where(free, value, -np.inf)))
            now.assume(best)
            chosen.append(best)
            free &= self._of.shapes[cells] == self._of.shapes[cells[best]]
            free[best] = False
            explored = self._explored(cells[free], [*asked, *cells[chosen]])
        return [int(cells[number]) for number in chosen]

    def _standing_for(self, open_cells: np.ndarray, pending: list[int], explored: int | None, fit: Latent) -> _Standing:
        """Return what is believed now: that of the last time, if it only lacks outcomes, or made anew."""
        recent = self._recent()
        now = self._standing
        if (
            now is None
            or now.fit is not fit
            or not now.has([*pending, *recent])
            or not (explored is None or now.can_choose(explored))
            or not np.isin(now.cells[: now.candidates], open_cells).any()
        ):
            candidates = np.union1d(self._weigh(open_cells, fit), [] if explored is None else [explored]).astype(int)
            cells = np.array([*candidates, *pending, *recent], int)
            beliefs = Beliefs(
                fit, self._of.coordinates[cells], self._of.seeds[cells], self._reference, fit.threshold(self._level)
            )
            now = self._standing = _Standing(fit, cells, len(candidates), beliefs)
        if not now.agrees(pending, recent):
            now.reset()
        for cell, outcome in recent.items():
            now.observe(cell, outcome)
        for cell in pending:
            if cell not in now.taken:
                now.assume(now.number[cell])
        return now

    def _weigh(self, open_cells: np.ndarray, fit: Latent) -> np.ndarray:
        """Return the candidates that are worth a closer look: at each point the best and the least known seed."""
        place = self._of.place[open_cells]
        places = np.unique(place)
        at, without = self._of.places[places], np.full(len(places), NO_SHIFT)
        if len(places) > MAX_CANDIDATES:
            side = (fit.mean(at, without) - fit.threshold(self._level)) / np.sqrt(fit.variance(at, without))
            near = np.argsort(np.abs(side), kind="stable")
            rest = np.random.default_rng(len(self._told)).permutation(near[MAX_CANDIDATES // 2 :])
            places = places[np.sort(np.concatenate([near[: MAX_CANDIDATES // 2], rest[: MAX_CANDIDATES // 2]]))]
        known = np.diag(fit.mode.curvature.P)[self._of.seeds[open_cells]]
        chosen = []
        for order in (np.lexsort((open_cells, known, place)), np.lexsort((open_cells, -known, place))):
            first = np.unique(place[order], return_index=True)
            inside = np.isin(first[0], places)
            chosen.append(open_cells[order[first[1][inside]]])
        return np.unique(np.concatenate(chosen))

    def _recent(self) -> dict[int, tuple[float, float]]:
        """Return the defined outcomes since the fit, by cell, divided by their design effect."""
        within = self._fit.tuned.correlation if self._fit else 0.0
        recent = {cell: told for cell, told in self._told.items() if told[1] and cell not in self._fitted}
        effect = {cell: 1 + max(n - 1, 0) * within for cell, (_, n) in recent.items()}
        return {cell: (k / effect[cell], n / effect[cell]) for cell, (k, n) in recent.items()}

    def _refit(self) -> Latent:
        """Return the surface, fitted again if there are enough new outcomes."""
        new = len(self._told.keys() - self._fitted)
        if self._fit is not None and new <= REFIT_SHARE * len(self._told):
            return self._fit
        retune = self._fit is None or len(self._told) >= (1 + RETUNE_SHARE) * self._tuned_at
        if retune:
            self._tuned_at = len(self._told)
        cells = np.array(sorted(self._told), int)
        outcomes = np.array([self._told[cell] for cell in cells])
        at, defined = self._of.coordinates[cells], outcomes[:, 1] > 0
        used = cells[defined]
        self._fit = fit_latent(
            self._of.scaling, at[defined], self._of.seeds[used], outcomes[defined, 0], outcomes[defined, 1],
            self._seeds, self._fit, retune=retune,
        )  # fmt: skip
        if defined.all():
            self._defined = None
        else:
            alone, once = np.zeros(len(cells), int), np.ones(len(cells))
            self._defined = fit_latent(self._of.scaling, at, alone, defined, once, 1, self._defined, retune=retune)
        self._fitted = set(self._told)
        return self._fit

    def _weight(self, at: np.ndarray) -> np.ndarray:
        """Return the probability that outcomes at coordinates are defined."""
        if self._defined is None:
            return np.ones(len(at))
        without = np.full(len(at), NO_SHIFT)
        mean, variance = self._defined.mean(at, without), self._defined.variance(at, without)
        return np.asarray(ndtr(mean / np.sqrt(1 + variance)))
