"""A real, small store to analyse, computed in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from lop_sweep.pack import make_packs
from lop_sweep.plan import describe_space
from lop_sweep.space import SearchSpace, expand_space
from lop_sweep.store import Store
from lop_sweep.sweep import SweepOptions, _provenance
from lop_sweep.trainable import LopTrainable


def compute(space: SearchSpace, out: Path) -> Path:
    store = Store(out)
    store.create()
    store.write_sweep({**_provenance("now", SweepOptions()), **describe_space(space)})
    for pack in make_packs(space.cells, space.pack or ()):
        trainable = LopTrainable({**pack.to_config(), "store": str(out), "tasks_per_report": 1000})
        trainable.train()
    return out


@pytest.fixture(scope="session")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """depth x lr x delta x 2 seeds; lr 1.7e308 diverges; 8 tasks."""
    space = {
        "depth": {"grid_search": [1, 2]},
        "lr": {"grid_search": [0.05, 0.2, 1.7e308]},
        "delta": {"grid_search": [0.0, 2.0]},
        "seed": {"grid_search": [1, 5]},
        "width": 6, "samples": 12, "steps": 4, "tasks": 8, "fresh_baseline": 3,
    }  # fmt: skip
    cells = expand_space(space)
    return compute(SearchSpace("small", cells, ("seed",)), tmp_path_factory.mktemp("store") / "sweep")
