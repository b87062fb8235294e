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
from torch import nn

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, StateError
from lop_sweep.experiment import DEFAULTS, Components, Experiment, ReferenceExperiment, ReferenceTrainer
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays
from lop_sweep.experiment.network import TorchRng, initial_weights
from lop_sweep.experiment.streams import Task
from lop_sweep.metrics import METRICS, Observation, stack_metrics
from lop_sweep.pack import Pack
from lop_sweep.registry import component, components, register
from lop_sweep.storage import PackState
from lop_sweep.storage.pack_state import assemble
from lop_sweep.storage.serialization import load_state, save_state

KINDS = tuple(DEFAULTS)
EVERY = [(kind, name) for kind in KINDS for name in components(kind)]
OPTIONAL = [name for name, metric in METRICS.items() if metric.optional]
CONFIG = CellConfig(
    seed=1, width=6, depth=3, input_dim=4, samples=10, lr=0.05, metrics=OPTIONAL, test_samples=30
)  # fmt: skip


@pytest.fixture
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Components:
    """The default components with one replaced by that of the test's parameter."""
    kind, name = request.param
    monkeypatch.setitem(DEFAULTS, kind, name)
    return Components.of(CONFIG)


every_component = pytest.mark.parametrize("chosen", EVERY, indirect=True, ids="-".join)
of_kind = {
    kind: pytest.mark.parametrize("chosen", [(kind, name) for name in components(kind)], indirect=True, ids="-".join)
    for kind in KINDS
}


def network(seed: int = 0) -> Parameters:
    """A network with biases that are not zero."""
    layers = initial_weights(CONFIG, TorchRng(seed))
    rng = np.random.default_rng(seed)
    return Parameters([weight[None] for weight, _ in layers], [rng.normal(size=bias[None].shape) for _, bias in layers])


def task_arrays(chosen: Components) -> tuple[Task, TaskArrays]:
    rng = np.random.default_rng(CONFIG.seed)
    task = chosen.stream.draw(CONFIG, chosen.stream.init(CONFIG, rng), rng)
    hyper = {name: np.full((1, 1, 1), getattr(CONFIG, name)) for name in chosen.optimizer.hyper}
    return task, TaskArrays(task.points[None], task.labels[None], hyper)


def trainer_of(parameters: Parameters) -> ReferenceTrainer:
    """The reference with the same weights."""
    trainer = ReferenceTrainer(CONFIG, TorchRng(0))
    for layer, linear in enumerate(trainer.network.layers()):
        linear.weight.data = torch.from_numpy(parameters.weights[layer][0].T.copy())
        linear.bias.data = torch.from_numpy(parameters.biases[layer][0, 0].copy())
    return trainer


@every_component
def test_gradients_equal_autograd(chosen: Components) -> None:
    engine, parameters = Engine.of(chosen), network()
    task, arrays = task_arrays(chosen)
    passed = engine.forward(parameters, arrays.x)
    trainer = trainer_of(parameters)
    loss = trainer.loss(task)
    loss.backward()
    assert engine.loss.value(passed.logits, arrays.y)[0] == pytest.approx(loss.item(), rel=1e-13)
    for layer, weight, bias in engine.backward(parameters, arrays, passed):
        linear = trainer.network.layers()[layer]
        np.testing.assert_allclose(weight[0], linear.weight.grad.T, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(bias[0, 0], linear.bias.grad, rtol=1e-10, atol=1e-15)


@every_component
def test_gradients_equal_central_differences(chosen: Components) -> None:
    engine, parameters = Engine.of(chosen), network()
    _, arrays = task_arrays(chosen)
    passed = engine.forward(parameters, arrays.x)

    def loss() -> float:
        return float(engine.loss.value(engine.forward(parameters, arrays.x).logits, arrays.y)[0])

    step = 1e-6
    for layer, weight, bias in list(engine.backward(parameters, arrays, passed)):
        for values, gradient in ((parameters.weights[layer], weight), (parameters.biases[layer], bias)):
            for index in np.ndindex(values.shape):
                centre = values[index]
                values[index] = centre + step
                above = loss()
                values[index] = centre - step
                below = loss()
                values[index] = centre
                assert gradient[index] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-9)


@every_component
def test_float32_stays_float32(chosen: Components) -> None:
    double, (_, arrays) = network(), task_arrays(chosen)
    single = [[array.astype(np.float32) for array in layers] for layers in (double.weights, double.biases)]
    x, y, *hyper = (array.astype(np.float32) for array in arrays.arrays())
    engine = Engine.of(chosen)
    state = engine.init(Parameters(*single))
    trace = engine.train(state, TaskArrays(x, y, dict(zip(arrays.hyper, hyper, strict=True))), 3)
    assert trace.losses.dtype == trace.grad_norm.dtype == np.float32
    assert {array.dtype for array in state.arrays()} == {np.dtype(np.float32)}


@every_component
@pytest.mark.parametrize("library", [array_api_strict, torch], ids=["strict", "torch"])
def test_the_engine_keeps_to_the_array_api_standard(chosen: Components, library: Any) -> None:
    """The same source runs on array-api-strict, which refuses everything else, and on torch tensors."""
    engine, parameters, (_, arrays) = Engine.of(chosen), network(), task_arrays(chosen)
    theirs = [[library.asarray(array.copy()) for array in layers] for layers in (parameters.weights, parameters.biases)]
    x, y, *hyper = (library.asarray(array) for array in arrays.arrays())
    task = TaskArrays(x, y, dict(zip(arrays.hyper, hyper, strict=True)))
    trace = engine.train(engine.init(Parameters(*theirs)), task, 5)
    expected = engine.train(engine.init(parameters), arrays, 5)
    np.testing.assert_allclose(np.asarray(trace.losses), expected.losses, rtol=1e-13)
    np.testing.assert_allclose(np.asarray(trace.grad_norm), expected.grad_norm, rtol=1e-13)


@of_kind["activation"]
def test_an_activation_leaves_what_it_reads_unchanged(chosen: Components) -> None:
    rng = np.random.default_rng(0)
    z, error = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 3))
    a = chosen.activation.value(z)
    before = z.copy(), a.copy()
    chosen.activation.backward(error, z if chosen.activation.keeps_z else None, a)
    assert np.array_equal(z, before[0])
    assert np.array_equal(a, before[1])


@of_kind["loss"]
def test_a_loss_is_a_mean_over_points(chosen: Components) -> None:
    """Losses of many steps at once equal those of single steps; no loss is negative."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(7, 2, 10, 1)) * 20
    y = rng.integers(0, 2, size=(2, 10, 1)).astype(float)
    losses = chosen.loss.value(logits, y)
    assert losses.shape == (7, 2)
    assert (losses >= 0).all()
    np.testing.assert_allclose(losses, [chosen.loss.value(one, y) for one in logits], rtol=1e-14)
    np.testing.assert_allclose(losses, chosen.loss.value(logits.repeat(3, axis=2), y.repeat(3, axis=1)), rtol=1e-13)


@of_kind["optimizer"]
def test_an_optimizer_equals_that_of_the_reference(chosen: Components) -> None:
    """Also over a second task, where its memory of the first counts."""
    engine, parameters = Engine.of(chosen), network()
    trainer = trainer_of(parameters)
    state = engine.init(parameters)
    task, arrays = task_arrays(chosen)
    for _ in range(2):
        trace = engine.train(state, arrays, 20)
        losses, grad_norm = trainer.train(task, 20)
        np.testing.assert_allclose(trace.losses[:, 0], losses, rtol=1e-10)
        assert trace.grad_norm[0] == pytest.approx(grad_norm, rel=1e-10)
        for layer, linear in enumerate(trainer.network.layers()):
            np.testing.assert_allclose(parameters.weights[layer][0].T, linear.weight.detach(), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(parameters.biases[layer][0, 0], linear.bias.detach(), rtol=1e-9, atol=1e-12)


@of_kind["optimizer"]
def test_an_optimizer_works_in_place_per_network(chosen: Components) -> None:
    rng = np.random.default_rng(0)
    hyper = {name: np.array([0.1, 0.3]).reshape(2, 1, 1) for name in chosen.optimizer.hyper}
    together, gradients = rng.normal(size=(2, 4, 3)), rng.normal(size=(5, 2, 4, 3))
    alone = [together[index : index + 1].copy() for index in range(2)]
    state, states = chosen.optimizer.init(together), [chosen.optimizer.init(one) for one in alone]
    assert all(array.shape[0] == 2 for array in state.values())
    arrays = dict(state)
    for gradient in gradients:
        chosen.optimizer.update(together, gradient.copy(), state, hyper)
        for index, (one, its_state) in enumerate(zip(alone, states, strict=True)):
            own = {name: values[index : index + 1] for name, values in hyper.items()}
            chosen.optimizer.update(one, gradient[index : index + 1].copy(), its_state, own)
    assert np.array_equal(together, np.concatenate(alone))
    assert all(state[name] is array for name, array in arrays.items())  # a CUDA graph keeps their addresses
    assert state.keys() == arrays.keys()


@of_kind["init"]
def test_an_initializer_draws_from_the_rng_alone(chosen: Components) -> None:
    first, again, other = (initial_weights(CONFIG, TorchRng(seed)) for seed in (1, 1, 2))
    for (weight, bias), (same, same_bias), (different, _) in zip(first, again, other, strict=True):
        assert np.array_equal(weight, same)
        assert np.array_equal(bias, same_bias)
        assert not np.array_equal(weight, different)
        assert np.isfinite(weight).all()


def test_xavier_normal_has_its_variance() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 500)
    component("init", "xavier_normal").apply(layer)
    # 150,000 values: the relative standard error of the standard deviation is 0.0018
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 800) ** 0.5, rel=0.01)
    assert not layer.bias.any()


@of_kind["stream"]
def test_a_stream_draws_from_the_rng_alone(chosen: Components) -> None:
    def draw() -> list[Task]:
        rng = np.random.default_rng(3)
        state = chosen.stream.init(CONFIG, rng)
        return [chosen.stream.draw(CONFIG, state, rng) for _ in range(3)]

    np.random.seed(0)
    first = draw()
    np.random.seed(1)
    for task, again in zip(first, draw(), strict=True):
        assert task.points.shape == (CONFIG.samples, CONFIG.input_dim)
        assert task.labels.shape == (CONFIG.samples, 1)
        assert task.points.dtype == task.labels.dtype == np.float64
        assert set(np.unique(task.labels)) <= {0.0, 1.0}
        assert np.array_equal(task.points, again.points)
        assert np.array_equal(task.labels, again.labels)
    before, after = first[0], first[1]
    assert not (np.array_equal(before.points, after.points) and np.array_equal(before.labels, after.labels))
    more = chosen.stream.held_out(CONFIG, first[0], np.random.default_rng(5))
    assert more.points.shape == (CONFIG.test_samples, CONFIG.input_dim)
    assert more.labels.shape == (CONFIG.test_samples, 1)
    assert set(np.unique(more.labels)) <= {0.0, 1.0}


@every_component
def test_engine_equals_reference(chosen: Components) -> None:
    config = CONFIG.replace(lr=0.02, steps=5, tasks=4, fresh_baseline=2)
    experiment, reference = Experiment([config]), ReferenceExperiment(config)
    for _ in range(config.tasks):
        ours, expected = experiment.run_task(), reference.run_task()
        assert list(ours) == list(expected) == list(METRICS)
        for name in METRICS:
            assert ours[name].shape == expected[name].shape
            np.testing.assert_allclose(ours[name], expected[name], rtol=1e-8, err_msg=name)
    np.testing.assert_allclose(experiment.run_fresh_baseline(), reference.run_fresh_baseline(), rtol=1e-8)


@every_component
@pytest.mark.parametrize("saved_at", [0, 2, 4])
def test_resumed_run_equals_uninterrupted(chosen: Components, saved_at: int, tmp_path: Path) -> None:
    configs = [CONFIG.replace(seed=seed, steps=3, tasks=4, fresh_baseline=2) for seed in (1, 2)]
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
        for name in METRICS:
            np.testing.assert_array_equal(again[name], row[name], err_msg=name)
    assert np.array_equal(second.run_fresh_baseline(), uninterrupted.run_fresh_baseline())


@every_component
def test_a_state_is_a_copy(chosen: Components) -> None:
    config = CONFIG.replace(steps=3, tasks=3, fresh_baseline=0)
    experiment = Experiment([config])
    state = experiment.state_dict()
    expected = stack_metrics([experiment.run_task() for _ in range(3)])
    for _ in range(2):
        again = Experiment([config])
        again.load_state_dict(state)
        for name, values in stack_metrics([again.run_task() for _ in range(3)]).items():
            np.testing.assert_array_equal(values, expected[name], err_msg=name)


@every_component
@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_a_cell_does_not_depend_on_its_pack(chosen: Components, device: str) -> None:
    configs = [
        CONFIG.replace(seed=seed, lr=lr, tasks=2, steps=3, fresh_baseline=0) for seed, lr in ((1, 0.05), (2, 0.1))
    ]
    together = Experiment(configs, device=device)
    rows = stack_metrics([together.run_task() for _ in range(2)])
    for index, config in enumerate(configs):
        alone = Experiment([config], device="cpu")
        for name, values in stack_metrics([alone.run_task() for _ in range(2)]).items():
            np.testing.assert_allclose(
                rows[name][:, index], values[:, 0], rtol=0 if device == "cpu" else 1e-9, err_msg=name
            )


def test_only_components_with_state_add_to_a_saved_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """So states that were saved before there were such components still load."""
    before = {"version", "dtype", "trajectories", "cells", "tasks_done", "fresh_ce", "diverged_at", "seconds"}
    before |= {"task_streams", "network_streams", "weights", "biases"}
    plain = Experiment([CONFIG]).state_dict()
    assert plain.keys() == before
    monkeypatch.setitem(DEFAULTS, "optimizer", "test_momentum")
    monkeypatch.setitem(DEFAULTS, "stream", "test_drift")
    experiment = Experiment([CONFIG])
    assert experiment.state_dict().keys() == before | {"optimizer", "streams"}
    with pytest.raises(StateError, match="the state lacks optimizer, streams"):
        experiment.load_state_dict(plain)
    monkeypatch.undo()
    with pytest.raises(StateError, match="the state has optimizer, streams, which no component"):
        Experiment([CONFIG]).load_state_dict(experiment.state_dict())


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_stays_within_its_bounds(name: str) -> None:
    rng = np.random.default_rng(0)
    metric = METRICS[name]
    for scale, width, samples in ((0.01, 6, 10), (3.0, 6, 10), (3.0, 30, 10), (0.0, 6, 10), (1.0, 1, 2)):
        config = CONFIG.replace(width=width, samples=samples)
        pre = scale * rng.normal(size=(2, 3, samples, width))
        task = Observation(
            losses=rng.random((5, 2)),
            end_loss=rng.random(2),
            grad_norm=rng.random(2),
            pre=pre,
            post=np.tanh(pre),
            logits=rng.normal(size=(2, samples, 1)),
            corr_thresh=np.array([[0.0], [0.95]]),
            test_loss=rng.random(2),
            test_accuracy=rng.random(2),
        )
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
    rng = np.random.default_rng(0)
    pre = rng.normal(size=(2, 3, 10, 6))
    logits, threshold = rng.normal(size=(2, 10, 1)), np.array([[0.3], [0.95]])
    losses = [rng.random(shape) for shape in ((5, 2), 2, 2)]
    arrays = (*losses, pre, np.tanh(pre), logits, threshold, rng.random(2), rng.random(2))
    ours = METRICS[name].compute(Observation(*arrays))
    on_tensors = METRICS[name].compute(Observation(*(torch.from_numpy(array) for array in arrays)))
    np.testing.assert_allclose(np.asarray(on_tensors), ours, rtol=1e-12)


@pytest.mark.parametrize("kind", [*KINDS, "metric"])
def test_unknown_names_are_refused_with_the_valid_ones(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown {kind} 'nonsense'; choose from: {next(iter(components(kind)))}"):
        component(kind, "nonsense")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="activation 'tanh' is already registered by Tanh"):

        @register("activation", "tanh")
        class Other:
            pass

    assert type(component("activation", "tanh")).__name__ == "Tanh"


def test_a_field_of_the_kinds_name_chooses_the_component() -> None:
    class WithField(CellConfig):
        activation: str = "test_silu"

    assert Components.of(CONFIG).activation is component("activation", "tanh")
    chosen = Components.of(WithField.model_construct(**CONFIG.model_dump(), activation="test_silu"))
    assert chosen.activation is component("activation", "test_silu")
    with pytest.raises(ConfigError, match="unknown activation 'relu7'"):
        Components.of(WithField.model_construct(**CONFIG.model_dump(), activation="relu7"))


def test_a_pack_assembled_from_others_continues_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """The states of optimizers and task streams go along with each cell."""
    for kind, name in (("optimizer", "test_momentum"), ("stream", "test_drift")):
        monkeypatch.setitem(DEFAULTS, kind, name)
    cells = [CONFIG.replace(seed=seed, steps=3, tasks=4, fresh_baseline=0) for seed in range(4)]
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
