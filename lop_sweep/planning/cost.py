"""A cost model: the seconds that a cell takes on one CPU core. Accurate enough to size packs, but not a promise.

    step      = (C + depth * L) / P + (depth + 1) * B + u * G + depth * u * a * E + F / R + X    one gradient step
    draw      = T / P + A + (n + t) * d * Z + H                  drawing a task
    task      = draw + (steps + g) * step + depth * (M / P + Q + m^3 * (V + q * S)) + t / (3 u) * step + Y
    network   = N + depth * (K + a h * D)                        drawing a fresh network
    control   = (network + steps * step) / control_every         where there is one
    cell      = network + tasks * (task + control) + fresh_baseline * (network + draw + fresh_steps * step)

Symbols: P cells per batch, u points per update, n points per task, t held-out ones, d inputs, h units and a activations
per layer (a = h for most), m = min(n, a), q metrics that decompose the activations, g gradients that metrics take, and
F = 6 u W operations of the matrix products with the network's W weights. Terms with P are calls, which a batch pays for
once. X and Y are what components take per step and per task beyond the plain ones. A, Z and H, which counts only with
held-out points, depend on the task stream. `lop_sweep.planning.component_cost` has all of these. Components of a user's
own have no measured cost, so they count as the plain ones.

The constants are in seconds, R in operations per second. They were fitted to one core of an AMD EPYC (Zen 4);
`benchmarks/cost_model.py` compares the model with the machine it runs on. Other machines are faster or slower by a
factor that hardly depends on the cell, so their packs are shorter or longer by it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lop_sweep.components import layer_sizes
from lop_sweep.components.batch_size import cells_per_batch
from lop_sweep.config import CellConfig
from lop_sweep.metrics import METRICS, held_out_points, measured
from lop_sweep.planning.component_cost import extra_seconds, stream_cost

_DRAW_CALLS_SECONDS = 70e-6
"""Drawing a task: `T` of the formula."""
_MEASURE_CALLS_SECONDS, _MEASURE_SECONDS, _EIGENVALUE_SECONDS = 120e-6, 10e-6, 4e-10
"""Measuring one layer: `M`, `Q` and `V` of the formula."""
_SINGULAR_SECONDS = 1.2e-9
"""One decomposition of a layer's activations: `S` of the formula."""
_FORWARD_PASSES = 3
"""Forward passes that take as long as a step. Held-out points take part in one."""
_NETWORK_SECONDS, _LAYER_SECONDS, _WEIGHT_SECONDS = 40e-6, 25e-6, 12e-9
"""Drawing a network: `N`, `K` and `D` of the formula."""


@dataclass(frozen=True)
class _Rates:
    """Constants of a step: `C`, `L`, `B`, `G`, `E` (seconds) and `R` (operations per second) of the formula."""

    step: float
    layer: float
    network: float
    point: float
    element: float
    flops: float


_RATES = {
    "float64": _Rates(step=20e-6, layer=10e-6, network=0.12e-6, point=25e-9, element=3.5e-9, flops=45e9),
    "float32": _Rates(step=20e-6, layer=10e-6, network=0.12e-6, point=15e-9, element=1.5e-9, flops=85e9),
}


def step_seconds(config: CellConfig, dtype: str, batch: int | None = None) -> float:
    """Return the seconds of one gradient step of one network.

    Args:
        config: of the network.
        dtype: its precision.
        batch: cells per batch; None for as many as fit the cache that most CPUs have.
    """
    n, sizes = config.batch_size or config.samples, layer_sizes(config)
    rates, together = _RATES[dtype], batch or cells_per_batch(config, dtype)
    calls = (rates.step + config.depth * rates.layer) / together + (config.depth + 1) * rates.network + n * rates.point
    operations = 6 * n * sizes.weights
    elements = config.depth * n * sizes.features * rates.element
    return calls + elements + operations / rates.flops + extra_seconds(config, dtype, together, rates.flops)


def draw_seconds(config: CellConfig, dtype: str, batch: int | None = None) -> float:
    """Return the seconds of drawing one task of one cell. Arguments as for `step_seconds`."""
    cost, held_out = stream_cost(config), held_out_points(config)
    values = (config.samples + held_out) * layer_sizes(config).inputs
    own = cost.task + values * cost.value + (cost.held_out if held_out else 0.0)
    return _DRAW_CALLS_SECONDS / (batch or cells_per_batch(config, dtype)) + own


def task_seconds(config: CellConfig, dtype: str, batch: int | None = None) -> float:
    """Return the seconds of one task of one cell. Arguments as for `step_seconds`."""
    together = batch or cells_per_batch(config, dtype)
    step = step_seconds(config, dtype, together)
    side = min(config.samples, layer_sizes(config).features)
    names = measured(config)
    decompositions, gradients = (sum(getattr(METRICS[n], of) for n in names) for of in ("decompositions", "gradients"))
    layer = _MEASURE_CALLS_SECONDS / together + _MEASURE_SECONDS
    layer += side**3 * (_EIGENVALUE_SECONDS + decompositions * _SINGULAR_SECONDS)
    testing = held_out_points(config) / (config.batch_size or config.samples) * step / _FORWARD_PASSES
    training = (config.steps + gradients) * step + _control_seconds(config, dtype, together)
    rest = testing + extra_seconds(config, dtype, together, _RATES[dtype].flops, per_task=True)
    return draw_seconds(config, dtype, together) + training + config.depth * layer + rest


def seconds_left(
    config: CellConfig, dtype: str, tasks_done: int = 0, fresh_done: int = 0, batch: int | None = None
) -> float:
    """Return the seconds that remain of a cell after some of its tasks and fresh networks.

    Args:
        config: the cell.
        dtype: its precision.
        tasks_done: tasks that are done.
        fresh_done: fresh networks that are done.
        batch: as for `step_seconds`.
    """
    together, network = batch or cells_per_batch(config, dtype), _network_seconds(config)
    steps = config.fresh_steps * step_seconds(config, dtype, together)
    fresh = network + draw_seconds(config, dtype, together) + steps
    tasks = (config.tasks - tasks_done) * task_seconds(config, dtype, together)
    return network + tasks + (config.fresh_baseline - fresh_done) * fresh


def _network_seconds(config: CellConfig) -> float:
    weights = config.width * layer_sizes(config).features
    return _NETWORK_SECONDS + config.depth * (_LAYER_SECONDS + weights * _WEIGHT_SECONDS)


def _control_seconds(config: CellConfig, dtype: str, batch: int) -> float:
    """Return the seconds of control networks per task."""
    if not config.control_every:
        return 0.0
    return (_network_seconds(config) + config.steps * step_seconds(config, dtype, batch)) / config.control_every
