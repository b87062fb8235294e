"""What components cost more than the plain ones, which are `sgd`, `tanh`, no normalisation and no mitigation.

    extra = l (C / P + N) + s (w W + e depth u a) + sum over layers of p m^2 M / R       per step or per task

Symbols are those of `lop_sweep.planning.cost`. Besides, l is the number of layers with the component: depth + 1 for
optimizers and mitigations, otherwise depth. s is 1 in float64 and 1/2 in float32. m and M are the smaller and the
larger side of a layer's weights. p counts matrix products of these sides, for what makes weights orthogonal.

The constants are fitted to cells of depth 2 and width 8, 32 and 100, one at a time and in full batches, in both
precisions; `benchmarks/cost_model.py --components` compares them with the machine. Components that are not listed cost
as the plain ones: they differ by less than a third. This includes those of a user's own, whose cost is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from lop_sweep.components import layer_sizes
from lop_sweep.config import CellConfig


@dataclass(frozen=True)
class _Extra:
    """The cost of a component: `C`, `N` (microseconds), `w`, `e` (nanoseconds) and `p` of the formula.

    Attributes:
        every: the field that says how many steps, or tasks, pass from one time to the next; empty for each of them.
        per_task: whether it is per task.
    """

    call: float
    network: float = 0.0
    weight: float = 0.0
    element: float = 0.0
    products: int = 0
    every: str = ""
    per_task: bool = False


_EXTRAS: dict[str, dict[str, tuple[_Extra, ...]]] = {
    "optimizer": {
        "momentum": (_Extra(2, weight=0.5),),
        "adam": (_Extra(17, weight=3),),
        "adamw": (_Extra(17, weight=3.3),),
        "rmsprop": (_Extra(9, weight=3.2),),
        "muon": (_Extra(36, 0.35, weight=16, products=22),),
        "muon_simple_lop": (_Extra(43, 0.35, weight=17, products=22),),
    },
    "activation": {
        "elu": (_Extra(4, 0.15, element=0.7),),
        "selu": (_Extra(8, element=1.7),),
        "gelu": (_Extra(5.5, 3.8, element=7.6),),
        "silu": (_Extra(2, 0.1, element=1.7),),
        "erf": (_Extra(0, 5, element=5),),
    },
    "norm": {
        "layer_norm": (_Extra(18, 1.1, element=3.5),),
        "layer_norm_affine": (_Extra(29, 2, element=5.4),),
        "batch_norm": (_Extra(31, 2.7, element=5),),
    },
    "mitigation": {
        "parseval": (_Extra(10, weight=9, element=0.3),),
        "swr": (_Extra(9, 0.1), _Extra(33, 2.2, weight=15, element=0.8, every="swr_steps")),
        "shrink_perturb_per_task": (_Extra(30, 5, weight=11, per_task=True),),
        "shrink_perturb_per_step": (_Extra(11, 2.2, weight=11, element=0.5),),
        "shrink_perturb_gaussian": (_Extra(13, 0.6, weight=11, element=0.5),),
        "redo": (_Extra(55, 2.3, element=4.2, every="redo_tasks", per_task=True),),
        "redo_per_step": (_Extra(4, 0.15), _Extra(13, element=0.9, every="redo_steps")),
        "spectral": (_Extra(31, 0.1, weight=2, element=0.5),),
        "fire": (_Extra(56, 2.5, weight=12, products=40, per_task=True),),
        "l2_init": (_Extra(5.5, weight=0.5, element=0.4),),
        "continual_backprop": (_Extra(14, 0.2, weight=1.4, element=0.5),),
        "continual_backprop_adaptable": (_Extra(27, 0.3, element=2),),
        "gradient_noise": (_Extra(8, 0.5, weight=11, element=0.7),),
        "weight_noise": (_Extra(9, 0.6, weight=12),),
    },
}
_KINDS_OF_ALL_LAYERS = ("optimizer", "mitigation")


def extra_seconds(config: CellConfig, dtype: str, batch: int, flops: float, per_task: bool = False) -> float:
    """Return how many seconds the components of one network take per step, or per task, beyond the plain ones.

    Args:
        config: of the network.
        dtype: its precision.
        batch: cells per batch.
        flops: operations of matrix products per second.
        per_task: whether to return what is due per task and not per step.
    """
    sizes, points = layer_sizes(config), config.batch_size or config.samples
    scale = 1.0 if dtype == "float64" else 0.5
    sides = [sorted(pair) for pair in sizes.pairs()]
    total = 0.0
    for kind, costs in _EXTRAS.items():
        layers = config.depth + (kind in _KINDS_OF_ALL_LAYERS)
        for extra in (extra for name in getattr(config, kind).split(",") for extra in costs.get(name, ())):
            if extra.per_task != per_task:
                continue
            calls = layers * (extra.call / batch + extra.network) * 1e-6
            features = config.depth * points * sizes.features
            elements = scale * (extra.weight * sizes.weights + extra.element * features) * 1e-9
            products = extra.products * sum(small**2 * large for small, large in sides) / flops
            total += (calls + elements + products) / (getattr(config, extra.every) if extra.every else 1)
    return total


@dataclass(frozen=True)
class StreamCost:
    """What a task stream's tasks cost: `A`, `Z` and `H` of the formula of `lop_sweep.planning.cost`, in seconds."""

    task: float
    value: float
    held_out: float


_PLAIN_STREAM = StreamCost(task=17e-6, value=22e-9, held_out=10e-6)
"""Of the default stream, and of those that are not listed."""
_STREAMS = {
    "permuted_inputs": StreamCost(task=15e-6, value=1.5e-9, held_out=270e-6),
    "random_labels": StreamCost(task=15e-6, value=1.5e-9, held_out=0.0),
    "slowly_changing_regression": StreamCost(task=40e-6, value=1e-9, held_out=15e-6),
    "slowly_changing_regression_flip": StreamCost(task=40e-6, value=1e-9, held_out=15e-6),
}
_MOVING_SECONDS = 35e-6
"""Additional time per task of Gaussian mixtures with `drift` or `cycle`, which are drawn cell by cell."""


def stream_cost(config: CellConfig) -> StreamCost:
    """Return what a cell's task stream costs."""
    cost = _STREAMS.get(config.stream, _PLAIN_STREAM)
    if config.stream == "gaussian_mixture" and (config.drift < 1 or config.cycle):
        return StreamCost(cost.task + _MOVING_SECONDS, cost.value, cost.held_out)
    return cost
