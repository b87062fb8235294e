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

from lop_sweep.components import Components, check
from lop_sweep.components.choice import KINDS
from lop_sweep.components.streams import has_held_out
from lop_sweep.config import NONE, CellConfig
from lop_sweep.errors import ConfigError, StateError
from lop_sweep.experiment import Experiment
from lop_sweep.metrics import METRICS, optional_metrics, stack_metrics
from lop_sweep.pack import Pack
from lop_sweep.registry import component, components, register
from lop_sweep.storage import PackState
from lop_sweep.storage.pack_state import assemble
from lop_sweep.storage.serialization import load_state, save_state
from lop_sweep.testing import contract
from lop_sweep.testing import networks as testing

EVERY = [(kind, name) for kind in KINDS for name in components(kind)]
OPTIONAL = optional_metrics()
CONFIG = testing.SMALL_CELL.replace(metrics=OPTIONAL, test_samples=30, control_every=1)


def with_component(kind: str, name: str) -> CellConfig:
    """The suite's cell with one component of another name. Fields that this does not use have their defaults."""
    return testing.with_component(kind, name, CONFIG)


@pytest.fixture
def config(request: pytest.FixtureRequest) -> CellConfig:
    """The suite's cell with the component, or with the changes, of the test's parameter."""
    return CONFIG.replace(**request.param) if isinstance(request.param, dict) else with_component(*request.param)


@pytest.fixture
def frugal(request: pytest.FixtureRequest, config: CellConfig) -> CellConfig:
    """The same, with the sharpness only where the loss as a function of the parameters is another one.

    It takes half of the time of all metrics, and depends on neither optimizer nor mitigations.
    """
    changed = request.node.callspec.params["config"]
    if set(changed) & {"activation", "norm", "stream"}:
        return config
    return config.replace(metrics=[name for name in config.metrics.split(",") if name != "sharpness"])


@pytest.fixture
def chosen(config: CellConfig) -> Components:
    return Components.of(config)


every_component = pytest.mark.parametrize("config", EVERY, indirect=True, ids="-".join)
of_kind = {
    kind: pytest.mark.parametrize("config", [(kind, name) for name in components(kind)], indirect=True, ids="-".join)
    for kind in KINDS
}


@every_component
def test_gradients_equal_autograd(config: CellConfig) -> None:
    contract.gradients_equal_autograd(config)


@every_component
def test_gradients_equal_central_differences(config: CellConfig) -> None:
    contract.gradients_equal_central_differences(config)


@every_component
def test_float32_stays_float32(config: CellConfig) -> None:
    contract.float32_stays_float32(config)


@every_component
@pytest.mark.parametrize("library", [array_api_strict, torch], ids=["strict", "torch"])
def test_the_engine_keeps_to_the_array_api_standard(config: CellConfig, library: Any) -> None:
    """The same source runs on array-api-strict, which refuses everything else, and on torch tensors."""
    contract.keeps_to_the_array_api_standard(config, library)


@of_kind["activation"]
def test_an_activation_leaves_what_it_reads_unchanged(config: CellConfig) -> None:
    contract.activation_leaves_what_it_reads_unchanged(config)


@pytest.mark.parametrize("name", components("loss"))
def test_a_loss_is_a_mean_over_points(name: str) -> None:
    contract.loss_is_a_mean_over_points(name)


@of_kind["optimizer"]
def test_an_optimizer_equals_that_of_the_reference(config: CellConfig) -> None:
    contract.optimizer_equals_that_of_the_reference(config)


@of_kind["optimizer"]
@pytest.mark.parametrize("role", contract.ROLES)
def test_an_optimizer_works_in_place_per_network(config: CellConfig, role: Any) -> None:
    contract.optimizer_works_in_place_per_network(config, role)


@of_kind["init"]
def test_an_initializer_draws_from_the_rng_alone(config: CellConfig) -> None:
    contract.initializer_draws_from_the_rng_alone(config)


@of_kind["init"]
def test_both_draws_of_an_initializer_have_one_distribution(config: CellConfig) -> None:
    contract.both_draws_of_an_initializer_have_one_distribution(config)


def test_xavier_normal_has_its_variance() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 500)
    component("init", "xavier_normal").apply(layer)
    # 150,000 values: the relative standard error of the standard deviation is 0.0018
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 800) ** 0.5, rel=0.01)
    assert not layer.bias.any()


@of_kind["stream"]
def test_a_stream_draws_from_the_rng_alone(config: CellConfig, chosen: Components) -> None:
    contract.stream_draws_from_the_rng_alone(config)
    if not has_held_out(chosen.stream):
        with pytest.raises(ConfigError, match="have no held-out points"):
            check(config.replace(metrics=OPTIONAL))


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
def test_engine_equals_reference(frugal: CellConfig) -> None:
    contract.engine_equals_reference(frugal)


@every_pair
def test_resumed_run_equals_uninterrupted(frugal: CellConfig, tmp_path: Path) -> None:
    def through_a_file(state: dict[str, Any]) -> Any:
        save_state(tmp_path / "state", state)
        return load_state(tmp_path / "state")

    contract.resumed_run_equals_uninterrupted(frugal, through_a_file)


@every_pair
def test_a_cell_does_not_depend_on_its_pack(frugal: CellConfig) -> None:
    contract.cell_does_not_depend_on_its_pack(frugal)


@pytest.mark.long  # the tests above do so every day, the sharpness only where the loss is another function
@every_pair
def test_the_contract_holds_with_all_metrics(config: CellConfig) -> None:
    contract.engine_equals_reference(config)
    contract.resumed_run_equals_uninterrupted(config)
    contract.cell_does_not_depend_on_its_pack(config)


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


@pytest.mark.parametrize("activation", ["tanh", "relu", "crelu"])
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_stays_within_its_bounds(name: str, activation: str) -> None:
    contract.metric_stays_within_its_bounds(name, activation)


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
    contract.metric_is_the_same_on_tensors(name)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_keeps_to_the_array_api_standard(name: str) -> None:
    contract.metric_keeps_to_the_array_api_standard(name, array_api_strict)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("width", "samples"), [(6, 10), (1, 10), (30, 8), (1, 2)])
def test_a_metric_does_not_depend_on_the_batch(name: str, width: int, samples: int) -> None:
    contract.metric_does_not_depend_on_the_batch(name, width, samples)


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
        "weight_decay = 0.1: not a hyperparameter of optimizer 'test_momentum'; it has lr; weight_decay belongs to sgd"
    )
    with pytest.raises(ConfigError, match=message):
        check(CONFIG.replace(optimizer="test_momentum", weight_decay=0.1))
    with pytest.raises(
        ConfigError, match=r"delta = 1\.0: not a hyperparameter of stream 'test_drift'; it has input_dim"
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
