"""What a cell costs on one CPU core, by a model: good enough to size packs by, not a promise.

    step      = C + depth * L + depth * n * h * E + F / R        one gradient step
    task      = T + steps * step + depth * (M + m^3 * V)         drawing, training, measuring
    network   = N + depth * (K + h^2 * D)                        drawing a fresh network
    cell      = network + tasks * task + fresh_baseline * (network + T + fresh_steps * step)

n points, h units a layer, m = min(n, h), F = 6 n (d h + (depth - 1) h^2 + h) operations of the matrix products. The
constants below, in seconds (R: operations a second), were fitted to one core of an AMD EPYC (Zen 4);
`benchmarks/cost_model.py` compares the model with the machine it runs on. Other machines are faster or slower by a
factor that hardly depends on the cell: their packs, which are measured in seconds, become shorter or longer by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lop_sweep.config import CellConfig

DRAW_SECONDS = 150e-6
"""Drawing a task: `T` of the formula."""
_MEASURE, _EIGENVALUES = 60e-6, 4e-10
_NETWORK, _LAYER, _DRAW = 250e-6, 90e-6, 12e-9


@dataclass(frozen=True)
class _Rates:
    """Constants of a step: `C`, `L`, `E` and `R` of the formula."""

    step: float
    layer: float
    element: float
    flops: float


_RATES = {
    "float64": _Rates(step=25e-6, layer=15e-6, element=3.5e-9, flops=45e9),
    "float32": _Rates(step=25e-6, layer=15e-6, element=1.5e-9, flops=85e9),
}


def step_seconds(config: CellConfig, dtype: str) -> float:
    """One gradient step of one network."""
    n, h = config.samples, config.width
    rates = _RATES[dtype]
    operations = 6 * n * (config.input_dim * h + (config.depth - 1) * h * h + h)
    return rates.step + config.depth * (rates.layer + n * h * rates.element) + operations / rates.flops


def task_seconds(config: CellConfig, dtype: str) -> float:
    """One task of one cell."""
    side = min(config.samples, config.width)
    measuring = config.depth * (_MEASURE + side**3 * _EIGENVALUES)
    return DRAW_SECONDS + config.steps * step_seconds(config, dtype) + measuring


def seconds_left(config: CellConfig, dtype: str, tasks_done: int = 0, fresh_done: int = 0) -> float:
    """What remains of a cell that has so many tasks and fresh networks behind it."""
    network = _NETWORK + config.depth * (_LAYER + config.width**2 * _DRAW)
    fresh = network + DRAW_SECONDS + config.fresh_steps * step_seconds(config, dtype)
    tasks = (config.tasks - tasks_done) * task_seconds(config, dtype)
    return network + tasks + (config.fresh_baseline - fresh_done) * fresh


def batch_bytes(config: CellConfig, dtype: str) -> int:
    """About what one cell of a batch takes in a GPU's memory.

    Three copies of the weights (the cell's, the graph's, gradients), four of all layers' activity in training; while
    measuring, in float64, four more and three squares of h x h numbers a layer.
    """
    n, h, depth = config.samples, config.width, config.depth
    weights = config.input_dim * h + (depth - 1) * h * h + h
    return (3 * weights + 4 * depth * n * h) * np.dtype(dtype).itemsize + depth * (4 * n * h + 3 * h * h) * 8
