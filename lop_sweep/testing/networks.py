"""Small cells, and their networks in both implementations, with the same parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lop_sweep.components import Components, Draws, Purpose, Task, random_stream
from lop_sweep.components.streams import has_held_out
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.experiment import ReferenceTrainer
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays
from lop_sweep.experiment.network import TorchRng, initial_weights
from lop_sweep.metrics import METRICS, Control, Observation
from lop_sweep.registry import component, components

SMALL_CELL = CellConfig(seed=1, width=6, depth=3, input_dim=4, samples=10, lr=0.05)
"""Small enough for finite differences of every parameter."""


def with_component(kind: str, name: str, cell: CellConfig = SMALL_CELL) -> CellConfig:
    """Return a cell with one component of another name.

    Fields that this component does not use have their defaults. A loss comes with a task stream that has it.

    Raises:
        ConfigError: there is no such component.
    """
    if kind == "metric":
        needed = component(kind, name).optional and name not in cell.metrics.split(",")
        return cell.replace(metrics=[*cell.metrics.split(","), name]) if needed else cell
    if kind == "loss":
        component(kind, name)
        streams = [stream for stream, part in components("stream").items() if part.loss == name]
        return with_component("stream", streams[0], cell) if streams else cell
    if kind == "stream" and not has_held_out(component(kind, name)):
        metrics = [metric for metric in cell.metrics.split(",") if metric and not METRICS[metric].held_out]
        cell = cell.replace(metrics=metrics, test_samples=FIELDS["test_samples"].default)
    used = component(kind, name).hyper
    unused = {field: info.default for field, info in FIELDS.items() if info.of == kind and field not in used}
    return cell.replace(**{kind: name, **unused})


def network(config: CellConfig, seed: int = 0) -> Parameters:
    """Return a network whose biases and normalisation are not those of a new one."""
    layers = initial_weights(config, TorchRng(seed))
    rng = np.random.default_rng(seed)
    parameters = Parameters(
        [weight[None] for weight, _ in layers], [rng.normal(size=bias[None].shape) for _, bias in layers]
    )
    made = Engine.of(Components.of(config), config).init(parameters).parameters
    for array in made.norm_arrays():
        array += rng.normal(size=array.shape)
    return made


def task_of(config: CellConfig) -> Task:
    """Return the first task of a cell."""
    rng, stream = np.random.default_rng(config.seed), Components.of(config).stream
    return stream.draw(config, stream.init(config, rng), rng)


def draws_of(config: CellConfig, number: int = 1, put: Callable[[np.ndarray], Any] = np.asarray) -> Draws:
    """Return what mitigations draw during a task."""
    return Draws([random_stream(config.seed, Purpose.MITIGATION, number)], Components.of(config).init, put)


def arrays_of(config: CellConfig, number: int = 1) -> TaskArrays:
    """Return what a batch of one cell trains on."""
    task = task_of(config)
    hyper = {
        name: np.full((1, 1, 1), float(getattr(config, name)))
        for name in Components.of(config).hyper()
        if FIELDS[name].packable
    }
    return TaskArrays(task.points[None], task.labels[None], hyper, draws=draws_of(config, number))


def trainer_of(config: CellConfig, parameters: Parameters) -> ReferenceTrainer:
    """Return the reference with the same parameters."""
    trainer = ReferenceTrainer(config, TorchRng(0))
    with torch.no_grad():
        for layer, values in enumerate(reference_arrays(trainer, layer) for layer in range(config.depth + 1)):
            for theirs, ours in zip(values, parameters.of_layer(layer), strict=True):
                theirs.copy_(torch.from_numpy(ours[0].T.copy().reshape(theirs.shape)))
    return ReferenceTrainer.around(config, trainer.network)


def reference_arrays(trainer: ReferenceTrainer, layer: int) -> list[torch.nn.Parameter]:
    """Return the reference's parameters in the order of `Parameters.of_layer`."""
    layers = trainer.network
    norm = list(layers.norms[layer].parameters()) if layer < len(layers.norms) else []
    return [*layers.layers()[layer].parameters(), *norm]


def assert_equal_parameters(trainer: ReferenceTrainer, parameters: Parameters, rtol: float, atol: float) -> None:
    """Assert that both implementations have the same parameters."""
    for layer in range(len(parameters.weights)):
        for theirs, ours in zip(reference_arrays(trainer, layer), parameters.of_layer(layer), strict=True):
            expected = theirs.detach().numpy()
            np.testing.assert_allclose(ours[0].T.reshape(expected.shape), expected, rtol=rtol, atol=atol)


def observation(
    config: CellConfig, scale: float = 1.0, networks: int = 2, put: Callable[[np.ndarray], Any] = np.asarray
) -> Observation:
    """Return what metrics may need of networks with random activations.

    The gradient is that of a sum of squares and cubes of the parameters.
    """
    depth, points, width = config.depth, config.samples, config.width

    def normal(*shape: int) -> Any:
        return put(
            scale
            * np.stack([np.random.default_rng([index, *shape]).normal(size=shape) for index in range(7)])[:networks]
        )

    def positive(*shape: int) -> Any:
        return put(np.stack([np.random.default_rng([index, 1, *shape]).random(shape) for index in range(7)])[:networks])

    def steps() -> Any:
        return put(np.ascontiguousarray(np.asarray(positive(5)).T))

    fan_in = [config.input_dim, *[width] * depth]
    shapes = [*zip(fan_in, [*[width] * depth, 1], strict=True)]
    pre = normal(depth, points, width)
    post = put(component("activation", config.activation).value(np.asarray(pre)))
    parameters = [*(normal(*shape) for shape in shapes), *(normal(1, fan_out) for _, fan_out in shapes)]
    return Observation(
        losses=steps(),
        end_loss=positive(),
        grad_norm=positive(),
        pre=pre,
        post=post,
        logits=normal(points, 1),
        corr_thresh=put(np.array([[0.0], [0.95], *[[0.5]] * 5])[:networks]),
        test_loss=positive(),
        test_accuracy=positive(),
        accuracies=steps(),
        slopes=1 - pre * pre,
        weights=parameters[:depth],
        parameters=parameters,
        start=[0.9 * array for array in parameters],
        initial=[0 * array for array in parameters],
        gradient=parameters,
        point_gradients=[(normal(points, below), normal(points, above)) for below, above in shapes],
        gradient_at=lambda arrays: [2 * array + 3 * array * array for array in arrays],
        control=Control(steps(), positive()),
    )  # fmt: skip
