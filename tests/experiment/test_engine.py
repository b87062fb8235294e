"""The engine on batches, its precision, and that it keeps to the array API standard.

Gradients and training are tested in `test_components.py`, for every component.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import stateful_components  # noqa: F401

from lop_sweep.components import Components
from lop_sweep.components.losses import BinaryCrossEntropy
from lop_sweep.config import CellConfig
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays
from lop_sweep.experiment.network import TorchRng, initial_weights

CONFIG = CellConfig(width=6, depth=3, input_dim=4, samples=10)


def engine() -> Engine:
    return Engine.of(Components.of(CONFIG), CONFIG)


def parameters_of(configs: list[CellConfig]) -> Parameters:
    networks = [initial_weights(config, TorchRng(config.seed)) for config in configs]
    rng = np.random.default_rng(0)
    weights = [np.stack([network[layer][0] for network in networks]) for layer in range(len(networks[0]))]
    biases = [rng.normal(size=(len(configs), 1, weight.shape[-1])) for weight in weights]
    return Parameters(weights, biases)


def task_of(networks: int, lr: Any = 0.1) -> TaskArrays:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(networks, 10, 4)), rng.integers(0, 2, size=(networks, 10, 1)).astype(float)
    return TaskArrays(x, y, {"lr": np.broadcast_to(np.reshape(lr, (-1, 1, 1)), (networks, 1, 1)).copy()})


def test_networks_of_a_batch_do_not_mix() -> None:
    together = parameters_of([CONFIG.replace(seed=seed) for seed in range(4)])
    task = task_of(4, [0.01, 0.1, 1.0, 0.3])
    alone = [
        Parameters([w[i : i + 1].copy() for w in together.weights], [b[i : i + 1].copy() for b in together.biases])
        for i in range(4)
    ]
    trace = engine().train(engine().init(together), task, 7)
    for i, parameters in enumerate(alone):
        own = TaskArrays(task.x[i : i + 1], task.y[i : i + 1], {"lr": task.hyper["lr"][i : i + 1]})
        single = engine().train(engine().init(parameters), own, 7)
        np.testing.assert_allclose(trace.losses[:, i], single.losses[:, 0], rtol=1e-12)
        np.testing.assert_allclose(together.weights[2][i], parameters.weights[2][0], rtol=1e-11, atol=1e-14)


def test_cross_entropy_in_closed_form_and_without_overflow() -> None:
    loss = BinaryCrossEntropy()
    logits = np.array([0.0, 1000.0, -1000.0, 1000.0, np.log(3.0)])[None, :, None]
    labels = np.array([1.0, 1.0, 0.0, 0.0, 1.0])[None, :, None]
    each = [loss.value(logits[:, i : i + 1], labels[:, i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(each, [np.log(2), 0, 0, 1000, np.log(4 / 3)], rtol=1e-15, atol=1e-300)
    assert loss.value(logits, labels)[0] == pytest.approx(np.mean(each))


@pytest.mark.parametrize("steps", [1, 199, 200, 201, 450])
def test_losses_are_those_before_each_update(steps: int) -> None:
    """They are computed from the logits of 200 steps at once."""
    ours, step_by_step = (engine().init(parameters_of([CONFIG])) for _ in range(2))
    task = task_of(1)
    trace = engine().train(ours, task, steps)
    points, hyper = (task.x, task.y, task.ones), {**task.hyper, "weight_decay": 0.0}
    logits = [engine().step(step_by_step, points, hyper).logits for _ in range(steps)]
    expected = [engine().loss.value(each, task.y) for each in logits]
    assert trace.losses.shape == (steps, 1)
    np.testing.assert_allclose(trace.losses, expected, rtol=1e-13)
