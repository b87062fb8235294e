"""lop-sweep: where networks that learn task after task lose the ability to learn."""

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
    from lop_sweep.planning import load_space as load_space
    from lop_sweep.storage import Store as Store
    from lop_sweep.tune import local_ray as local_ray
    from lop_sweep.tune import run_sweep as run_sweep
    from lop_sweep.tune.trainable import LopTrainable as LopTrainable

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "config": ["CellConfig"],
        "errors": ["LopSweepError"],
        "experiment": ["Experiment", "ReferenceExperiment"],
        "planning": ["SearchSpace", "load_space"],
        "storage": ["Store"],
        "tune": ["local_ray", "run_sweep"],
        "tune.trainable": ["LopTrainable"],
    },
)
