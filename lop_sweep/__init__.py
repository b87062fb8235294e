"""lop-sweep: find out where networks that learn task after task lose the ability to learn.

A search space names the configurations, a sweep computes them in parallel, and the sweep directory holds the results
as Parquet files. Running the same sweep again computes only what is missing.

    import pandas
    from ray import tune

    import lop_sweep

    param_space = {
        "depth": tune.grid_search([1, 2]),
        "lr": tune.grid_search([0.1, 0.4]),
        "seed": tune.grid_search([0, 1]),
        "width": 8, "samples": 16, "steps": 10, "tasks": 12, "fresh_baseline": 2,
    }
    space = lop_sweep.SearchSpace(param_space, name="first")
    outcome = lop_sweep.run_sweep(space, "results", cpus=2, progress=False)
    print(outcome.status.finished, "of", outcome.status.cells, "cells finished")

    tasks = pandas.read_parquet("results/tasks")  # one row per cell and task
    print(tasks.groupby(["depth", "lr"])["final_ce"].mean())

`CellConfig` documents the fields of a configuration and `SweepOptions` the keywords of `run_sweep`. To run one cell in
this process, use `Experiment`. To run cells in a Tuner of your own, use `LopTrainable`. The package `analysis` scores a
sweep and draws maps of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lop_sweep.lazy import attach
from lop_sweep.version import __version__ as __version__

if TYPE_CHECKING:
    from lop_sweep.config import CellConfig as CellConfig
    from lop_sweep.errors import LopSweepError as LopSweepError
    from lop_sweep.experiment import Experiment as Experiment
    from lop_sweep.experiment import ReferenceExperiment as ReferenceExperiment
    from lop_sweep.planning import SearchSpace as SearchSpace
    from lop_sweep.planning import Status as Status
    from lop_sweep.planning import load_space as load_space
    from lop_sweep.registry import register as register
    from lop_sweep.storage import Store as Store
    from lop_sweep.tune import LevelSetSearcher as LevelSetSearcher
    from lop_sweep.tune import LopTrainable as LopTrainable
    from lop_sweep.tune import Outcome as Outcome
    from lop_sweep.tune import SweepOptions as SweepOptions
    from lop_sweep.tune import local_ray as local_ray
    from lop_sweep.tune import run_refinement as run_refinement
    from lop_sweep.tune import run_sweep as run_sweep

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "config": ["CellConfig"],
        "errors": ["LopSweepError"],
        "experiment": ["Experiment", "ReferenceExperiment"],
        "planning": ["SearchSpace", "Status", "load_space"],
        "registry": ["register"],
        "storage": ["Store"],
        "tune": [
            "LevelSetSearcher",
            "LopTrainable",
            "Outcome",
            "SweepOptions",
            "local_ray",
            "run_refinement",
            "run_sweep",
        ],
    },
)
