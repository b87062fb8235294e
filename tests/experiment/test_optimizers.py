"""Optimizers against `torch.optim` and singular value decompositions, per network and per role; and their refusals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lop_sweep.components import Components, Role, check
from lop_sweep.components.optimizers.newton_schulz import orthogonalize
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.experiment import Experiment
from lop_sweep.experiment.network import MLP, TorchRng, build_network
from lop_sweep.registry import component, components

CONFIG = CellConfig(width=7, depth=3, input_dim=3)
CASES: list[dict[str, Any]] = [
    {"optimizer": "sgd", "lr": 0.02},
    {"optimizer": "sgd", "lr": 0.02, "weight_decay": 0.05},
    {"optimizer": "momentum", "lr": 0.003},
    {"optimizer": "momentum", "lr": 0.01, "momentum": 0.5, "weight_decay": 0.05},
    {"optimizer": "momentum", "lr": 0.01, "momentum": 0.0},
    {"optimizer": "momentum", "lr": 0.003, "nesterov": True},
    {"optimizer": "momentum", "lr": 0.003, "momentum": 0.7, "nesterov": True, "weight_decay": 0.05},
    {"optimizer": "adam", "lr": 0.003},
    {"optimizer": "adam", "lr": 0.001, "beta1": 0.5, "beta2": 0.9, "eps": 1e-4, "weight_decay": 0.05},
    {"optimizer": "adam", "lr": 0.001, "beta1": 0.0, "beta2": 0.99},
    {"optimizer": "adamw", "lr": 0.003},
    {"optimizer": "adamw", "lr": 0.003, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.5},
    {"optimizer": "rmsprop", "lr": 0.001},
    {"optimizer": "rmsprop", "lr": 0.001, "alpha": 0.5, "eps": 1e-4, "weight_decay": 0.05},
    {"optimizer": "muon", "lr": 0.003},
    {"optimizer": "muon", "lr": 0.001, "muon_momentum": 0.8, "adam_lr": 0.002, "weight_decay": 0.5},
    {"optimizer": "muon_simple_lop", "lr": 0.003},
    {"optimizer": "muon_simple_lop", "lr": 0.003, "muon_momentum": 0.5, "beta1": 0.8, "beta2": 0.95, "eps": 1e-4,
     "weight_decay": 0.5},
]  # fmt: skip
each_case = pytest.mark.parametrize("config", [CONFIG.replace(**case) for case in CASES],
                                    ids=["-".join(map(str, case.values())) for case in CASES])  # fmt: skip
every_optimizer = pytest.mark.parametrize("name", components("optimizer"))
ROLES: list[tuple[Role, tuple[int, int]]] = [
    ("hidden", (7, 7)), ("hidden", (3, 7)), ("hidden", (7, 3)), ("hidden", (1, 1)), ("hidden", (5, 1)),
    ("hidden", (1, 5)), ("hidden", (40, 33)), ("output", (7, 1)), ("output", (1, 1)), ("output", (9, 10)),
    ("bias", (1, 7)), ("bias", (1, 1)), ("norm", (1, 7)), ("norm", (1, 1)),
]  # fmt: skip


def network_of(config: CellConfig) -> MLP:
    """A network with parameters of all roles."""
    network = build_network(config, TorchRng(3))
    network.norms = nn.ModuleList(nn.LayerNorm(config.width, dtype=torch.float64) for _ in network.hidden)
    return network


def train(network: MLP, update: Callable[[], None], steps: int = 200) -> list[float]:
    """The losses of a network on a fixed task."""
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)))
    labels = (points[:, :1] * points[:, 1:2] > 0).double()
    losses = []
    for _ in range(steps):
        network.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(points)[0], labels)
        loss.backward()
        update()
        losses.append(loss.item())
    return losses


def update_of_engine(network: MLP, config: CellConfig) -> Callable[[], None]:
    """Updates by the engine's optimizer. Only the gradients are PyTorch's."""
    chosen = Components.of(config)
    hyper = {
        name: np.full((1, 1, 1), getattr(config, name)) if FIELDS[name].packable else getattr(config, name)
        for name in chosen.optimizer.hyper
    }
    held = []
    for name, parameter in network.named_parameters():
        kind, last = name.partition(".")[0], name.rpartition(".")[2]
        role: Any = "norm" if kind == "norms" else "bias" if last == "bias" else kind
        array = np.array(np.atleast_2d(parameter.detach().numpy().T)[None])
        held.append((parameter, array, role, chosen.optimizer.init(array, role)))

    def update() -> None:
        for parameter, array, role, state in held:
            assert parameter.grad is not None
            gradient = np.array(parameter.grad.numpy().T.reshape(array.shape))
            chosen.optimizer.update(array, gradient, state, hyper, role)
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(array[0].T.reshape(parameter.shape)))

    return update


def by_svd(matrix: torch.Tensor, eps: float) -> torch.Tensor:
    """Newton-Schulz steps change singular values, and nothing else."""
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    s = s / (s.square().sum().sqrt() + eps)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ torch.diag(s) @ vt


class MuonBySvd:
    """Both Muons: `update` of singular values for some matrices, `torch.optim.AdamW` for what is left."""

    def __init__(self, network: MLP, config: CellConfig) -> None:
        self._config, self._jordan = config, config.optimizer == "muon"
        layers = list(network.hidden) if self._jordan else network.layers()
        self._matrices: list[Any] = [layer.weight for layer in layers]
        others = [one for one in network.parameters() if id(one) not in {id(matrix) for matrix in self._matrices}]
        lr, betas, eps = config.adam_lr, (0.9, 0.95), 1e-10
        if not self._jordan:
            lr, betas, eps = config.lr, (config.beta1, config.beta2), config.eps
        self._others = torch.optim.AdamW(others, lr=lr, betas=betas, eps=eps, weight_decay=config.weight_decay)
        self._momentum = [torch.zeros_like(matrix) for matrix in self._matrices]

    @torch.no_grad()
    def step(self) -> None:
        self._others.step()
        mu = self._config.muon_momentum
        for matrix, momentum in zip(self._matrices, self._momentum, strict=True):
            fan_out, fan_in = matrix.shape
            if self._jordan:
                momentum += (1 - mu) * (matrix.grad - momentum)
                direction = by_svd((1 - mu) * matrix.grad + mu * momentum, 1e-7) * np.sqrt(max(1, fan_out / fan_in))
            else:
                momentum.copy_(mu * momentum + matrix.grad)
                direction = by_svd(momentum, 1e-12) * 0.2 * np.sqrt(max(fan_out, fan_in))
            matrix -= self._config.lr * (direction + self._config.weight_decay * matrix)


def update_of_torch(network: MLP, config: CellConfig) -> Callable[[], None]:
    """Updates by what the optimizer of this name should be."""
    lr, decay, parameters = config.lr, config.weight_decay, list(network.parameters())
    adam = {"lr": lr, "betas": (config.beta1, config.beta2), "eps": config.eps, "weight_decay": decay}
    makers: dict[str, Callable[[], Any]] = {
        "sgd": lambda: torch.optim.SGD(parameters, lr=lr, weight_decay=decay),
        "momentum": lambda: torch.optim.SGD(
            parameters, lr=lr, momentum=config.momentum, nesterov=config.nesterov, weight_decay=decay
        ),
        "adam": lambda: torch.optim.Adam(parameters, **adam),
        "adamw": lambda: torch.optim.AdamW(parameters, **adam),
        "rmsprop": lambda: torch.optim.RMSprop(
            parameters, lr=lr, alpha=config.alpha, eps=config.eps, weight_decay=decay
        ),
        "muon": lambda: MuonBySvd(network, config),
        "muon_simple_lop": lambda: MuonBySvd(network, config),
    }
    return makers[config.optimizer]().step  # type: ignore[no-any-return]


def test_optimizers_are_listed_from_plain_to_elaborate() -> None:
    names = [name for name in components("optimizer") if not name.startswith("test_")]
    assert names == ["sgd", "momentum", "adam", "adamw", "rmsprop", "muon", "muon_simple_lop"]


def test_every_optimizer_has_a_trajectory() -> None:
    tried = {case["optimizer"] for case in CASES}
    assert tried == {name for name in components("optimizer") if not name.startswith("test_")}


@each_case
def test_a_trajectory_is_that_of_torch(config: CellConfig) -> None:
    """200 updates of hidden and output weights, biases, and the scale and shift of a layer normalisation."""
    check(config)
    network = network_of(config)
    ours, reference, theirs = network, copy.deepcopy(network), copy.deepcopy(network)
    losses = train(theirs, update_of_torch(theirs, config))
    assert losses[-1] < losses[0] * 0.99  # something was learnt
    of_reference = Components.of(config).optimizer.torch(reference, config)
    for model, update in ((ours, update_of_engine(ours, config)), (reference, of_reference.step)):
        np.testing.assert_allclose(train(model, update), losses, rtol=1e-9)
        for (name, values), expected in zip(model.named_parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(
                values.detach(), expected.detach(), rtol=1e-9, atol=1e-10, err_msg=f"{name} of {type(update)}"
            )


def hyper_of(name: str, networks: int, dtype: Any, **changes: Any) -> dict[str, Any]:
    """Hyperparameters, with other values for each network where they may differ."""
    config = CellConfig(lr=0.01, weight_decay=0.1).replace(**changes)
    factors = (0.6 + 0.4 * np.random.default_rng(1).random((20, 1, 1)))[:networks]
    return {
        field: (factors * getattr(config, field)).astype(dtype) if FIELDS[field].packable else getattr(config, field)
        for field in component("optimizer", name).hyper
    }


def updated(
    name: str, role: Role, parameters: np.ndarray, gradients: np.ndarray, hyper: dict[str, Any]
) -> list[np.ndarray]:
    """The parameters, and the arrays of the state, after updates with these gradients."""
    optimizer, parameters = component("optimizer", name), parameters.copy()
    state = optimizer.init(parameters, role)
    for gradient in gradients:
        optimizer.update(parameters, gradient.copy(), state, hyper, role)
    return [parameters, *(state[key] for key in sorted(state))]


@every_optimizer
@pytest.mark.parametrize(("role", "shape"), ROLES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bits_do_not_depend_on_the_number_of_networks(
    name: str, role: Role, shape: tuple[int, int], dtype: Any
) -> None:
    rng = np.random.default_rng(0)
    hyper = hyper_of(name, 7, dtype)
    parameters = rng.normal(size=(7, *shape)).astype(dtype)
    gradients = rng.normal(size=(6, 7, *shape)).astype(dtype)
    together = updated(name, role, parameters, gradients, hyper)
    for start, stop in [(0, 2), (2, 4), (5, 7), *((index, index + 1) for index in range(7))]:
        own = {field: value[start:stop] if FIELDS[field].packable else value for field, value in hyper.items()}
        apart = updated(name, role, parameters[start:stop], gradients[:, start:stop], own)
        for ours, expected in zip(apart, together, strict=True):
            assert ours.dtype == dtype
            assert np.array_equal(ours, expected[start:stop])


@every_optimizer
@pytest.mark.parametrize(("role", "shape"), [("hidden", (7, 5)), ("output", (7, 1)), ("bias", (1, 7))])
def test_float32_follows_float64(name: str, role: Role, shape: tuple[int, int]) -> None:
    """Over 3000 updates: the means' corrections, whose powers would be inaccurate, included."""
    rng = np.random.default_rng(0)
    parameters, gradients = rng.normal(size=(2, *shape)), rng.normal(size=(3000, 2, *shape)) + 0.5
    for steps in (1, 2, 30, 3000):
        ours, expected = (
            updated(name, role, parameters.astype(kind), gradients[:steps].astype(kind), hyper_of(name, 2, kind))[0]
            for kind in (np.float32, np.float64)
        )
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
        if steps <= 2:
            np.testing.assert_allclose(ours - parameters, expected - parameters, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_adams_first_update_is_lr_in_size(dtype: Any) -> None:
    """m / sqrt(v) is the gradient's sign as long as gradients are equal, whatever the betas."""
    gradients = np.tile(np.array([0.3, -2.0, 5e-4], dtype), (50, 1, 1, 1))
    hyper = {"lr": 1.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
    for steps in (1, 2, 50):
        (values, *_) = updated("adam", "bias", np.zeros((1, 1, 3), dtype), gradients[:steps], hyper)
        np.testing.assert_allclose(values[0, 0], [-steps, steps, -steps], rtol=3e-5 if dtype == np.float64 else 1e-4)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (20, 20), (9, 1), (1, 9), (1, 1)])
@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_orthogonalized_matrices_are_those_of_a_decomposition(shape: tuple[int, int], scale: float) -> None:
    matrices = scale * np.random.default_rng(0).normal(size=(3, *shape))
    before = matrices.copy()
    made = orthogonalize(matrices, 1e-7)
    assert np.array_equal(matrices, before)
    for one, matrix in zip(made, matrices, strict=True):
        np.testing.assert_allclose(one, by_svd(torch.from_numpy(matrix), 1e-7), rtol=1e-9, atol=1e-11)
        if scale == 1:
            assert np.linalg.svd(one, compute_uv=False).max() < 1.14


def test_orthogonalizing_nothing_gives_nothing() -> None:
    assert not orthogonalize(np.zeros((2, 3, 4)), 1e-12).any()
    assert not orthogonalize(np.zeros((2, 3, 4), np.float32), 1e-12).any()


@pytest.mark.parametrize(
    ("name", "how", "momentum"), [("muon", "original", 0.95), ("muon_simple_lop", "match_rms_adamw", 0.0)]
)
@pytest.mark.parametrize("shape", [(10, 25), (25, 10)])
def test_muon_is_torchs_but_for_its_precision(name: str, how: str, momentum: float, shape: tuple[int, int]) -> None:
    """`torch.optim.Muon` orthogonalises in bfloat16, whose numbers have 8 bits."""
    rng = np.random.default_rng(0)
    weights, gradients = rng.normal(size=(1, *shape)), rng.normal(size=(5, 1, *shape))
    theirs = nn.Parameter(torch.from_numpy(weights[0].T.copy()))
    nesterov = name == "muon"
    optimizer = torch.optim.Muon(
        [theirs], lr=0.1, weight_decay=0.2, momentum=momentum, nesterov=nesterov, adjust_lr_fn=how
    )
    for gradient in gradients:
        theirs.grad = torch.from_numpy(gradient[0].T.copy())
        optimizer.step()
    config = CellConfig(optimizer=name, lr=0.1, weight_decay=0.2, muon_momentum=momentum)
    ours = updated(
        name,
        "hidden",
        weights,
        gradients,
        {field: getattr(config, field) for field in component("optimizer", name).hyper},
    )[0]
    moved = theirs.detach().numpy().T - weights[0]
    assert np.linalg.norm(ours[0] - weights[0] - moved) < 0.03 * np.linalg.norm(moved)


@every_optimizer
def test_an_optimizer_that_is_reset_forgets(name: str) -> None:
    """A second task is trained as if the network were new to its optimizer."""
    config = CellConfig(width=6, depth=2, samples=10, steps=5, tasks=2, fresh_baseline=0, optimizer=name, lr=0.01)
    kept, cleared = Experiment([config]), Experiment([config.replace(reset_optimizer=True)])
    for experiment in (kept, cleared):
        experiment.run_task()
    state = cleared.state_dict()
    forgetful = Experiment([config])
    zeros = {"optimizer": [np.zeros_like(array) for array in state["optimizer"]]} if "optimizer" in state else {}
    forgetful.load_state_dict({**state, **zeros, "trajectories": kept.state_dict()["trajectories"],
                               "cells": kept.state_dict()["cells"]})  # fmt: skip
    by_reset, by_hand, remembering = (one.run_task()["final_ce"] for one in (cleared, forgetful, kept))
    assert by_reset == by_hand
    assert (by_reset == remembering) == (name == "sgd")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "momentum", "nesterov": True, "momentum": 0}, r"nesterov = True: needs momentum > 0"),
        ({"optimizer": "adam", "momentum": 0.5}, r"momentum = 0\.5: not a hyperparameter of optimizer 'adam'"),
        ({"optimizer": "sgd", "nesterov": True}, r"nesterov = True: not a hyperparameter of optimizer 'sgd'"),
        ({"optimizer": "muon", "beta1": 0.5}, r"beta1 = 0\.5: .* belongs to adam, adamw, muon_simple_lop"),
        ({"optimizer": "muon_simple_lop", "adam_lr": 0.5}, r"adam_lr = 0\.5: .* belongs to muon$"),
        ({"optimizer": "lion"}, r"unknown optimizer 'lion'; choose from: sgd, momentum, adam, adamw"),
        *(({field: value}, rf"{field} = {value}") for field in ("momentum", "beta1", "beta2", "alpha", "muon_momentum")
          for value in (-0.1, 1)),
        *(({field: value}, rf"{field} = {value}") for field in ("eps", "adam_lr") for value in (0, -1)),
    ],
)  # fmt: skip
def test_hyperparameters_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check(CellConfig(**changes))
    assert "\n" not in str(caught.value)


def test_hyperparameters_count_only_if_they_are_not_the_default() -> None:
    """Ids of earlier results stay valid."""
    names = ("momentum", "nesterov", "beta1", "beta2", "alpha", "eps", "muon_momentum", "adam_lr")
    assert CellConfig(**{name: FIELDS[name].default for name in names}).id == CellConfig().id == "d1230ec664bf61f2"
