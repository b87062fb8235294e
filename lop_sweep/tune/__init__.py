"""Running packs on Ray Tune: the driver, its workers, and everything that imports Ray."""

from lop_sweep.tune.driver import run_sweep
from lop_sweep.tune.options import SweepOptions
from lop_sweep.tune.session import local_ray

__all__ = [
    "SweepOptions",
    "local_ray",
    "run_sweep",
]
