"""Refine a boundary over the cells of a search space: which cells come next, and when there are enough."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.refinement.candidates import make_candidates
from analysis.refinement.finished import FinishedCells
from analysis.refinement.level_set import LevelSet
from analysis.scoring import LossCriterion
from lop_sweep.config import CellConfig
from lop_sweep.errors import AnalysisError
from lop_sweep.storage import Store

WIDTH_SHARE = 0.05
"""Share of new outcomes after which the band's width is computed again."""


@dataclass(frozen=True)
class Budget:
    """When there are enough cells: as soon as any of the limits is reached.

    All count the cells of the search space that the directory has, so that the same command again does nothing.

    Attributes:
        cells: number of cells.
        seconds: core-seconds by the cost model.
        width: share of the points whose side of the boundary is not known with 95%.

    Raises:
        AnalysisError: no limit is given, or one is out of range.
    """

    cells: int | None = None
    seconds: float | None = None
    width: float | None = None

    def __post_init__(self) -> None:
        if self.cells is None and self.seconds is None and self.width is None:
            raise AnalysisError("a refinement needs a limit: a number of cells, core-time, or a width of the band")
        if self.cells is not None and (not isinstance(self.cells, int) or self.cells < 1):
            raise AnalysisError(f"cells = {self.cells!r}: must be an integer of at least 1")
        if self.seconds is not None and not (isinstance(self.seconds, (int, float)) and self.seconds > 0):
            raise AnalysisError(f"seconds = {self.seconds!r}: must be a positive number")
        if self.width is not None and not (isinstance(self.width, (int, float)) and 0 < self.width < 1):
            raise AnalysisError(f"width = {self.width!r}: must be between 0 and 1, a share of the points")


class Refiner:
    """Chooses the cells of a search space near a boundary; a `lop_sweep.planning.Chooser`.

        refiner = Refiner(space.cells, "results", budget=Budget(cells=100))

    Args:
        cells: to choose from. One to four fields vary beside the seed.
        directory: the sweep directory, whose finished cells are taken in.
        budget: when there are enough.
        seconds: what each cell costs; None: all the same.
        target: what the boundary is of: one of `analysis.refinement.TARGETS`.
        level: of the rate, between 0 and 1.
        criterion: when plasticity counts as lost.

    Raises:
        AnalysisError: the cells do not vary in one to four fields, or an argument is out of range.
        StoreError: a file in the directory is damaged.
    """

    def __init__(
        self,
        cells: Sequence[CellConfig],
        directory: str | Path,
        *,
        budget: Budget,
        seconds: Sequence[float] | None = None,
        target: str = "lost",
        level: float = 0.5,
        criterion: LossCriterion | None = None,
    ) -> None:
        self.cells = tuple(cells)
        self.seconds = [1.0] * len(self.cells) if seconds is None else list(seconds)
        needs_fresh = target != "diverged" and (criterion or LossCriterion()).definition != "paired"
        if needs_fresh and not any(cell.fresh_baseline for cell in self.cells):
            raise AnalysisError(
                "fresh_baseline = 0: without fresh networks there is nothing to compare with; set it to 20 or more"
            )
        self.axes, candidates = make_candidates(self.cells, self.seconds)
        self._choice = LevelSet(candidates, level)
        self._number = {cell.id: number for number, cell in enumerate(self.cells)}
        self._finished = FinishedCells(directory, target, criterion)
        self._target, self._level = target, level
        self._budget, self._spent = budget, 0.0
        self._width, self._width_at = 1.0, 0
        if Store(directory).read_sweep() is not None:
            self._take_in(self._finished.load())

    @property
    def told(self) -> int:
        """How many of the cells have been computed."""
        return self._choice.told

    @property
    def width(self) -> float:
        """The width of the band, by the last outcomes or those up to 5% before: see `LevelSet.unsure`."""
        if self._width_at == 0 or self.told >= (1 + WIDTH_SHARE) * self._width_at:
            self._width, self._width_at = self._choice.unsure(), self.told
        return self._width

    @property
    def expected(self) -> int:
        """How many cells there will be, if only their number is limited; else those so far, and one more."""
        if self._budget.cells is not None and self._budget.seconds is None and self._budget.width is None:
            return min(self._budget.cells, len(self.cells))
        return min(self.told + 1, len(self.cells))

    @property
    def note(self) -> str:
        """The width of the band in words."""
        return f"side unknown at {100 * self.width:.0f}% of the points"

    def describe(self) -> dict[str, Any]:
        """Return what it looks for, when it ends and what it knows: the fields of `lop_sweep.planning.Refinement`."""
        limit = self._budget
        limits = {"cells": limit.cells, "seconds": limit.seconds, "until": limit.width}
        looked_for = {"target": self._target, "level": self._level, "choice": len(self.cells)}
        return {**looked_for, **limits, "width": round(self.width, 4), "ended": self._ended}

    @property
    def _ended(self) -> bool:
        """Whether nothing would be asked for if nothing were being computed, without the cost of choosing it."""
        return self._allowed([], 1) < 1 or not len(self._choice.open_cells())

    def ask(self, pending: Collection[str] = (), *, seconds: float = 0.0, most: int = 1) -> list[CellConfig]:
        """Return cells of one shape to compute next; none if the budget is spent. Arguments as for `LevelSet.ask`."""
        begun = [self._number[cell] for cell in pending if cell in self._number]
        most = self._allowed(begun, most)
        if most < 1:
            return []
        return [self.cells[number] for number in self._choice.ask(begun, seconds=seconds, most=most)]

    def _allowed(self, begun: Sequence[int], most: int) -> int:
        """Return how many of so many cells the budget allows beside those begun; none if it is spent."""
        limit = self._budget
        if limit.cells is not None:
            most = min(most, limit.cells - self.told - len(begun))
        spent = self._spent + sum(self.seconds[number] for number in begun)
        if most < 1 or (limit.seconds is not None and spent >= limit.seconds):
            return 0
        if limit.width is not None and self.told >= self._choice.design and self.width <= limit.width:
            return 0
        return most

    def tell(self, pack: str) -> None:
        """Take in the results of a pack.

        Raises:
            StoreError: they cannot be read.
        """
        self._take_in(self._finished.add(pack))

    def drop(self, cells: Collection[str]) -> None:
        """Never ask for these cells again."""
        for cell in cells:
            self._choice.drop(self._number[cell])

    def _take_in(self, outcomes: dict[str, tuple[float, float]]) -> None:
        for cell, outcome in outcomes.items():
            number = self._number.get(cell)  # the directory may have other cells, too
            if number is not None:
                before = self.told
                self._choice.tell(number, *outcome)
                self._spent += self.seconds[number] if self.told > before else 0.0
