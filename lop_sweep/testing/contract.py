"""What every component must do, as functions that raise AssertionError. The docstring of each says what it checks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

from lop_sweep.components import Components, Role, Task
from lop_sweep.components.streams import has_held_out
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.experiment import Experiment, ReferenceExperiment
from lop_sweep.experiment.engine import Engine, TaskArrays
from lop_sweep.experiment.network import TorchRng, initial_weights
from lop_sweep.metrics import METRICS, measured, stack_metrics
from lop_sweep.registry import component
from lop_sweep.testing.networks import (
    SMALL_CELL,
    arrays_of,
    assert_equal_parameters,
    draws_of,
    network,
    observation,
    reference_arrays,
    task_of,
    trainer_of,
)

State = dict[str, Any]
ROLES: tuple[Role, ...] = ("hidden", "output", "bias", "norm")


def gradients_equal_autograd(config: CellConfig) -> None:
    """The engine's gradients are those of PyTorch's autograd."""
    engine, parameters = Engine.of(Components.of(config), config), network(config)
    arrays = arrays_of(config)
    passed = engine.forward(parameters, arrays.x)
    trainer = trainer_of(config, parameters)
    loss = trainer.loss(task_of(config))
    loss.backward()
    np.testing.assert_allclose(engine.loss.value(passed.logits, arrays.y)[0], loss.item(), rtol=1e-13)
    for layer, gradients in engine.backward(parameters, arrays.y, arrays.ones, passed):
        for theirs, ours in zip(reference_arrays(trainer, layer), gradients, strict=True):
            assert theirs.grad is not None
            np.testing.assert_allclose(ours[0].T.reshape(theirs.shape), theirs.grad, rtol=1e-9, atol=1e-14)


def gradients_equal_central_differences(config: CellConfig) -> None:
    """The engine's gradients are the differences of its own loss."""
    engine, parameters = Engine.of(Components.of(config), config), network(config)
    arrays = arrays_of(config)
    passed = engine.forward(parameters, arrays.x)

    def loss() -> float:
        return float(engine.loss.value(engine.forward(parameters, arrays.x).logits, arrays.y)[0])

    step, rng = 1e-6, np.random.default_rng(0)
    for layer, gradients in list(engine.backward(parameters, arrays.y, arrays.ones, passed)):
        for values, gradient in zip(parameters.of_layer(layer), gradients, strict=True):
            indices = list(np.ndindex(values.shape))
            for place in rng.permutation(len(indices))[:40]:
                index = indices[place]
                centre = values[index]
                values[index] = centre + step
                above = loss()
                values[index] = centre - step
                below = loss()
                values[index] = centre
                np.testing.assert_allclose(gradient[index], (above - below) / (2 * step), rtol=1e-5, atol=1e-9)


def float32_stays_float32(config: CellConfig) -> None:
    """Networks in float32 are trained in float32: nothing turns their numbers into float64."""
    engine, arrays = Engine.of(Components.of(config), config), arrays_of(config)
    state = engine.init(network(config)).copy(lambda array: array.astype(np.float32))
    x, y, *hyper = (array.astype(np.float32) for array in arrays.arrays())
    draws = draws_of(config, put=lambda array: array.astype(np.float32))
    trace = engine.train(state, TaskArrays(x, y, dict(zip(arrays.hyper, hyper, strict=True)), draws=draws), 3)
    assert trace.losses.dtype == trace.grad_norm.dtype == np.float32
    assert {array.dtype for array in state.arrays()} == {np.dtype(np.float32)}


def keeps_to_the_array_api_standard(config: CellConfig, library: Any) -> None:
    """The same source runs on the arrays of another library, with the same results."""
    engine, arrays = Engine.of(Components.of(config), config), arrays_of(config)
    state = engine.init(network(config))
    theirs = state.copy(lambda array: library.asarray(array.copy()))
    x, y, *hyper = (library.asarray(array) for array in arrays.arrays())
    draws = draws_of(config, put=library.asarray)
    task = TaskArrays(x, y, dict(zip(arrays.hyper, hyper, strict=True)), draws=draws)
    trace = engine.train(theirs, task, 5)
    expected = engine.train(state, arrays, 5)
    np.testing.assert_allclose(np.asarray(trace.losses), expected.losses, rtol=1e-11)
    np.testing.assert_allclose(np.asarray(trace.grad_norm), expected.grad_norm, rtol=1e-11)


def activation_leaves_what_it_reads_unchanged(config: CellConfig) -> None:
    """`value` does not change z, `backward` and `slope` change neither z nor a, and shapes follow from `expansion`."""
    rng, activation = np.random.default_rng(0), Components.of(config).activation
    z = rng.normal(size=(2, 5, 3))
    given = z.copy()
    a = activation.value(z)
    assert np.array_equal(z, given), "`value` changed z"
    assert a.shape == (2, 5, 3 * activation.expansion)
    before = a.copy()
    activation.backward(rng.normal(size=a.shape), z if activation.keeps_z else None, a)
    slope = activation.slope(z, a)
    slope += 1
    assert np.array_equal(z, given), "`backward` or `slope` changed z"
    assert np.array_equal(a, before), "`backward` or `slope` changed a"


def loss_is_a_mean_over_points(name: str) -> None:
    """Losses of many steps at once equal those of single steps; a loss is a mean over points and not negative."""
    rng, loss = np.random.default_rng(0), component("loss", name)
    outputs = 3 if name == "softmax" else 1
    logits = rng.normal(size=(7, 2, 10, outputs)) * 20
    y = rng.integers(0, 2, size=(2, 10, 1)).astype(float)
    if outputs > 1:
        y = np.eye(outputs)[rng.integers(0, outputs, size=(2, 10))]
    losses = loss.value(logits, y)
    assert losses.shape == (7, 2)
    assert (losses >= 0).all()
    np.testing.assert_allclose(losses, [loss.value(one, y) for one in logits], rtol=1e-14)
    np.testing.assert_allclose(losses, loss.value(logits.repeat(3, axis=2), y.repeat(3, axis=1)), rtol=1e-13)


def optimizer_equals_that_of_the_reference(config: CellConfig) -> None:
    """Training equals that of the reference's optimizer, also over a second task, where its memory counts."""
    engine, parameters = Engine.of(Components.of(config), config), network(config)
    trainer = trainer_of(config, parameters)
    state = engine.init(parameters)
    task, arrays = task_of(config), arrays_of(config)
    for _ in range(2):
        trace = engine.train(state, arrays, 20)
        losses, grad_norm = trainer.train(task, 20)
        np.testing.assert_allclose(trace.losses[:, 0], losses, rtol=1e-9)
        np.testing.assert_allclose(trace.grad_norm[0], grad_norm, rtol=1e-9)
        assert_equal_parameters(trainer, parameters, rtol=1e-8, atol=1e-11)


def optimizer_works_in_place_per_network(config: CellConfig, role: Role) -> None:
    """An optimizer changes its arrays in place, and networks of a batch do not affect one another."""
    rng, optimizer = np.random.default_rng(0), Components.of(config).optimizer
    fixed = {name: getattr(config, name) for name in optimizer.hyper if not FIELDS[name].packable}
    hyper = {
        name: np.array([1.0, 0.7]).reshape(2, 1, 1) * getattr(config, name)
        for name in optimizer.hyper
        if FIELDS[name].packable
    }
    shape = (4, 3) if role in ("hidden", "output") else (1, 3)
    together, gradients = rng.normal(size=(2, *shape)), rng.normal(size=(5, 2, *shape))
    alone = [together[index : index + 1].copy() for index in range(2)]
    state, states = optimizer.init(together, role), [optimizer.init(one, role) for one in alone]
    assert all(array.shape[0] == 2 for array in state.values()), "states need a leading axis of networks"
    arrays = dict(state)
    for gradient in gradients:
        optimizer.update(together, gradient.copy(), state, {**fixed, **hyper}, role)
        for index, (one, its_state) in enumerate(zip(alone, states, strict=True)):
            own = {name: values[index : index + 1] for name, values in hyper.items()}
            optimizer.update(one, gradient[index : index + 1].copy(), its_state, {**fixed, **own}, role)
    assert np.array_equal(together, np.concatenate(alone)), "a network depends on the others of its batch"
    assert state.keys() == arrays.keys()
    for name, array in arrays.items():  # a CUDA graph keeps their addresses
        assert state[name] is array, f"{name} was replaced by another array; change it in place"


def initializer_draws_from_the_rng_alone(config: CellConfig) -> None:
    """Initial weights are finite, and depend on nothing but PyTorch's random stream."""
    first, again, other = (initial_weights(config, TorchRng(seed)) for seed in (1, 1, 2))
    for (weight, bias), (same, same_bias), (different, _) in zip(first, again, other, strict=True):
        assert np.array_equal(weight, same)
        assert np.array_equal(bias, same_bias)
        assert not np.array_equal(weight, different)
        assert np.isfinite(weight).all()


def both_draws_of_an_initializer_have_one_distribution(config: CellConfig) -> None:
    """`apply` and `draw` have the same distribution, by the test of Kolmogorov and Smirnov."""
    init = Components.of(config).init
    torch.manual_seed(0)
    layer = nn.Linear(300, 500)
    init.apply(layer)
    weights, biases = init.draw(np.random.default_rng(0), 300, 500)
    assert weights.shape == (300, 500)
    assert biases.shape == (500,)
    for ours, theirs in ((weights, layer.weight.detach().numpy()), (biases, layer.bias.detach().numpy())):
        if theirs.any():
            assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 0.001
        else:
            assert not ours.any()


def stream_draws_from_the_rng_alone(config: CellConfig) -> None:
    """Tasks have the shapes that `dimensions` says, differ, and depend on nothing but the generator."""
    stream = Components.of(config).stream

    def draw() -> list[Task]:
        rng = np.random.default_rng(3)
        state = stream.init(config, rng)
        return [stream.draw(config, state, rng) for _ in range(3)]

    inputs, outputs = stream.dimensions(config)
    np.random.seed(0)
    first = draw()
    np.random.seed(1)
    for task, again in zip(first, draw(), strict=True):
        assert task.points.shape == (config.samples, inputs)
        assert task.labels.shape == (config.samples, outputs)
        assert task.points.dtype == task.labels.dtype == np.float64
        assert np.isfinite(task.points).all()
        assert_labels(stream.loss, task.labels)
        assert np.array_equal(task.points, again.points)
        assert np.array_equal(task.labels, again.labels)
    before, after = first[0], first[1]
    assert not (np.array_equal(before.points, after.points) and np.array_equal(before.labels, after.labels))
    if not has_held_out(stream):
        return
    more = stream.held_out(config, first[0], np.random.default_rng(5))
    assert more.points.shape == (config.test_samples, inputs)
    assert more.labels.shape == (config.test_samples, outputs)
    assert_labels(stream.loss, more.labels)


def assert_labels(loss: str, labels: np.ndarray) -> None:
    """Labels are what the stream's loss takes."""
    if loss not in ("binary", "softmax"):
        assert np.isfinite(labels).all()
    else:
        assert set(np.unique(labels)) <= {0.0, 1.0}
    if loss == "softmax":
        assert (labels.sum(axis=1) == 1).all()


def engine_equals_reference(config: CellConfig) -> None:
    """The engine and the plain PyTorch reference compute the same metrics, task by task."""
    config = config.replace(lr=0.02, steps=5, tasks=4, fresh_baseline=2)
    experiment, reference = Experiment([config]), ReferenceExperiment(config)
    for _ in range(config.tasks):
        ours, expected = experiment.run_task(), reference.run_task()
        assert list(ours) == list(expected) == list(measured(config))
        for name in ours:
            assert ours[name].shape == expected[name].shape
            np.testing.assert_allclose(ours[name], expected[name], rtol=1e-8, atol=1e-12, err_msg=name)
    assert not experiment.diverged_at.any(), "the small cell diverged, so hardly anything was compared"
    np.testing.assert_allclose(experiment.run_fresh_baseline(), reference.run_fresh_baseline(), rtol=1e-8)


def resumed_run_equals_uninterrupted(
    config: CellConfig, through: Callable[[State], Mapping[str, Any]] = copy.deepcopy
) -> None:
    """A run that is saved between two tasks goes on to the same bits once loaded; a saved state is a copy.

    The run is saved before, amid and after its four tasks, and resumed twice from the first of these states.

    Args:
        config: of the cell.
        through: saves and loads a state.
    """
    configs = [config.replace(seed=seed, steps=3, tasks=4, fresh_baseline=2) for seed in (1, 2)]
    uninterrupted, saving, resumed = Experiment(configs), Experiment(configs), Experiment(configs)
    rows = [uninterrupted.run_task() for _ in range(4)]
    fresh_ce = uninterrupted.run_fresh_baseline()
    states = {0: saving.state_dict()}
    for tasks_done in (1, 2, 3, 4):
        assert_same_row(saving.run_task(), rows[tasks_done - 1])
        if tasks_done in (2, 4):
            states[tasks_done] = saving.state_dict()
    resumed.load_state_dict(states[0])
    resumed.run_task()  # loading must undo it, and it must not change the state
    for tasks_done, state in states.items():
        resumed.load_state_dict(through(state))
        for row in rows[tasks_done:]:
            assert_same_row(resumed.run_task(), row)
        np.testing.assert_array_equal(resumed.run_fresh_baseline(), fresh_ce)


def assert_same_row(ours: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Metrics are the same to the bit."""
    assert ours.keys() == expected.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def cell_does_not_depend_on_its_pack(config: CellConfig) -> None:
    """A cell's numbers do not depend on the other cells of its pack: to the bit on NumPy, to rounding on tensors."""
    configs = [
        config.replace(seed=seed, lr=lr, tasks=2, steps=3, fresh_baseline=0) for seed, lr in ((1, 0.05), (2, 0.1))
    ]
    alone = [two_tasks([one], "cpu") for one in configs]
    for device, rtol, atol in (("cpu", 0.0, 0.0), ("torch", 1e-9, 1e-12)):
        for name, values in two_tasks(configs, device).items():
            expected = np.concatenate([rows[name] for rows in alone], axis=1)
            np.testing.assert_allclose(values, expected, rtol=rtol, atol=atol, err_msg=f"{name} on {device}")


def two_tasks(configs: list[CellConfig], device: str) -> dict[str, np.ndarray]:
    """Return the metrics of two tasks of a pack, (2, P) or (2, P, depth) each."""
    experiment = Experiment(configs, device=device)
    return stack_metrics([experiment.run_task() for _ in range(2)])


def metric_stays_within_its_bounds(name: str, activation: str = "tanh") -> None:
    """A metric has the shape that `per_layer` says, and values within its bounds."""
    metric = METRICS[name]
    for scale, width, samples in ((0.01, 6, 10), (3.0, 6, 10), (3.0, 30, 10), (0.0, 6, 10), (1.0, 1, 2)):
        config = SMALL_CELL.replace(width=width, samples=samples, activation=activation)
        values = metric.compute(observation(config, scale))
        low, high = metric.bounds(config)
        assert values.shape == ((2, 3) if metric.per_layer else (2,))
        assert ((values >= low - 1e-9) & (values <= high + 1e-9)).all(), f"{values} are not within {low} and {high}"


def metric_is_the_same_on_tensors(name: str) -> None:
    """`compute` gives the same on torch tensors: the reference may have no implementation of its own."""
    ours = METRICS[name].compute(observation(SMALL_CELL))
    on_tensors = METRICS[name].compute(observation(SMALL_CELL, put=torch.from_numpy))
    np.testing.assert_allclose(np.asarray(on_tensors), ours, rtol=1e-8 if name == "sharpness" else 1e-12)


def metric_keeps_to_the_array_api_standard(name: str, library: Any) -> None:
    """A metric is float64 on another library's own arrays, with the same values."""
    values = METRICS[name].compute(observation(SMALL_CELL, put=library.asarray))
    assert values.dtype == library.float64
    np.testing.assert_allclose(np.asarray(values), METRICS[name].compute(observation(SMALL_CELL)), rtol=1e-8)


def metric_does_not_depend_on_the_batch(name: str, width: int, samples: int) -> None:
    """A network's metric is the same to the bit in batches of 1, 2 and 7, in both precisions."""
    config = SMALL_CELL.replace(width=width, samples=samples)
    for dtype in (np.float64, np.float32):
        alone, two, seven = (
            METRICS[name].compute(observation(config, networks=networks, put=lambda array: array.astype(dtype)))  # noqa: B023
            for networks in (1, 2, 7)
        )
        assert np.array_equal(two, seven[:2])
        assert np.array_equal(alone, two[:1])
