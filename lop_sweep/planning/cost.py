"""A cost model: the seconds that a cell takes on one CPU core. Accurate enough to size packs, but not a promise.

    step      = C + depth * L + depth * n * a * E + F / R        one gradient step
    task      = T + (steps + g) * step + depth * (M + m^3 * (V + q * S)) + t / (3 n) * step      drawing to measuring
    network   = N + depth * (K + a h * D)                        drawing a fresh network
    control   = (network + steps * step) / control_every         where there is one
    cell      = network + tasks * (task + control) + fresh_baseline * (network + T + fresh_steps * step)

Symbols: n points per task, t held-out ones, h units and a activations per layer (a = h for most), m = min(n, a), q
metrics that decompose the activations, g gradients that metrics take, and F = 6 n W operations of the matrix products
with the network's W weights. The constants below are in seconds, R in operations per second. They were fitted to one
core of an AMD EPYC (Zen 4); `benchmarks/cost_model.py` compares the model with the machine it runs on. Other machines
are faster or slower by a factor that hardly depends on the cell, so their packs are shorter or longer by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lop_sweep.components import layer_sizes
from lop_sweep.config import CellConfig
from lop_sweep.metrics import METRICS, held_out_points, measured

DRAW_SECONDS = 150e-6
"""Drawing a task: `T` of the formula."""
_MEASURE_SECONDS, _EIGENVALUE_SECONDS = 60e-6, 4e-10
"""Measuring one layer: `M` and `V` of the formula."""
_SINGULAR_SECONDS = 1.2e-9
"""One decomposition of a layer's activations: `S` of the formula."""
_FORWARD_PASSES = 3
"""Forward passes that take as long as a step. Held-out points take part in one."""
_NETWORK_SECONDS, _LAYER_SECONDS, _WEIGHT_SECONDS = 250e-6, 90e-6, 12e-9
"""Drawing a network: `N`, `K` and `D` of the formula."""


@dataclass(frozen=True)
class _Rates:
    """Constants of a step: `C`, `L`, `E` (seconds) and `R` (operations per second) of the formula."""

    step: float
    layer: float
    element: float
    flops: float


_RATES = {
    "float64": _Rates(step=25e-6, layer=15e-6, element=3.5e-9, flops=45e9),
    "float32": _Rates(step=25e-6, layer=15e-6, element=1.5e-9, flops=85e9),
}


def step_seconds(config: CellConfig, dtype: str) -> float:
    """Return the seconds of one gradient step of one network."""
    n, sizes = config.samples, layer_sizes(config)
    rates = _RATES[dtype]
    operations = 6 * n * sizes.weights
    return rates.step + config.depth * (rates.layer + n * sizes.features * rates.element) + operations / rates.flops


def task_seconds(config: CellConfig, dtype: str) -> float:
    """Return the seconds of one task of one cell."""
    side = min(config.samples, layer_sizes(config).features)
    names = measured(config)
    decompositions, gradients = (sum(getattr(METRICS[n], of) for n in names) for of in ("decompositions", "gradients"))
    layer = _MEASURE_SECONDS + side**3 * (_EIGENVALUE_SECONDS + decompositions * _SINGULAR_SECONDS)
    testing = held_out_points(config) / config.samples * step_seconds(config, dtype) / _FORWARD_PASSES
    training = (config.steps + gradients) * step_seconds(config, dtype)
    return DRAW_SECONDS + training + config.depth * layer + testing + _control_seconds(config, dtype)


def seconds_left(config: CellConfig, dtype: str, tasks_done: int = 0, fresh_done: int = 0) -> float:
    """Return the seconds that remain of a cell after some of its tasks and fresh networks."""
    network = _network_seconds(config)
    fresh = network + DRAW_SECONDS + config.fresh_steps * step_seconds(config, dtype)
    tasks = (config.tasks - tasks_done) * task_seconds(config, dtype)
    return network + tasks + (config.fresh_baseline - fresh_done) * fresh


def _network_seconds(config: CellConfig) -> float:
    weights = config.width * layer_sizes(config).features
    return _NETWORK_SECONDS + config.depth * (_LAYER_SECONDS + weights * _WEIGHT_SECONDS)


def _control_seconds(config: CellConfig, dtype: str) -> float:
    """Return the seconds of control networks per task."""
    if not config.control_every:
        return 0.0
    return (_network_seconds(config) + config.steps * step_seconds(config, dtype)) / config.control_every


def batch_bytes(config: CellConfig, dtype: str) -> int:
    """Estimate the bytes that one cell of a batch takes in a GPU's memory.

    Training: three copies of the weights (the cell's, the graph's, gradients) and four of all layers' activations.
    Measuring, in float64: four more copies of the activations, and three matrices of their correlations per layer.
    Sharpness keeps a vector of all weights for each of its products.
    """
    n, depth, sizes = config.samples, config.depth, layer_sizes(config)
    a = sizes.features
    training = 3 * sizes.weights + 4 * depth * n * a + 2 * depth * held_out_points(config) * a
    measuring = depth * (4 * n * a + 3 * a * a)
    measuring += max(METRICS[name].gradients for name in measured(config)) * sizes.weights
    return training * np.dtype(dtype).itemsize + measuring * 8
