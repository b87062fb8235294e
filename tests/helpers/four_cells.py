"""A search space of four tiny cells in two packs, for tests that damage or change a finished sweep."""

from __future__ import annotations

from lop_sweep.config import CellConfig
from lop_sweep.planning.space import SearchSpace

BASE = CellConfig(width=6, depth=2, samples=8, steps=3, tasks=5, fresh_baseline=2)
GRID = tuple(BASE.replace(seed=seed, lr=lr) for lr in (0.1, 0.4) for seed in range(2))
SPACE = SearchSpace(cells=GRID, name="here", pack=("seed",))
