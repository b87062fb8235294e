"""What is believed at one time, and which outcomes have led to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    """Beliefs at some cells, and the outcomes that they have taken in.

    Attributes:
        cells: numbers of the cells.
        asked: how many cells were told or pending when these were sought.
        tuned: hyperparameters and the correlation between the trials of a cell.
        beliefs: about the cells.
        taken: cell to successes and trials.
    """

    cells: np.ndarray
    asked: int
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

    def changes(self, wanted: Mapping[int, Outcome]) -> list[int]:
        """Return the cells whose outcomes differ from those taken in, in ascending order."""
        every = sorted({*self.taken, *wanted})
        return [cell for cell in every if self.taken.get(cell, NOTHING) != wanted.get(cell, NOTHING)]

    def take(self, cell: int, outcome: Outcome) -> None:
        """Take in an outcome, in place of an earlier one of the cell; `NOTHING` takes that back."""
        new, old = (self.tuned.weigh(*one) for one in (outcome, self.taken.pop(cell, NOTHING)))
        self.beliefs.observe(self.number[cell], new[0] - old[0], new[1] - old[1])
        if outcome != NOTHING:
            self.taken[cell] = outcome

    def left_by(self, cells: Iterable[int]) -> np.ndarray:
        """Return `Beliefs.left_by` of those of the cells that are here."""
        return self.beliefs.left_by([self.number[cell] for cell in cells if cell in self.number])
