"""The two implementations that can compute one cell: the fast engine and the reference."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, comma_list
from lop_sweep.metrics import TaskRow

ENGINES: tuple[str, ...] = ("fast", "reference")


class CellExperiment(Protocol):
    """Interface of both implementations for one cell."""

    @property
    def device(self) -> str:
        """Description of the device, for the results."""
        ...

    def run_task(self) -> TaskRow:
        """Train on the next task and compute its metrics."""
        ...

    def run_fresh_baseline(self) -> np.ndarray:
        """Return the final losses of the fresh networks, (1, fresh_baseline), in nats."""
        ...


def make_experiment(config: CellConfig, engine: str, dtype: str, device: str = "cpu") -> CellExperiment:
    """Return one cell's experiment.

    Args:
        config: the cell.
        engine: "fast" or "reference"; the reference computes in float64 only.
        dtype: "float64" or "float32".
        device: one of `lop_sweep.runtime.DEVICES`; the reference computes on the CPU only.

    Raises:
        ConfigError: the engine is unknown or cannot use `dtype` or `device`, or this machine does not have the device.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine = {engine!r}: must be one of {comma_list(ENGINES)}")
    # Imported late: PyTorch takes seconds to import, and `--help` does not need it.
    from lop_sweep.experiment import Experiment, ReferenceExperiment

    if engine == "fast":
        return Experiment([config], dtype, device)
    if dtype != "float64":
        raise ConfigError(f"dtype = {dtype!r}: the reference computes in float64 only; use --engine fast")
    if device != "cpu":
        raise ConfigError(f"device = {device!r}: the reference computes on the CPU only; use --engine fast")
    return ReferenceExperiment(config)
