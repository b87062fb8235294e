"""Mitigations against their published rules: direct transcriptions, closed forms, autograd and singular values."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from scipy import stats

from lop_sweep.components import Components, Draws, Networks, ParameterGradient, Purpose, Task, check, random_stream
from lop_sweep.components.mitigations import ReferenceDraws, replace_units
from lop_sweep.components.mitigations.replacement import COUNT
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.experiment import Experiment, ReferenceExperiment
from lop_sweep.experiment.backends import make_device
from lop_sweep.experiment.batch import CellBatch
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays, TrainingState
from lop_sweep.experiment.network import TorchRng, build_network, initial_weights
from lop_sweep.metrics import stack_metrics
from lop_sweep.pack import Pack
from lop_sweep.registry import component, components
from lop_sweep.storage import PackState
from lop_sweep.storage.pack_state import assemble

CONFIG = CellConfig(seed=1, width=6, depth=3, input_dim=4, samples=10, lr=0.05, steps=5, tasks=4, fresh_baseline=2)
XAVIER = component("init", "xavier_normal")

EAGER: dict[str, dict[str, Any]] = {
    "l2_init": {"l2_init_strength": 0.3},
    "parseval": {"parseval_strength": 0.1, "parseval_scale": 0.5},
    "spectral": {"spectral_strength": 0.1, "spectral_exponent": 1.5},
    "gradient_noise": {"gradient_noise_scale": 0.5},
    "weight_noise": {"weight_noise_scale": 0.1},
    "shrink_perturb_per_task": {"task_shrink": 0.5},
    "shrink_perturb_per_step": {"step_shrink": 0.1, "step_perturb": 0.1},
    "shrink_perturb_gaussian": {"perturb_decay": 0.5, "weight_noise_scale": 0.1},
    "fire": {},
    "swr": {"swr_factor": 0.5, "swr_steps": 2},
    "continual_backprop": {"replacement_rate": 0.3, "maturity_threshold": 1},
    "continual_backprop_adaptable": {"replacement_rate": 0.3, "maturity_threshold": 1},
    "redo": {"redo_threshold": 0.9},
    "redo_per_step": {"redo_threshold": 0.9, "redo_steps": 2},
}
"""Hyperparameters with which each mitigation changes much within a few steps."""

every_mitigation = pytest.mark.parametrize("name", list(EAGER))


def eager(name: str, **changes: Any) -> CellConfig:
    return CONFIG.replace(mitigation=name, **{**EAGER[name], **changes})


def test_every_mitigation_is_tested() -> None:
    assert list(components("mitigation")) == list(EAGER)
    for name, hyper in EAGER.items():
        assert set(hyper) <= set(component("mitigation", name).hyper)


def test_the_documentation_states_the_order_in_which_they_act() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "configuration.md").read_text().split())
    assert ", ".join(f"`{name}`" for name in components("mitigation")) + "." in text


class Bench:
    """One network that is trained by the engine without mitigations, which are then called by hand."""

    def __init__(self, config: CellConfig, seed: int = 0) -> None:
        self.config = config
        self.parts = check(config)
        self.engine = Engine.of(Components.of(config.replace(**unmitigated(config))), config)
        layers = initial_weights(config, TorchRng(seed))
        rng = np.random.default_rng(seed)
        parameters = Parameters(
            [weight[None] for weight, _ in layers], [0.1 * rng.normal(size=bias[None].shape) for _, bias in layers]
        )
        self.state = self.engine.init(parameters)
        (self.mitigation,) = self.parts.mitigations
        self.memory = self.mitigation.init(parameters.weights, parameters.biases)
        names = [name for name in self.parts.hyper() if FIELDS[name].packable]
        self.hyper: dict[str, Any] = {name: np.full((1, 1, 1), float(getattr(config, name))) for name in names}
        self.hyper |= dict(self.engine.fixed)
        self.draws = self.new_draws()
        stream, rng = self.parts.stream, np.random.default_rng(seed)
        self.task: Task = stream.draw(config, stream.init(config, rng), rng)

    def rng(self) -> np.random.Generator:
        return random_stream(self.config.seed, Purpose.MITIGATION, 1)

    def new_draws(self) -> Draws:
        return Draws([self.rng()], self.parts.init, np.asarray)

    def step(self) -> Networks:
        """Update the network and return it as `after_step` sees it."""
        arrays = TaskArrays(self.task.points[None], self.task.labels[None], {})
        passed = self.engine.step(self.state, (arrays.x, arrays.y, arrays.ones), self.hyper)
        parameters = self.state.parameters
        return Networks(
            parameters.weights,
            parameters.biases,
            parameters.norms,
            self.state.memory,
            passed.inputs[1:],
            self.draws,
            self.parts.activation.expansion,
        )


def unmitigated(config: CellConfig) -> dict[str, Any]:
    return {name: info.default for name, info in FIELDS.items() if info.of == "mitigation" or name == "mitigation"}


class Plain:
    """A copy of one network as plain lists, with one row per unit below, for transcriptions that loop over units."""

    def __init__(self, networks: Networks) -> None:
        self.weights = [array[0].copy() for array in networks.weights]
        self.biases = [array[0, 0].copy() for array in networks.biases]
        self.norms = [{name: array[0, 0].copy() for name, array in norm.items()} for norm in networks.norms]
        self.velocity = [[state["velocity"][0].copy() for state in layer] for layer in networks.memory]

    def replace(self, layer: int, unit: int, fresh: np.ndarray) -> None:
        """Give a unit fresh incoming weights, a bias of zero, no outgoing weights, and forget its momentum."""
        width = self.weights[layer].shape[1]
        self.weights[layer][:, unit] = fresh[:, unit]
        self.biases[layer][unit] = 0.0
        for name, values in self.norms[layer].items():
            values[unit] = {"scale": 1.0, "shift": 0.0}[name]
        for velocity in self.velocity[layer]:
            velocity[:, unit] = 0.0
        for feature in range(unit, len(self.weights[layer + 1]), width):
            self.weights[layer + 1][feature, :] = 0.0
            self.velocity[layer + 1][0][feature, :] = 0.0

    def replace_all(self, units: list[list[int]], rng: np.random.Generator) -> None:
        for layer in range(len(units) - 1, -1, -1):
            if units[layer]:
                fresh, _ = XAVIER.draw(rng, *self.weights[layer].shape)
                for unit in units[layer]:
                    self.replace(layer, unit, fresh)

    def assert_equals(self, networks: Networks) -> None:
        again = Plain(networks)
        for name in ("weights", "biases"):
            for ours, theirs in zip(getattr(self, name), getattr(again, name), strict=True):
                np.testing.assert_array_equal(theirs, ours, err_msg=name)
        assert all(
            np.array_equal(theirs[name], ours[name])
            for ours, theirs in zip(self.norms, again.norms, strict=True)
            for name in ours
        )
        for ours, theirs in zip(self.velocity, again.velocity, strict=True):
            assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


class ContinualBackpropTranscription:
    """The published algorithm for one network, unit by unit."""

    def __init__(self, config: CellConfig, features: int, adaptable: bool) -> None:
        self.rate, self.maturity = config.replacement_rate, config.maturity_threshold
        self.decay, self.adaptable = config.utility_decay, adaptable
        layers = range(config.depth)
        self.age = [[0] * config.width for _ in layers]
        self.utility = [[0.0] * config.width for _ in layers]
        self.mean = [[0.0] * features for _ in layers]
        self.owed = [0.0 for _ in layers]

    def contribution(self, network: Plain, layer: int, unit: int, h: np.ndarray) -> float:
        width = len(self.age[layer])
        total = 0.0
        for feature in range(unit, h.shape[1], width):
            outgoing = [abs(weight) for weight in network.weights[layer + 1][feature]]
            if self.adaptable:
                self.mean[layer][feature] *= self.decay
                self.mean[layer][feature] += (1 - self.decay) * sum(h[:, feature]) / len(h)
                centre = self.mean[layer][feature] / (1 - self.decay ** self.age[layer][unit])
                total += sum(abs(h[:, feature] - centre)) / len(h) * sum(outgoing) / len(outgoing)
            else:
                total += sum(abs(h[:, feature])) / len(h) * sum(outgoing)
        incoming = [abs(weight) for weight in network.weights[layer][:, unit]]
        if not self.adaptable:
            return total
        return total / (sum(incoming) / len(incoming)) if any(incoming) else 0.0

    def step(self, network: Plain, features: list[np.ndarray], rng: np.random.Generator) -> list[list[int]]:
        replaced: list[list[int]] = []
        for layer, h in enumerate(features):
            age, utility = self.age[layer], self.utility[layer]
            for unit in range(len(age)):
                age[unit] += 1
                now = self.contribution(network, layer, unit, h)
                utility[unit] = self.decay * utility[unit] + (1 - self.decay) * now
            eligible = [unit for unit in range(len(age)) if age[unit] > self.maturity]
            self.owed[layer] += self.rate * len(eligible)
            replaced.append([])
            while self.owed[layer] >= 1:
                self.owed[layer] -= 1
                lowest = min(eligible, key=lambda unit: utility[unit] / (1 - self.decay ** age[unit]))
                eligible.remove(lowest)
                replaced[layer].append(lowest)
        network.replace_all(replaced, rng)
        for layer, units in enumerate(replaced):
            for unit in units:
                self.age[layer][unit], self.utility[layer][unit] = 0, 0.0
                for feature in range(unit, len(self.mean[layer]), len(self.age[layer])):
                    self.mean[layer][feature] = 0.0
        return replaced


@pytest.mark.parametrize("changes", [{}, {"activation": "crelu"}, {"norm": "layer_norm_affine"}, {"width": 1}], ids=str)
@pytest.mark.parametrize("name", ["continual_backprop", "continual_backprop_adaptable"])
def test_continual_backprop_is_the_published_rule(name: str, changes: dict[str, Any]) -> None:
    """At each of 400 steps the same units are replaced, with the same numbers."""
    hyper = {"replacement_rate": 0.07, "maturity_threshold": 4, "utility_decay": 0.97, "lr": 0.5}
    bench = Bench(eager(name, optimizer="momentum", **{**hyper, **changes}))
    config, rng, count = bench.config, bench.rng(), 0
    features = config.width * bench.parts.activation.expansion
    published = ContinualBackpropTranscription(config, features, name.endswith("adaptable"))
    for _ in range(400):
        networks = bench.step()
        plain = Plain(networks)
        units = published.step(plain, [one[0] for one in networks.features], rng)
        bench.mitigation.after_step(networks, bench.memory, bench.hyper)
        plain.assert_equals(networks)
        np.testing.assert_array_equal(bench.memory["age"][0][0], published.age)
        np.testing.assert_allclose(bench.memory["utility"][0][0], published.utility, rtol=1e-10, atol=1e-300)
        count += sum(map(len, units))
    assert count > (60 if config.width == 1 else 200)


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("continual_backprop", {"replacement_rate": 0.07, "maturity_threshold": 4, "utility_decay": 0.97}),
        ("continual_backprop_adaptable", {"replacement_rate": 0.2, "maturity_threshold": 4, "norm": "none"}),
        ("redo_per_step", {"redo_threshold": 0.8, "redo_steps": 3}),
        ("swr", {"swr_factor": 0.1, "swr_steps": 7, "lr": 0.05}),
        ("weight_noise", {"weight_noise_scale": 0.01}),
    ],
)
def test_the_reference_does_the_same_over_many_steps(name: str, hyper: dict[str, Any]) -> None:
    """At learning rates at which rounding errors do not grow."""
    settings = {"lr": 0.3, "steps": 150, "tasks": 2, "optimizer": "momentum", "norm": "layer_norm_affine"}
    config = CONFIG.replace(mitigation=name, **{**settings, **hyper})
    experiment, reference = Experiment([config]), ReferenceExperiment(config)
    for _ in range(2):
        row, expected = experiment.run_task(), reference.run_task()
        for metric in row:
            np.testing.assert_allclose(row[metric], expected[metric], rtol=1e-6, atol=1e-9, err_msg=metric)


@pytest.mark.parametrize("name", ["continual_backprop", "continual_backprop_adaptable"])
def test_only_mature_units_are_replaced_as_many_as_accrue(name: str) -> None:
    bench = Bench(eager(name, optimizer="momentum", replacement_rate=0.3, maturity_threshold=3, depth=2))
    owed = [0.0, 0.0]
    for _ in range(100):
        networks = bench.step()
        before = bench.memory["age"][0][0] + 1
        bench.mitigation.after_step(networks, bench.memory, bench.hyper)
        for layer in range(2):
            replaced = bench.memory["age"][0][0, layer] == 0
            assert (before[layer][replaced] > 3).all()
            owed[layer] += 0.3 * int((before[layer] > 3).sum())
            assert replaced.sum() == int(owed[layer])
            owed[layer] -= int(owed[layer])
            assert not bench.state.parameters.weights[layer + 1][0][replaced].any()
            assert not bench.state.parameters.biases[layer][0, 0][replaced].any()
            assert not bench.state.memory[layer][0]["velocity"][0][:, replaced].any()
            assert not bench.state.memory[layer + 1][0]["velocity"][0][replaced].any()
            assert not bench.memory["utility"][0][0, layer][replaced].any()
            assert bench.state.parameters.weights[layer][0][:, replaced].any() or not replaced.any()


def published_redo(network: Plain, features: list[np.ndarray], threshold: float, rng: np.random.Generator) -> int:
    """Recycle dormant units, unit by unit."""
    dormant: list[list[int]] = []
    for layer, h in enumerate(features):
        width = len(network.biases[layer])
        activity = [
            sum(sum(abs(h[:, feature])) / len(h) for feature in range(i, h.shape[1], width)) for i in range(width)
        ]
        mean = sum(activity) / width
        dormant.append([unit for unit in range(width) if activity[unit] / (mean + 1e-9) <= threshold])
    network.replace_all(dormant, rng)
    return sum(map(len, dormant))


@pytest.mark.parametrize("changes", [{}, {"activation": "crelu"}, {"norm": "layer_norm_affine"}, {"depth": 1}], ids=str)
def test_redo_per_step_is_the_published_rule(changes: dict[str, Any]) -> None:
    bench = Bench(eager("redo_per_step", optimizer="momentum", lr=0.2, redo_threshold=0.95, redo_steps=3, **changes))
    rng, count = bench.rng(), 0
    for step in range(1, 301):
        networks = bench.step()
        plain = Plain(networks)
        if step % 3 == 0:
            count += published_redo(plain, [one[0] for one in networks.features], 0.95, rng)
        bench.mitigation.after_step(networks, bench.memory, bench.hyper)
        plain.assert_equals(networks)
    assert count > 30


def test_redo_is_the_published_rule_every_other_task() -> None:
    bench = Bench(eager("redo", optimizer="momentum", lr=0.2, redo_threshold=0.95, redo_tasks=2))
    rng, count = bench.rng(), 0
    for number in range(1, 201):
        networks = bench.step()
        plain = Plain(networks)
        if number % 2 == 0:
            count += published_redo(plain, [one[0] for one in networks.features], 0.95, rng)
        bench.mitigation.after_task(networks, bench.memory, bench.hyper, number)
        plain.assert_equals(networks)
    assert count > 30


def test_redo_replaces_a_layer_without_activity_and_none_that_is_even() -> None:
    bench = Bench(eager("redo", optimizer="momentum", redo_threshold=0.0))
    networks = bench.step()
    networks.features = [np.ones((1, 10, 6)), np.zeros((1, 10, 6)), np.ones((1, 10, 6))]
    before = copy.deepcopy(networks.weights)
    bench.mitigation.after_task(networks, bench.memory, bench.hyper, 1)
    assert np.array_equal(before[0], networks.weights[0])
    assert not np.isclose(before[1], networks.weights[1]).any()
    assert not networks.weights[2].any()
    assert np.array_equal(before[3], networks.weights[3])


def test_swr_is_the_published_rule() -> None:
    bench = Bench(eager("swr", swr_factor=0.7, swr_steps=3))
    rng, count = bench.rng(), 0
    parameters = bench.state.parameters
    for step in range(1, 61):
        arrays = TaskArrays(bench.task.points[None], bench.task.labels[None], {})
        passed = bench.engine.forward(parameters, arrays.x)
        gradients = dict(bench.engine.backward(parameters, arrays.y, arrays.ones, passed))
        for layer, found in gradients.items():
            for place, (array, gradient) in enumerate(zip(parameters.of_layer(layer), found, strict=True)):
                at = ParameterGradient(layer, place, array, gradient, bench.draws)
                bench.mitigation.on_gradient(at, bench.memory, bench.hyper)
        networks = bench.step()
        expected = [[array[0].copy() for array in parameters.of_layer(layer)] for layer in range(4)]
        if step % 3 == 0:
            for layer, (weights, biases) in enumerate(expected):
                fresh, _ = XAVIER.draw(rng, *weights.shape)
                for array, gradient, new in zip((weights, biases), gradients[layer], (fresh, 0 * biases), strict=True):
                    utility = abs(array * gradient[0])
                    limit = 0.7 * sum(sum(row) for row in utility) / array.size
                    for index in np.ndindex(array.shape):
                        if utility[index] <= limit:
                            array[index] = new[index]
                            count += 1
        bench.mitigation.after_step(networks, bench.memory, bench.hyper)
        for layer, found in enumerate(expected):
            for array, ours in zip(found, parameters.of_layer(layer), strict=True):
                np.testing.assert_array_equal(ours[0], array)
    assert count > 500


def added_gradients(bench: Bench) -> list[list[np.ndarray]]:
    """What a mitigation adds to the gradients of each layer."""
    found = []
    for layer in range(bench.config.depth + 1):
        arrays = bench.state.parameters.of_layer(layer)
        found.append([np.zeros_like(array) for array in arrays])
        for place, (array, gradient) in enumerate(zip(arrays, found[-1], strict=True)):
            at = ParameterGradient(layer, place, array, gradient, bench.draws)
            bench.mitigation.on_gradient(at, bench.memory, bench.hyper)
    return found


def assert_gradients(
    bench: Bench, penalty: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor], rtol: float = 1e-10
) -> None:
    """The added gradients are those of a penalty by autograd, and none for a normalisation."""
    for layer, (weight, bias, *norm) in enumerate(added_gradients(bench)):
        own = [
            torch.from_numpy(array[0].copy()).requires_grad_() for array in bench.state.parameters.of_layer(layer)[:2]
        ]
        penalty(layer, own[0].T, own[1][0]).backward()
        for ours, theirs in zip((weight, bias), own, strict=True):
            expected = np.zeros_like(ours[0]) if theirs.grad is None else theirs.grad.numpy()
            np.testing.assert_allclose(ours[0], expected, rtol=rtol, atol=1e-12)
        assert not any(array.any() for array in norm)


def test_l2_init_is_the_gradient_of_its_penalty() -> None:
    bench = Bench(eager("l2_init", norm="layer_norm_affine"))
    first = [[array[0].copy() for array in bench.state.parameters.of_layer(layer)[:2]] for layer in range(4)]
    for _ in range(20):
        bench.step()

    def penalty(layer: int, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        initial = [torch.from_numpy(array) for array in first[layer]]
        return 0.3 / 2 * ((weight - initial[0].T).square().sum() + (bias - initial[1][0]).square().sum())

    assert_gradients(bench, penalty)


def test_parseval_is_the_gradient_of_its_penalty() -> None:
    def penalty(layer: int, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return 0.1 * torch.linalg.matrix_norm(weight @ weight.T - 0.5 * torch.eye(len(weight)).double()) ** 2

    assert_gradients(Bench(eager("parseval", norm="layer_norm_affine")), penalty)


def test_spectral_is_the_gradient_at_the_largest_singular_value() -> None:
    """Power iteration on weights that stay as they are leads to it."""
    bench = Bench(eager("spectral", norm="layer_norm_affine"))
    for _ in range(500):
        added_gradients(bench)

    def penalty(layer: int, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        sigma = torch.linalg.svdvals(weight)[0]
        return 0.1 * ((sigma**1.5 - 1) ** 2 + bias.square().sum() ** 1.5)

    assert_gradients(bench, penalty, rtol=1e-6)


def test_fire_maps_the_singular_values() -> None:
    bench = Bench(eager("fire", width=5, input_dim=9))
    networks = bench.step()
    before, biases = copy.deepcopy(networks.weights), copy.deepcopy(networks.biases)
    bench.mitigation.after_task(networks, bench.memory, bench.hyper, 1)
    for old, new in zip(before, networks.weights, strict=True):
        u, s, v = np.linalg.svd(old[0], full_matrices=False)
        s = s / np.sqrt(np.sum(s**2))
        for _ in range(10):
            s = 1.5 * s - 0.5 * s**3
        expected = np.sqrt(old.shape[2] / old.shape[1]) * (u * s) @ v
        np.testing.assert_allclose(new[0], expected, rtol=1e-9, atol=1e-12)
    assert all(np.array_equal(old, new) for old, new in zip(biases, networks.biases, strict=True))
    networks.weights[1][...] = 0.0
    bench.mitigation.after_task(networks, bench.memory, bench.hyper, 2)
    assert not networks.weights[1].any()


@pytest.mark.parametrize("name", ["shrink_perturb_per_task", "shrink_perturb_per_step"])
def test_shrink_perturb_without_noise_is_a_power(name: str) -> None:
    shrink, perturb = component("mitigation", name).hyper
    bench = Bench(eager(name, norm="layer_norm_affine", **{shrink: 0.1, perturb: 0.0}))
    networks = bench.step()
    before = [array.copy() for array in bench.state.parameters.arrays()]
    for number in range(1, 21):
        bench.mitigation.after_step(networks, bench.memory, bench.hyper)
        bench.mitigation.after_task(networks, bench.memory, bench.hyper, number)
    for old, new in zip(before, bench.state.parameters.arrays(), strict=True):
        np.testing.assert_allclose(new, 0.9**20 * old, rtol=1e-12)


@pytest.mark.parametrize("name", ["shrink_perturb_per_task", "shrink_perturb_per_step"])
def test_shrink_perturb_to_the_end_makes_a_fresh_network(name: str) -> None:
    shrink, perturb = component("mitigation", name).hyper
    bench = Bench(eager(name, norm="layer_norm_affine", **{shrink: 1.0, perturb: 1.0}))
    networks = bench.step()
    bench.mitigation.after_step(networks, bench.memory, bench.hyper)
    bench.mitigation.after_task(networks, bench.memory, bench.hyper, 1)
    rng = bench.rng()
    for weights, biases in zip(networks.weights, networks.biases, strict=True):
        np.testing.assert_array_equal(weights[0], XAVIER.draw(rng, *weights.shape[1:])[0])
        assert not biases.any()
    for norm in networks.norms:
        assert (norm["scale"] == 1).all()
        assert not norm["shift"].any()


def test_the_gaussian_form_is_weight_decay_and_weight_noise() -> None:
    hyper = {"norm": "layer_norm_affine", "weight_noise_scale": 0.1}
    one = Experiment([CONFIG.replace(mitigation="shrink_perturb_gaussian", perturb_decay=0.3, **hyper)])
    two = Experiment([CONFIG.replace(mitigation="weight_noise", weight_decay=0.3, **hyper)])
    for _ in range(CONFIG.tasks):
        row, expected = one.run_task(), two.run_task()
        for name in row:
            np.testing.assert_allclose(row[name], expected[name], rtol=1e-9)


@pytest.mark.parametrize("name", ["gradient_noise", "weight_noise"])
def test_noise_is_standard_normal_times_its_scale(name: str) -> None:
    bench = Bench(eager(name, norm="layer_norm_affine", width=60, depth=2, **{f"{name}_scale": 0.25}))
    networks = bench.step()
    before = [array.copy() for array in bench.state.parameters.arrays()]
    bench.mitigation.after_step(networks, bench.memory, bench.hyper)
    gradients = [array for layer in added_gradients(bench) for array in layer]
    moved = [new - old for old, new in zip(before, bench.state.parameters.arrays(), strict=True)]
    noise = gradients if name == "gradient_noise" else moved
    assert all(array.all() for array in noise)
    values = np.concatenate([array.ravel() for array in noise])
    assert len(np.unique(values)) == len(values)
    assert stats.kstest(values / 0.25, "norm").pvalue > 0.001


TOUCHED = {
    "l2_init": {"weights", "biases"},
    "parseval": {"weights"},
    "spectral": {"weights", "biases"},
    "fire": {"weights"},
    "swr": {"weights", "biases"},
}
"""Which parameters of a layer a mitigation touches, where it is not all of them."""


@every_mitigation
def test_a_mitigation_touches_what_it_says(name: str) -> None:
    bench = Bench(eager(name, norm="layer_norm_affine", optimizer="momentum"))
    touched = set()
    for number in range(1, 4):
        networks = bench.step()
        for array in bench.state.parameters.arrays():
            array += 0.01
        before = copy.deepcopy(bench.state.parameters)
        gradients = added_gradients(bench)
        bench.mitigation.after_step(networks, bench.memory, bench.hyper)
        bench.mitigation.after_task(networks, bench.memory, bench.hyper, number)
        for layer, added in enumerate(gradients):
            places = zip(added, before.of_layer(layer), bench.state.parameters.of_layer(layer), strict=True)
            for place, (gradient, old, new) in enumerate(places):
                if gradient.any() or not np.array_equal(old, new):
                    touched.add(("weights", "biases", "norms", "norms")[place])
    assert touched == TOUCHED.get(name, {"weights", "biases", "norms"})


@every_mitigation
def test_a_batch_is_its_cells_to_the_bit(name: str) -> None:
    """Whatever the batch, and where cells differ in hyperparameters."""
    shapes: list[dict[str, Any]] = [
        {},
        {"width": 1, "depth": 2},
        {"width": 1, "depth": 1, "batch_size": 1},
        {"width": 5, "depth": 1, "batch_size": 1, "optimizer": "momentum"},
        {"width": 33, "depth": 2, "samples": 34},
        {"width": 7, "activation": "crelu", "norm": "layer_norm_affine", "batch_size": 3},
    ]
    for shape in shapes:
        cells = [eager(name, **{**shape, "seed": seed, "steps": 8}) for seed in range(5)]
        cells += [cells[0].replace(seed=7, **{field: 2 * value}) for field, value in list(EAGER[name].items())[:1]]
        for field in {"redo_tasks", "redo_steps", "swr_steps"}.intersection(component("mitigation", name).hyper):
            cells[1] = cells[1].replace(**{field: 3})
        together = CellBatch(cells, np.dtype("float64"), make_device("cpu"))
        alone = [CellBatch([cell], np.dtype("float64"), make_device("cpu")) for cell in cells]
        for number in (1, 2, 3):
            row = together.run_task(number)
            rows = [batch.run_task(number) for batch in alone]
            expected = np.concatenate([one["end_ce"] for one in rows])
            assert np.isfinite(expected).all(), shape
            assert row["end_ce"].tobytes() == expected.tobytes(), shape
        found = together.host_arrays()
        for kind, arrays in found.items():
            for index, array in enumerate(arrays):
                own = np.concatenate([batch.host_arrays()[kind][index] for batch in alone])
                assert array.tobytes() == own.tobytes(), (shape, kind, index)


@every_mitigation
def test_float32_stays_float32(name: str) -> None:
    batch = CellBatch([eager(name, norm="layer_norm_affine")] * 2, np.dtype("float32"), make_device("cpu"))
    batch.run_task(1)
    assert {array.dtype for arrays in batch.host_arrays().values() for array in arrays} == {np.dtype("float32")}
    assert not batch.diverged_at.any()


@every_mitigation
@pytest.mark.parametrize("library", [array_api_strict, torch], ids=["strict", "torch"])
def test_mitigations_keep_to_the_array_api_standard(name: str, library: Any) -> None:
    config = eager(name, norm="layer_norm_affine", activation="crelu", optimizer="momentum")
    results: list[list[np.ndarray]] = []
    for put in (np.asarray, library.asarray):
        batch = CellBatch([config, config.replace(seed=2)], np.dtype("float64"), make_device("cpu"))
        engine, tasks = batch._engine, batch._draw_tasks()
        arrays = batch._put_tasks(tasks, config.steps, 1)
        assert arrays.draws is not None
        draws = Draws(arrays.draws.generators, XAVIER, put)
        hyper = {field: put(value) for field, value in arrays.hyper.items()}
        task = TaskArrays(put(arrays.x), put(arrays.y), hyper, draws=draws)
        state: TrainingState = batch.training.copy(lambda array, put=put: put(array.copy()))
        before = state.arrays()
        engine.train(state, task, config.steps)
        engine.after_task(state, task, engine.forward(state.parameters, task.x), 1)
        assert all(one is other for one, other in zip(before, state.arrays(), strict=True))  # all in place
        results.append([np.asarray(array) for array in state.arrays()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-12)


@every_mitigation
def test_diverged_networks_neither_raise_nor_warn(name: str) -> None:
    config = eager(name, lr=1.7e308, optimizer="momentum")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        experiment, reference = Experiment([config, config.replace(lr=0.05)]), ReferenceExperiment(config)
        rows = [experiment.run_task() for _ in range(config.tasks)]
        theirs = [reference.run_task() for _ in range(config.tasks)]
        experiment.run_fresh_baseline()
    assert list(experiment.diverged_at) == [1, 0]
    assert np.isnan([row["end_ce"][0] for row in rows]).all()
    assert np.isnan([float(row["end_ce"][0]) for row in theirs]).all()


@every_mitigation
def test_a_pack_assembled_from_others_continues_their_state(name: str) -> None:
    """A run that ends within a sequence continues to the bit, in other company."""
    cells = [eager(name, seed=seed, norm="layer_norm_affine", optimizer="momentum") for seed in range(3)]
    states = []
    for pack in (Pack(tuple(cells[:2])), Pack(tuple(cells[2:]))):
        experiment = Experiment(pack.cells)
        history = stack_metrics([experiment.run_task() for _ in range(2)])
        states.append(PackState(pack, experiment.state_dict(), history, {}))
    pack = Pack((cells[2], cells[1]))
    resumed, uninterrupted = Experiment(pack.cells), Experiment(pack.cells)
    resumed.load_state_dict(assemble(pack, [(states[1], 0), (states[0], 1)]).experiment)
    expected = [uninterrupted.run_task() for _ in range(4)][2:]
    for row in expected:
        again = resumed.run_task()
        for metric in row:
            np.testing.assert_array_equal(again[metric], row[metric], err_msg=metric)
    assert np.array_equal(resumed.run_fresh_baseline(), uninterrupted.run_fresh_baseline())


def test_a_count_of_updates_survives_a_replacement() -> None:
    """Also in a layer of one unit, where it has the shape of the biases."""
    for width in (1, 3):
        ones = {"velocity": np.ones((2, 1, width)), f"square_{COUNT}": np.ones((2, 1, 1))}
        memory = [[{"velocity": np.ones((2, 2, width)), f"square_{COUNT}": np.ones((2, 1, 1))}, copy.deepcopy(ones)]]
        memory += [
            [
                {"velocity": np.ones((2, width, 1)), f"square_{COUNT}": np.ones((2, 1, 1))},
                {"velocity": np.ones((2, 1, 1))},
            ]
        ]
        draws = Draws(
            [np.random.default_rng(seed) for seed in range(2)], component("init", "xavier_normal"), np.asarray
        )
        weights = [np.ones((2, 2, width)), np.ones((2, width, 1))]
        biases = [np.ones((2, 1, width)), np.ones((2, 1, 1))]
        networks = Networks(weights, biases, [{}], memory, [np.ones((2, 4, width))], draws, 1)
        units = np.zeros((2, width), dtype=bool)
        units[1, 0] = True
        replace_units(networks, 0, units)
        for state in (memory[0][0], memory[0][1], memory[1][0]):
            assert (state[f"square_{COUNT}"] == 1).all()
            assert (state["velocity"][0] == 1).all()
        assert not memory[0][0]["velocity"][1, :, 0].any()
        assert not memory[0][1]["velocity"][1, :, 0].any()
        assert not memory[1][0]["velocity"][1, 0].any()
        assert memory[0][0]["velocity"][1, :, 1:].all()
        assert memory[1][1]["velocity"].all()
        assert (biases[0][1] == np.arange(width).clip(max=1)).all()
        assert (biases[1] == 1).all()


def test_only_networks_with_replaced_units_draw() -> None:
    draws = Draws([np.random.default_rng(seed) for seed in range(3)], XAVIER, np.asarray)
    weights, biases = draws.layer(4, 5, np.array([True, False, True]))
    assert not weights[1].any()
    for seed, generator in enumerate(draws.generators):
        fresh = np.random.default_rng(seed)
        if seed != 1:
            assert np.array_equal(weights[seed], XAVIER.draw(fresh, 4, 5)[0])
        assert generator.bit_generator.state == fresh.bit_generator.state
    assert biases.shape == (3, 1, 5)


def test_both_implementations_draw_the_same_numbers() -> None:
    """Normal numbers are drawn ahead, and do not disturb initial weights."""
    shapes = [(3, 4), (700,), (1, 5), (2500,), (7, 90), (1,)]
    together = Draws([np.random.default_rng(seed) for seed in range(2)], XAVIER, np.array)
    alone = ReferenceDraws(np.random.default_rng(1), XAVIER, torch.from_numpy)
    for shape in shapes:
        ours, theirs = together.normal(shape), alone.normal(shape)
        assert ours.shape == (2, *shape)
        assert np.array_equal(ours[1], theirs.numpy())
        weights, _ = together.layer(3, 2)
        assert np.array_equal(weights[1].T, alone.layer(3, 2)[0].numpy())


def test_hyperparameters_of_other_mitigations_are_refused() -> None:
    message = "redo_threshold = 0.5: not a hyperparameter of mitigation 'l2_init'; it has l2_init_strength"
    with pytest.raises(ConfigError, match=message):
        check(CONFIG.replace(mitigation="l2_init", redo_threshold=0.5))
    check(CONFIG.replace(mitigation=["l2_init", "redo"], redo_threshold=0.5))
    for bad in ({"replacement_rate": 1.5}, {"utility_decay": 1.0}, {"redo_tasks": 0}, {"task_shrink": -0.1}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            CONFIG.replace(**bad)


def test_the_reference_starts_from_the_same_network() -> None:
    """l2_init keeps the first weights of the network that it was made for, not those of another one."""
    config = eager("l2_init")
    network = build_network(config, TorchRng(0))
    mitigation = component("mitigation", "l2_init").torch(network, config)
    assert mitigation.penalty().item() == 0.0
    with torch.no_grad():
        network.output.bias += 2.0
    assert mitigation.penalty().item() == pytest.approx(0.3 / 2 * 4.0)
