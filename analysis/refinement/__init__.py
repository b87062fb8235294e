"""Choose the cells of a sweep by what is known so far: ask and tell, without Ray.

    axes, candidates = make_candidates(space.cells, seconds)
    chooser = LevelSet(candidates)
    (cell,) = chooser.ask()
    chooser.tell(cell, successes=1, trials=1)

`finished` reads outcomes from a sweep directory, as `analysis.score` does.
"""

from analysis.refinement.candidates import Candidates, make_candidates
from analysis.refinement.finished import RATE, TARGETS, FinishedCells
from analysis.refinement.level_set import LevelSet
from analysis.refinement.refiner import Budget, Refiner

__all__ = ["RATE", "TARGETS", "Budget", "Candidates", "FinishedCells", "LevelSet", "Refiner", "make_candidates"]
