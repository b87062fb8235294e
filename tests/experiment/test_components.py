"""One contract for every component: gradients, engine against reference, resuming, ranges, and refusals by name.

The suite runs over all that is registered, and over the test components of `stateful_components`, which have state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
import stateful_components  # noqa: F401
import torch
from scipy import stats
from torch import nn

from lop_sweep.components import Components, Draws, Purpose, Task, check, random_stream
from lop_sweep.components.choice import KINDS
from lop_sweep.components.streams import has_held_out
from lop_sweep.config import FIELDS, NONE, CellConfig
from lop_sweep.errors import ConfigError, StateError
from lop_sweep.experiment import Experiment, ReferenceExperiment, ReferenceTrainer
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays
from lop_sweep.experiment.network import TorchRng, initial_weights
from lop_sweep.metrics import METRICS, Control, Observation, measured, optional_metrics, stack_metrics
from lop_sweep.pack import Pack
from lop_sweep.registry import component, components, register
from lop_sweep.storage import PackState
from lop_sweep.storage.pack_state import assemble
from lop_sweep.storage.serialization import load_state, save_state

EVERY = [(kind, name) for kind in KINDS for name in components(kind)]
OPTIONAL = optional_metrics()
CONFIG = CellConfig(
    seed=1, width=6, depth=3, input_dim=4, samples=10, lr=0.05, metrics=OPTIONAL, test_samples=30, control_every=1
)  # fmt: skip


def with_component(kind: str, name: str) -> CellConfig:
    """The suite's cell with one component of another name. Fields that this does not use have their defaults."""
    cell = CONFIG.replace(**{kind: name})
    if kind == "stream" and not has_held_out(component(kind, name)):
        metrics = [metric for metric in OPTIONAL if not METRICS[metric].held_out]
        cell = cell.replace(metrics=metrics, test_samples=FIELDS["test_samples"].default)
    used = component(kind, name).hyper
    unused = {field: info.default for field, info in FIELDS.items() if info.of == kind and field not in used}
    return cell.replace(**unused)


@pytest.fixture
def config(request: pytest.FixtureRequest) -> CellConfig:
    """The suite's cell with the component, or with the changes, of the test's parameter."""
    return CONFIG.replace(**request.param) if isinstance(request.param, dict) else with_component(*request.param)


@pytest.fixture
def chosen(config: CellConfig) -> Components:
    return Components.of(config)


every_component = pytest.mark.parametrize("config", EVERY, indirect=True, ids="-".join)
of_kind = {
    kind: pytest.mark.parametrize("config", [(kind, name) for name in components(kind)], indirect=True, ids="-".join)
    for kind in KINDS
}


def network(config: CellConfig, seed: int = 0) -> Parameters:
    """A network whose biases and normalisation are not those of a new one."""
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
    rng, stream = np.random.default_rng(config.seed), Components.of(config).stream
    return stream.draw(config, stream.init(config, rng), rng)


def draws_of(config: CellConfig, number: int = 1, put: Any = np.asarray) -> Draws:
    return Draws([random_stream(config.seed, Purpose.MITIGATION, number)], Components.of(config).init, put)


def arrays_of(config: CellConfig, number: int = 1) -> TaskArrays:
    """What a batch of one cell trains on."""
    task = task_of(config)
    hyper = {
        name: np.full((1, 1, 1), float(getattr(config, name)))
        for name in Components.of(config).hyper()
        if FIELDS[name].packable
    }
    return TaskArrays(task.points[None], task.labels[None], hyper, draws=draws_of(config, number))


def trainer_of(config: CellConfig, parameters: Parameters) -> ReferenceTrainer:
    """The reference with the same parameters."""
    trainer = ReferenceTrainer(config, TorchRng(0))
    with torch.no_grad():
        for layer, values in enumerate(reference_arrays(trainer, layer) for layer in range(config.depth + 1)):
            for theirs, ours in zip(values, parameters.of_layer(layer), strict=True):
                theirs.copy_(torch.from_numpy(ours[0].T.copy().reshape(theirs.shape)))
    return ReferenceTrainer.around(config, trainer.network)


def reference_arrays(trainer: ReferenceTrainer, layer: int) -> list[torch.nn.Parameter]:
    """The reference's parameters in the order of `Parameters.of_layer`."""
    network = trainer.network
    norm = list(network.norms[layer].parameters()) if layer < len(network.norms) else []
    return [*network.layers()[layer].parameters(), *norm]


def assert_equal_parameters(trainer: ReferenceTrainer, parameters: Parameters, rtol: float, atol: float) -> None:
    for layer in range(len(parameters.weights)):
        for theirs, ours in zip(reference_arrays(trainer, layer), parameters.of_layer(layer), strict=True):
            expected = theirs.detach().numpy()
            np.testing.assert_allclose(ours[0].T.reshape(expected.shape), expected, rtol=rtol, atol=atol)


@every_component
def test_gradients_equal_autograd(config: CellConfig, chosen: Components) -> None:
    engine, parameters = Engine.of(chosen, config), network(config)
    arrays = arrays_of(config)
    passed = engine.forward(parameters, arrays.x)
    trainer = trainer_of(config, parameters)
    loss = trainer.loss(task_of(config))
    loss.backward()
    assert engine.loss.value(passed.logits, arrays.y)[0] == pytest.approx(loss.item(), rel=1e-13)
    for layer, gradients in engine.backward(parameters, arrays.y, arrays.ones, passed):
        for theirs, ours in zip(reference_arrays(trainer, layer), gradients, strict=True):
            assert theirs.grad is not None
            np.testing.assert_allclose(ours[0].T.reshape(theirs.shape), theirs.grad, rtol=1e-9, atol=1e-14)


@every_component
def test_gradients_equal_central_differences(config: CellConfig, chosen: Components) -> None:
    engine, parameters = Engine.of(chosen, config), network(config)
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
                assert gradient[index] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-9)


@every_component
def test_float32_stays_float32(config: CellConfig, chosen: Components) -> None:
    engine, arrays = Engine.of(chosen, config), arrays_of(config)
    state = engine.init(network(config)).copy(lambda array: array.astype(np.float32))
    x, y, *hyper = (array.astype(np.float32) for array in arrays.arrays())
    draws = draws_of(config, put=lambda array: array.astype(np.float32))
    trace = engine.train(state, TaskArrays(x, y, dict(zip(arrays.hyper, hyper, strict=True)), draws=draws), 3)
    assert trace.losses.dtype == trace.grad_norm.dtype == np.float32
    assert {array.dtype for array in state.arrays()} == {np.dtype(np.float32)}


@every_component
@pytest.mark.parametrize("library", [array_api_strict, torch], ids=["strict", "torch"])
def test_the_engine_keeps_to_the_array_api_standard(config: CellConfig, chosen: Components, library: Any) -> None:
    """The same source runs on array-api-strict, which refuses everything else, and on torch tensors."""
    engine, arrays = Engine.of(chosen, config), arrays_of(config)
    state = engine.init(network(config))
    theirs = state.copy(lambda array: library.asarray(array.copy()))
    x, y, *hyper = (library.asarray(array) for array in arrays.arrays())
    draws = draws_of(config, put=library.asarray)
    task = TaskArrays(x, y, dict(zip(arrays.hyper, hyper, strict=True)), draws=draws)
    trace = engine.train(theirs, task, 5)
    expected = engine.train(state, arrays, 5)
    np.testing.assert_allclose(np.asarray(trace.losses), expected.losses, rtol=1e-11)
    np.testing.assert_allclose(np.asarray(trace.grad_norm), expected.grad_norm, rtol=1e-11)


@of_kind["activation"]
def test_an_activation_leaves_what_it_reads_unchanged(chosen: Components) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2, 5, 3))
    a = chosen.activation.value(z)
    assert a.shape == (2, 5, 3 * chosen.activation.expansion)
    before = z.copy(), a.copy()
    chosen.activation.backward(rng.normal(size=a.shape), z if chosen.activation.keeps_z else None, a)
    slope = chosen.activation.slope(z, a)
    slope += 1
    assert np.array_equal(z, before[0])
    assert np.array_equal(a, before[1])


@pytest.mark.parametrize("name", components("loss"))
def test_a_loss_is_a_mean_over_points(name: str) -> None:
    """Losses of many steps at once equal those of single steps; no loss is negative."""
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


@of_kind["optimizer"]
def test_an_optimizer_equals_that_of_the_reference(config: CellConfig, chosen: Components) -> None:
    """Also over a second task, where its memory of the first counts."""
    engine, parameters = Engine.of(chosen, config), network(config)
    trainer = trainer_of(config, parameters)
    state = engine.init(parameters)
    task, arrays = task_of(config), arrays_of(config)
    for _ in range(2):
        trace = engine.train(state, arrays, 20)
        losses, grad_norm = trainer.train(task, 20)
        np.testing.assert_allclose(trace.losses[:, 0], losses, rtol=1e-9)
        assert trace.grad_norm[0] == pytest.approx(grad_norm, rel=1e-9)
        assert_equal_parameters(trainer, parameters, rtol=1e-8, atol=1e-11)


@of_kind["optimizer"]
@pytest.mark.parametrize("role", ["hidden", "output", "bias", "norm"])
def test_an_optimizer_works_in_place_per_network(config: CellConfig, chosen: Components, role: Any) -> None:
    rng, optimizer = np.random.default_rng(0), chosen.optimizer
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
    assert all(array.shape[0] == 2 for array in state.values())
    arrays = dict(state)
    for gradient in gradients:
        optimizer.update(together, gradient.copy(), state, {**fixed, **hyper}, role)
        for index, (one, its_state) in enumerate(zip(alone, states, strict=True)):
            own = {name: values[index : index + 1] for name, values in hyper.items()}
            optimizer.update(one, gradient[index : index + 1].copy(), its_state, {**fixed, **own}, role)
    assert np.array_equal(together, np.concatenate(alone))
    assert all(state[name] is array for name, array in arrays.items())  # a CUDA graph keeps their addresses
    assert state.keys() == arrays.keys()


@of_kind["init"]
def test_an_initializer_draws_from_the_rng_alone(config: CellConfig) -> None:
    first, again, other = (initial_weights(config, TorchRng(seed)) for seed in (1, 1, 2))
    for (weight, bias), (same, same_bias), (different, _) in zip(first, again, other, strict=True):
        assert np.array_equal(weight, same)
        assert np.array_equal(bias, same_bias)
        assert not np.array_equal(weight, different)
        assert np.isfinite(weight).all()


@of_kind["init"]
def test_both_draws_of_an_initializer_have_one_distribution(chosen: Components) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 500)
    chosen.init.apply(layer)
    weights, biases = chosen.init.draw(np.random.default_rng(0), 300, 500)
    assert weights.shape == (300, 500)
    assert biases.shape == (500,)
    for ours, theirs in ((weights, layer.weight.detach().numpy()), (biases, layer.bias.detach().numpy())):
        if theirs.any():
            # Kolmogorov-Smirnov, so that the whole distribution counts
            assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 0.001
        else:
            assert not ours.any()


def test_xavier_normal_has_its_variance() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 500)
    component("init", "xavier_normal").apply(layer)
    # 150,000 values: the relative standard error of the standard deviation is 0.0018
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 800) ** 0.5, rel=0.01)
    assert not layer.bias.any()


@of_kind["stream"]
def test_a_stream_draws_from_the_rng_alone(config: CellConfig, chosen: Components) -> None:
    def draw() -> list[Task]:
        rng = np.random.default_rng(3)
        state = chosen.stream.init(config, rng)
        return [chosen.stream.draw(config, state, rng) for _ in range(3)]

    inputs, outputs = chosen.stream.dimensions(config)
    np.random.seed(0)
    first = draw()
    np.random.seed(1)
    for task, again in zip(first, draw(), strict=True):
        assert task.points.shape == (config.samples, inputs)
        assert task.labels.shape == (config.samples, outputs)
        assert task.points.dtype == task.labels.dtype == np.float64
        assert np.isfinite(task.points).all()
        assert_labels(chosen.stream.loss, task.labels)
        assert np.array_equal(task.points, again.points)
        assert np.array_equal(task.labels, again.labels)
    before, after = first[0], first[1]
    assert not (np.array_equal(before.points, after.points) and np.array_equal(before.labels, after.labels))
    if not has_held_out(chosen.stream):
        with pytest.raises(ConfigError, match="have no held-out points"):
            check(config.replace(metrics=OPTIONAL))
        return
    more = chosen.stream.held_out(config, first[0], np.random.default_rng(5))
    assert more.points.shape == (config.test_samples, inputs)
    assert more.labels.shape == (config.test_samples, outputs)
    assert_labels(chosen.stream.loss, more.labels)


def assert_labels(loss: str, labels: np.ndarray) -> None:
    """Labels are what the stream's loss takes."""
    if loss == "regression":
        assert np.isfinite(labels).all()
    else:
        assert set(np.unique(labels)) <= {0.0, 1.0}
    if loss == "softmax":
        assert (labels.sum(axis=1) == 1).all()


EAGER = {"replacement_rate": 0.2, "maturity_threshold": 1}
"""Hyperparameters with which continual backpropagation replaces units within a few steps."""
PAIRS: list[dict[str, Any]] = [
    {"batch_size": 3},
    {"batch_size": 1, "steps": 12},
    {"optimizer": "test_momentum", "reset_optimizer": True},
    {"weight_decay": 0.1},
    {"activation": "relu", "norm": "layer_norm_affine", "init": "kaiming_uniform", "optimizer": "test_momentum"},
    {"activation": "crelu", "norm": "batch_norm", "batch_size": 4, "optimizer": "test_momentum"},
    {"activation": "gelu", "norm": "layer_norm", "init": "pytorch", "batch_size": 1},
    {"activation": "selu", "init": "kaiming_normal", "norm": "batch_norm", "reset_optimizer": True},
    {"optimizer": "momentum", "nesterov": True, "weight_decay": 0.1},
    {"optimizer": "adam", "weight_decay": 0.1, "reset_optimizer": True},
    {"optimizer": "adamw", "weight_decay": 0.1, "batch_size": 3},
    {"optimizer": "muon", "weight_decay": 0.1, "reset_optimizer": True},
    {"optimizer": "muon_simple_lop", "weight_decay": 0.1, "batch_size": 3},
    {"drift": 0.3, "cycle": 2},
    {"stream": "permuted_inputs", "data": "mnist_5k", "batch_size": 4, "width": 3},
    {"stream": "slowly_changing_regression_flip", "batch_size": 1, "steps": 10, "width": 5, "depth": 1},
    {
        "mitigation": ["l2_init", "redo"],
        "norm": "layer_norm_affine",
        "optimizer": "momentum",
        "redo_threshold": 0.9,
        "redo_tasks": 2,
    },
    {"mitigation": ["redo_per_step", "weight_noise"], "redo_threshold": 0.8, "redo_steps": 3, "batch_size": 3},
    {"mitigation": "continual_backprop", "optimizer": "adam", "activation": "crelu", **EAGER},
    {"mitigation": "continual_backprop", "optimizer": "adam", "width": 1, **EAGER},
    {
        "mitigation": ["continual_backprop_adaptable", "gradient_noise"],
        "activation": "relu",
        "init": "kaiming_uniform",
        "batch_size": 1,
        **EAGER,
    },
    {"mitigation": ["continual_backprop_adaptable", "l2_init"], "optimizer": "muon", "init": "pytorch", **EAGER},
    {"mitigation": ["spectral", "parseval", "fire"], "spectral_exponent": 1.5, "parseval_scale": 0.5},
    {
        "mitigation": ["swr", "shrink_perturb_per_task"],
        "norm": "batch_norm",
        "init": "kaiming_normal",
        "swr_factor": 0.5,
        "swr_steps": 2,
    },
    {
        "mitigation": ["gradient_noise", "shrink_perturb_per_step", "weight_noise"],
        "norm": "layer_norm_affine",
        "activation": "relu",
        "init": "kaiming_uniform",
    },
    {"mitigation": ["shrink_perturb_gaussian", "redo"], "redo_threshold": 0.9, "width": 1},
    {"control_every": 2, "batch_size": 4, "optimizer": "test_momentum"},
]
"""What is combined with the default components, and runs through the same tests."""

every_pair = pytest.mark.parametrize(
    "config",
    [*EVERY, *PAIRS],
    indirect=True,
    ids=lambda one: "-".join(map(str, one if isinstance(one, tuple) else one.values())),
)


@every_pair
def test_engine_equals_reference(config: CellConfig) -> None:
    config = config.replace(lr=0.02, steps=5, tasks=4, fresh_baseline=2)
    experiment, reference = Experiment([config]), ReferenceExperiment(config)
    for _ in range(config.tasks):
        ours, expected = experiment.run_task(), reference.run_task()
        assert list(ours) == list(expected) == list(measured(config))
        for name in ours:
            assert ours[name].shape == expected[name].shape
            np.testing.assert_allclose(ours[name], expected[name], rtol=1e-8, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(experiment.run_fresh_baseline(), reference.run_fresh_baseline(), rtol=1e-8)


@every_pair
@pytest.mark.parametrize("saved_at", [0, 2, 4])
def test_resumed_run_equals_uninterrupted(config: CellConfig, saved_at: int, tmp_path: Path) -> None:
    configs = [config.replace(seed=seed, steps=3, tasks=4, fresh_baseline=2) for seed in (1, 2)]
    uninterrupted = Experiment(configs)
    rows = [uninterrupted.run_task() for _ in range(4)]
    first = Experiment(configs)
    for _ in range(saved_at):
        first.run_task()
    save_state(tmp_path / "state", first.state_dict())
    second = Experiment(configs)
    second.run_task()  # loading must undo everything
    second.load_state_dict(load_state(tmp_path / "state"))
    for row in rows[saved_at:]:
        again = second.run_task()
        for name in row:
            np.testing.assert_array_equal(again[name], row[name], err_msg=name)
    assert np.array_equal(second.run_fresh_baseline(), uninterrupted.run_fresh_baseline())


@every_pair
def test_a_state_is_a_copy(config: CellConfig) -> None:
    config = config.replace(steps=3, tasks=3, fresh_baseline=0)
    experiment = Experiment([config])
    state = experiment.state_dict()
    expected = stack_metrics([experiment.run_task() for _ in range(3)])
    for _ in range(2):
        again = Experiment([config])
        again.load_state_dict(state)
        for name, values in stack_metrics([again.run_task() for _ in range(3)]).items():
            np.testing.assert_array_equal(values, expected[name], err_msg=name)


@every_pair
@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_a_cell_does_not_depend_on_its_pack(config: CellConfig, device: str) -> None:
    configs = [
        config.replace(seed=seed, lr=lr, tasks=2, steps=3, fresh_baseline=0) for seed, lr in ((1, 0.05), (2, 0.1))
    ]
    together = Experiment(configs, device=device)
    rows = stack_metrics([together.run_task() for _ in range(2)])
    for index, alone_config in enumerate(configs):
        alone = Experiment([alone_config], device="cpu")
        for name, values in stack_metrics([alone.run_task() for _ in range(2)]).items():
            np.testing.assert_allclose(
                rows[name][:, index],
                values[:, 0],
                rtol=0 if device == "cpu" else 1e-9,
                atol=0 if device == "cpu" else 1e-12,
                err_msg=name,
            )


def test_only_components_with_state_add_to_a_saved_state() -> None:
    """So states that were saved before there were such components still load."""
    before = {"version", "dtype", "trajectories", "cells", "tasks_done", "fresh_ce", "diverged_at", "seconds"}
    before |= {"task_streams", "network_streams", "weights", "biases"}
    plain = Experiment([CONFIG]).state_dict()
    assert plain.keys() == before
    experiment = Experiment([with_component("stream", "test_drift").replace(optimizer="test_momentum")])
    assert experiment.state_dict().keys() == before | {"optimizer", "streams"}
    with pytest.raises(StateError, match="the state lacks optimizer, streams"):
        experiment.load_state_dict(plain)
    with pytest.raises(StateError, match="the state has optimizer, streams, which no component"):
        Experiment([CONFIG]).load_state_dict(experiment.state_dict())


def observation(config: CellConfig, scale: float = 1.0, networks: int = 2, put: Any = np.asarray) -> Observation:
    """What metrics may need of networks with random activations; the gradient is that of a sum of squares and cubes."""
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


@pytest.mark.parametrize("activation", ["tanh", "relu", "crelu"])
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_stays_within_its_bounds(name: str, activation: str) -> None:
    metric = METRICS[name]
    for scale, width, samples in ((0.01, 6, 10), (3.0, 6, 10), (3.0, 30, 10), (0.0, 6, 10), (1.0, 1, 2)):
        config = CONFIG.replace(width=width, samples=samples, activation=activation)
        task = observation(config, scale)
        values = metric.compute(task)
        low, high = metric.bounds(config)
        assert values.shape == ((2, 3) if metric.per_layer else (2,))
        assert ((values >= low - 1e-9) & (values <= high + 1e-9)).all()


def test_the_loss_is_measured_before_within_and_after_a_task() -> None:
    """The loss after a task's last update is that before the first one if the same task goes on."""
    config = CONFIG.replace(tasks=1, steps=5)
    short, long = (Experiment([config.replace(steps=steps)]).run_task() for steps in (5, 6))
    before, after = (float(row["end_ce"][0]) for row in (short, long))
    assert before == long["final_ce"][0]
    assert short["start_ce"] == long["start_ce"]
    assert float(long["online_ce"][0]) == pytest.approx((5 * float(short["online_ce"][0]) + before) / 6, rel=1e-14)
    assert after < before


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_the_same_on_tensors(name: str) -> None:
    """The reference computes metrics that it has no own implementation of by `compute`."""
    config = CONFIG.replace(samples=10)
    ours = METRICS[name].compute(observation(config))
    on_tensors = METRICS[name].compute(observation(config, put=torch.from_numpy))
    np.testing.assert_allclose(np.asarray(on_tensors), ours, rtol=1e-8 if name == "sharpness" else 1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_keeps_to_the_array_api_standard(name: str) -> None:
    """It is float64 on the library's own arrays, from networks in float32 too."""
    values = METRICS[name].compute(observation(CONFIG, put=array_api_strict.asarray))
    assert values.dtype == array_api_strict.float64
    np.testing.assert_allclose(np.asarray(values), METRICS[name].compute(observation(CONFIG)), rtol=1e-8)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("width", "samples"), [(6, 10), (1, 10), (30, 8), (1, 2)])
def test_a_metric_does_not_depend_on_the_batch(name: str, width: int, samples: int) -> None:
    """To the bit, for networks of a batch of 1, 2 and 7."""
    config = CONFIG.replace(width=width, samples=samples)
    for dtype in (np.float64, np.float32):
        alone, two, seven = (
            METRICS[name].compute(observation(config, networks=networks, put=lambda array: array.astype(dtype)))  # noqa: B023
            for networks in (1, 2, 7)
        )
        assert np.array_equal(two, seven[:2])
        assert np.array_equal(alone, two[:1])


@pytest.mark.parametrize("kind", [*(kind for kind in KINDS if kind != "mitigation"), "loss", "metric"])
def test_unknown_names_are_refused_with_the_valid_ones(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown {kind} 'xyz'; choose from: {next(iter(components(kind)))}"):
        component(kind, "xyz")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="activation 'tanh' is already registered by Tanh"):

        @register("activation", "tanh")
        class Other:
            pass

    assert type(component("activation", "tanh")).__name__ == "Tanh"


def test_a_field_of_the_kinds_name_chooses_the_component() -> None:
    assert Components.of(CONFIG).activation is component("activation", "tanh")
    assert Components.of(CONFIG.replace(activation="test_silu")).activation is component("activation", "test_silu")
    with pytest.raises(ConfigError, match="unknown activation 'nonsense'; choose from: tanh"):
        Components.of(CONFIG.replace(activation="nonsense"))
    with pytest.raises(ConfigError, match="unknown mitigation 'nonsense'; choose from: none"):
        Components.of(CONFIG.replace(mitigation=["nonsense"]))


def test_a_hyperparameter_of_another_component_is_refused() -> None:
    message = (
        "weight_decay = 0.1: is no hyperparameter of optimizer 'test_momentum'; it has lr; weight_decay belongs to sgd"
    )
    with pytest.raises(ConfigError, match=message):
        check(CONFIG.replace(optimizer="test_momentum", weight_decay=0.1))
    with pytest.raises(
        ConfigError, match=r"delta = 1\.0: is no hyperparameter of stream 'test_drift'; it has input_dim"
    ):
        check(CONFIG.replace(stream="test_drift", delta=1.0))


def test_names_of_mitigations_are_one_cell_in_any_order() -> None:
    assert CONFIG.replace(mitigation=["b", "a"]) == CONFIG.replace(mitigation="a, b")
    assert CONFIG.replace(mitigation=[]).mitigation == CONFIG.replace(mitigation=[NONE]).mitigation == NONE
    assert CONFIG.replace(mitigation=NONE).id == CONFIG.id


def test_a_pack_assembled_from_others_continues_their_state() -> None:
    """The states of optimizers and task streams go along with each cell."""
    config = with_component("stream", "test_drift").replace(optimizer="test_momentum")
    cells = [config.replace(seed=seed, steps=3, tasks=4, fresh_baseline=0) for seed in range(4)]
    states = []
    for pack in (Pack(tuple(cells[:3])), Pack(tuple(cells[3:]))):
        experiment = Experiment(pack.cells)
        history = stack_metrics([experiment.run_task() for _ in range(2)])
        states.append(PackState(pack, experiment.state_dict(), history, {}))
    pack = Pack((cells[3], cells[1]))
    resumed, uninterrupted = Experiment(pack.cells), Experiment(pack.cells)
    resumed.load_state_dict(assemble(pack, [(states[1], 0), (states[0], 1)]).experiment)
    expected = [uninterrupted.run_task() for _ in range(4)][2:]
    for row in expected:
        again = resumed.run_task()
        for name in METRICS:
            np.testing.assert_array_equal(again[name], row[name], err_msg=name)
