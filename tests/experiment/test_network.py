"""Initial weights: the protocol's order of draws, and a global generator left as it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from lop_sweep.components import Draws
from lop_sweep.components.mitigations import ReferenceDraws
from lop_sweep.config import CellConfig
from lop_sweep.experiment.network import TorchRng, build_network, initial_weights
from lop_sweep.registry import component

CONFIG = CellConfig(width=7, depth=3, input_dim=5)


def test_draw_order_is_constructors_first_then_a_second_pass() -> None:
    torch.manual_seed(11)
    layers = [torch.nn.Linear(a, b) for a, b in ((5, 7), (7, 7), (7, 7), (7, 1))]
    for layer in layers:
        torch.nn.init.xavier_normal_(layer.weight)
    ours = initial_weights(CONFIG, TorchRng(11))
    assert len(ours) == 4
    for layer, (weight, bias) in zip(layers, ours, strict=True):
        assert np.array_equal(weight.T, layer.weight.detach().double().numpy())
        assert weight.dtype == bias.dtype == np.float64
        assert bias.shape == (1, layer.out_features)
        assert not bias.any()


def test_networks_of_one_rng_continue_it() -> None:
    rng = TorchRng(3)
    first, second = initial_weights(CONFIG, rng), initial_weights(CONFIG, rng)
    torch.manual_seed(3)
    for expected in (first, second):
        net = [torch.nn.Linear(a, b) for a, b in ((5, 7), (7, 7), (7, 7), (7, 1))]
        for layer in net:
            torch.nn.init.xavier_normal_(layer.weight)
        assert np.array_equal(expected[1][0].T, net[1].weight.detach().double().numpy())


def test_the_global_generator_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_network(CONFIG, TorchRng(1))
    assert torch.equal(torch.rand(3), expected)


def test_forward_is_affine_then_tanh() -> None:
    network = build_network(CONFIG, TorchRng(1))
    x = torch.randn(4, 5, dtype=torch.float64)
    logits, pre, post = network(x)
    assert torch.equal(pre[0], network.hidden[0](x))
    assert all(torch.equal(a, torch.tanh(z)) for z, a in zip(pre, post, strict=True))
    assert torch.equal(logits, network.output(post[-1]))
    assert logits.shape == (4, 1)


INITIALISERS: list[tuple[str, str, Callable[[torch.Tensor, bool], object]]] = [
    ("kaiming_uniform", "relu", lambda weight, output: nn.init.kaiming_uniform_(
        weight, nonlinearity="linear" if output else "relu")),
    ("kaiming_uniform", "tanh", lambda weight, output: nn.init.kaiming_uniform_(
        weight, nonlinearity="linear" if output else "tanh")),
    ("kaiming_normal", "relu", lambda weight, output: nn.init.kaiming_normal_(
        weight, nonlinearity="linear" if output else "relu")),
    ("kaiming_normal", "leaky_relu", lambda weight, output: nn.init.kaiming_normal_(
        weight, 0.01, nonlinearity="linear" if output else "leaky_relu")),
    ("pytorch", "relu", lambda weight, output: None),
    ("xavier_normal", "relu", lambda weight, output: nn.init.xavier_normal_(weight)),
]  # fmt: skip
"""An initialiser, an activation, and what PyTorch does to a layer's weights in the second pass."""


@pytest.mark.parametrize(("init", "activation", "pytorch"), INITIALISERS, ids=[f"{a}-{b}" for a, b, _ in INITIALISERS])
def test_a_network_is_initialised_as_by_pytorchs_functions(
    init: str, activation: str, pytorch: Callable[[torch.Tensor, bool], object]
) -> None:
    """Kaiming's gain is that of the activation, and 1 for the output layer."""
    torch.manual_seed(11)
    layers = [nn.Linear(a, b) for a, b in ((5, 7), (7, 7), (7, 7), (7, 1))]
    for index, layer in enumerate(layers):
        pytorch(layer.weight, index == 3)
        if init != "pytorch":
            nn.init.zeros_(layer.bias)
    ours = initial_weights(CONFIG.replace(init=init, activation=activation), TorchRng(11))
    for layer, (weight, bias) in zip(layers, ours, strict=True):
        np.testing.assert_allclose(weight.T, layer.weight.detach(), rtol=1e-6)
        np.testing.assert_array_equal(bias[0], layer.bias.detach())


@pytest.mark.parametrize("gain", [1.0, 2.0])
@pytest.mark.parametrize(
    ("init", "deviation", "largest"),
    [
        ("kaiming_uniform", 300**-0.5, (3 / 300) ** 0.5),
        ("kaiming_normal", 300**-0.5, np.inf),
        ("pytorch", 900**-0.5, 300**-0.5),
        ("xavier_normal", 400**-0.5, np.inf),
    ],
)
def test_initial_weights_have_their_variance(init: str, deviation: float, largest: float, gain: float) -> None:
    layer, initialiser = nn.Linear(300, 500), component("init", init)
    torch.manual_seed(0)
    layer.reset_parameters()
    initialiser.apply(layer, gain)
    scale = gain if init.startswith("kaiming") else 1.0
    weights, biases = initialiser.draw(np.random.default_rng(0), 300, 500, gain)
    for values in (weights, layer.weight.detach().numpy()):
        # 150,000 values: the relative standard error of the standard deviation is 0.0018
        assert float(values.std()) == pytest.approx(scale * deviation, rel=0.01)
        assert np.abs(values).max() <= scale * largest * (1 + 1e-6)
    for values in (biases, layer.bias.detach().numpy()):
        assert float(values.std()) == (pytest.approx(900**-0.5, rel=0.1) if init == "pytorch" else 0)


def test_mitigations_draw_with_the_gain_of_the_activation() -> None:
    """Replaced hidden units are drawn as in a new network, and both implementations draw the same numbers."""
    init = component("init", "kaiming_uniform")
    hidden, output = (np.random.default_rng(5).uniform(-1, 1, (40, 3)) * gain * (3 / 40) ** 0.5 for gain in (2.0, 1.0))
    for expected, is_output in ((hidden, False), (output, True)):
        draws = Draws([np.random.default_rng(5)], init, np.asarray, gain=2.0)
        weights, biases = draws.layer(40, 3, output=is_output)
        np.testing.assert_allclose(weights[0], expected, rtol=1e-12)
        assert not biases.any()
        reference = ReferenceDraws(np.random.default_rng(5), init, torch.from_numpy, gain=2.0)
        np.testing.assert_array_equal(reference.layer(40, 3, output=is_output)[0].T, weights[0])
