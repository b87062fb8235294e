"""lop-sweep: where networks that learn task after task lose the ability to learn.

Importing this package imports nothing else: neither NumPy (`lop_sweep.machine.prepare_process` must be able to choose
OpenBLAS's kernels first) nor Ray (`lop_sweep.ray_session` must be able to protect it first). Names are loaded when
they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lop_sweep.config import CellConfig
    from lop_sweep.errors import LopSweepError
    from lop_sweep.experiment import Experiment
    from lop_sweep.ray_session import local_ray
    from lop_sweep.reference import ReferenceExperiment
    from lop_sweep.space import SearchSpace, load_space
    from lop_sweep.store import Store
    from lop_sweep.sweep import run_sweep
    from lop_sweep.trainable import LopTrainable

__version__ = "0.1.0"

__all__ = [
    "CellConfig",
    "Experiment",
    "LopSweepError",
    "LopTrainable",
    "ReferenceExperiment",
    "SearchSpace",
    "Store",
    "__version__",
    "load_space",
    "local_ray",
    "run_sweep",
]

_LOADED_ON_USE = {
    "CellConfig": "config",
    "Experiment": "experiment",
    "LopSweepError": "errors",
    "LopTrainable": "trainable",
    "ReferenceExperiment": "reference",
    "SearchSpace": "space",
    "Store": "store",
    "load_space": "space",
    "local_ray": "ray_session",
    "run_sweep": "sweep",
}


def __getattr__(name: str) -> Any:
    if name in _LOADED_ON_USE:
        return getattr(importlib.import_module(f"lop_sweep.{_LOADED_ON_USE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
