"""Initial weights: the protocol's order of draws, and a global generator left as it was."""

from __future__ import annotations

import numpy as np
import torch

from lop_sweep.config import CellConfig
from lop_sweep.experiment.network import TorchRng, build_network, initial_weights

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
