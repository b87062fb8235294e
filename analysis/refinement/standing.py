"""What is believed at one time, and which outcomes, known or assumed, have led to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from analysis.refinement.beliefs import Beliefs
from analysis.refinement.fits import Outcome
from analysis.surface import Tuned

EFFECTIVE = 0.5
"""Effective share of the draws below which new ones are wanted."""

NOTHING: Outcome = (0.0, 0.0)


@dataclass
class Standing:
    """Beliefs at some cells, and the outcomes that they have taken in. `copy` lets one look ahead without a trace.

    Attributes:
        cells: numbers of the cells, the first `candidates` of which can be chosen.
        candidates: how many.
        asked: how many cells were told or pending when the candidates were sought.
        trials: what a cell usually has.
        tuned: hyperparameters and the correlation between the trials of a cell.
        beliefs: about the cells.
        taken: cell to successes and trials, of what is known and of what is assumed.
    """

    cells: np.ndarray
    candidates: int
    asked: int
    trials: float
    tuned: Tuned
    beliefs: Beliefs
    taken: dict[int, Outcome]

    @cached_property
    def number(self) -> dict[int, int]:
        """The place of each cell in `cells`."""
        return {int(cell): number for number, cell in enumerate(self.cells)}

    @property
    def is_worn(self) -> bool:
        """Whether outcomes have left few of the draws effective."""
        return self.beliefs.effective < EFFECTIVE

    def has(self, cells: Iterable[int]) -> bool:
        """Return whether all these cells are here."""
        return all(cell in self.number for cell in cells)

    def can_choose(self, cell: int) -> bool:
        """Return whether a cell is a candidate."""
        return self.number.get(cell, self.candidates) < self.candidates

    def changes(self, wanted: Mapping[int, Outcome]) -> list[int]:
        """Return the cells whose outcomes differ from those taken in, in ascending order."""
        every = sorted({*self.taken, *wanted})
        return [cell for cell in every if self.taken.get(cell, NOTHING) != wanted.get(cell, NOTHING)]

    def take(self, cell: int, outcome: Outcome) -> None:
        """Take in an outcome, in place of what was known or assumed; `NOTHING` takes that back."""
        new, old = (self.tuned.weigh(*one) for one in (outcome, self.taken.pop(cell, NOTHING)))
        self.beliefs.observe(self.number[cell], new[0] - old[0], new[1] - old[1])
        if outcome != NOTHING:
            self.taken[cell] = outcome

    def assume(self, cells: Sequence[int]) -> None:
        """Take in the most probable outcome of each of these cells, by what is believed now."""
        for cell, outcome in [(cell, self._likely(cell)) for cell in cells]:
            self.take(cell, outcome)

    def _likely(self, cell: int) -> Outcome:
        successes = np.floor(self.beliefs.success(self.number[cell]) * (self.trials + 1))
        return min(float(successes), self.trials), self.trials

    def copy(self) -> Standing:
        """Return a copy that can take in outcomes of its own."""
        return replace(self, beliefs=copy(self.beliefs), taken=dict(self.taken))

    def renew(self, tuned: Tuned, beliefs: Beliefs) -> None:
        """Replace beliefs that are worn by those of a new fit to the same outcomes."""
        self.tuned, self.beliefs = tuned, beliefs
