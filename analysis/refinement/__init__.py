"""Choose the cells of a sweep by what is known so far: ask and tell, without Ray and without a disk."""

from analysis.refinement.level_set import Candidates, LevelSet

__all__ = ["Candidates", "LevelSet"]
