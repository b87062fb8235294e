"""Running packs on Ray Tune: the driver, its workers, and everything that imports Ray.

A Tuner's worker imports this package first, when it unpickles `LopTrainable`. So the process is prepared here, and the
names are imported when they are first used: NumPy must not be loaded before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lop_sweep import runtime
from lop_sweep.lazy import attach

if TYPE_CHECKING:
    from lop_sweep.tune.driver import run_sweep as run_sweep
    from lop_sweep.tune.options import Outcome as Outcome
    from lop_sweep.tune.options import SweepOptions as SweepOptions
    from lop_sweep.tune.refining import run_refinement as run_refinement
    from lop_sweep.tune.searcher import LevelSetSearcher as LevelSetSearcher
    from lop_sweep.tune.session import local_ray as local_ray
    from lop_sweep.tune.trainable import LopTrainable as LopTrainable

runtime.prepare_process()

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "driver": ["run_sweep"],
        "options": ["Outcome", "SweepOptions"],
        "refining": ["run_refinement"],
        "searcher": ["LevelSetSearcher"],
        "session": ["local_ray"],
        "trainable": ["LopTrainable"],
    },
)
