"""The engine against autograd, finite differences and closed forms; and that it keeps to the array API standard."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lop_sweep.config import CellConfig
from lop_sweep.experiment import engine
from lop_sweep.experiment.network import TorchRng, build_network, initial_weights

CONFIG = CellConfig(width=6, depth=3, input_dim=4, samples=10)


def pack_of(configs: list[CellConfig]) -> engine.Parameters:
    networks = [initial_weights(config, TorchRng(config.seed)) for config in configs]
    rng = np.random.default_rng(0)
    weights = [np.stack([network[layer][0] for network in networks]) for layer in range(len(networks[0]))]
    biases = [rng.normal(size=(len(configs), 1, weight.shape[-1])) for weight in weights]
    return engine.Parameters(weights, biases)


def batch(packs: int, samples: int = 10, dim: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(packs, samples, dim)), rng.integers(0, 2, size=(packs, samples, 1)).astype(float)


def copy(parameters: engine.Parameters) -> engine.Parameters:
    return engine.Parameters([w.copy() for w in parameters.weights], [b.copy() for b in parameters.biases])


def gradients(parameters: engine.Parameters, x: np.ndarray, y: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    activity = engine.forward(parameters, x)
    error = engine.output_error(activity.logits, y)
    return {layer: (weight, bias) for layer, weight, bias in engine.backward(parameters, activity.inputs, error)}


def test_gradients_equal_autograd() -> None:
    parameters = pack_of([CONFIG.replace(seed=seed) for seed in range(3)])
    x, y = batch(3)
    ours = gradients(parameters, x, y)
    for index in range(3):
        network = build_network(CONFIG, TorchRng(0))
        for layer, linear in enumerate(network.layers()):
            linear.weight.data = torch.from_numpy(parameters.weights[layer][index].T.copy())
            linear.bias.data = torch.from_numpy(parameters.biases[layer][index, 0].copy())
        loss = binary_cross_entropy_with_logits(network(torch.from_numpy(x[index]))[0], torch.from_numpy(y[index]))
        loss.backward()
        assert engine.cross_entropy(engine.forward(parameters, x).logits, y)[index] == pytest.approx(
            loss.item(), rel=1e-14
        )
        for layer, linear in enumerate(network.layers()):
            np.testing.assert_allclose(ours[layer][0][index], linear.weight.grad.T, rtol=1e-11, atol=1e-16)
            np.testing.assert_allclose(ours[layer][1][index, 0], linear.bias.grad, rtol=1e-11, atol=1e-16)


def test_gradients_equal_central_differences() -> None:
    parameters = pack_of([CONFIG])
    x, y = batch(1)
    ours = gradients(parameters, x, y)
    step = 1e-6
    for layer in range(CONFIG.depth + 1):
        for arrays, gradient in ((parameters.weights, ours[layer][0]), (parameters.biases, ours[layer][1])):
            for index in np.ndindex(arrays[layer].shape):
                centre = arrays[layer][index]
                losses = []
                for value in (centre + step, centre - step):
                    arrays[layer][index] = value
                    losses.append(engine.cross_entropy(engine.forward(parameters, x).logits, y)[0])
                arrays[layer][index] = centre
                assert gradient[index] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_training_equals_torch_sgd() -> None:
    parameters = pack_of([CONFIG])
    x, y = batch(1)
    network = build_network(CONFIG, TorchRng(0))
    for layer, linear in enumerate(network.layers()):
        linear.weight.data = torch.from_numpy(parameters.weights[layer][0].T.copy())
        linear.bias.data = torch.from_numpy(parameters.biases[layer][0, 0].copy())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(network(torch.from_numpy(x[0]))[0], torch.from_numpy(y[0]))
        loss.backward()
        losses.append(loss.item())
        if len(losses) == 1:
            hidden = [p.grad.flatten() for p in network.hidden.parameters()]
            norm = torch.linalg.vector_norm(torch.cat(hidden)).item()
        optimizer.step()
    trace = engine.train(parameters, x, y, np.full((1, 1, 1), 0.1), 20)
    np.testing.assert_allclose(trace.losses[:, 0], losses, rtol=1e-12)
    assert trace.grad_norm[0] == pytest.approx(norm, rel=1e-12)
    np.testing.assert_allclose(parameters.weights[1][0].T, network.hidden[1].weight.detach(), rtol=1e-11, atol=1e-14)


def test_networks_of_a_pack_do_not_mix() -> None:
    configs = [CONFIG.replace(seed=seed) for seed in range(4)]
    together = pack_of(configs)
    x, y = batch(4)
    lr = np.array([0.01, 0.1, 1.0, 0.3])[:, None, None]
    alone = [engine.Parameters([w[i : i + 1].copy() for w in together.weights], [b[i : i + 1].copy() for b in together.biases]) for i in range(4)]  # fmt: skip  # noqa: E501
    trace = engine.train(together, x, y, lr, 7)
    for i, parameters in enumerate(alone):
        single = engine.train(parameters, x[i : i + 1], y[i : i + 1], lr[i : i + 1], 7)
        np.testing.assert_allclose(trace.losses[:, i], single.losses[:, 0], rtol=1e-12)
        np.testing.assert_allclose(together.weights[2][i], parameters.weights[2][0], rtol=1e-11, atol=1e-14)


def test_cross_entropy_in_closed_form_and_without_overflow() -> None:
    logits = np.array([0.0, 1000.0, -1000.0, 1000.0, np.log(3.0)])[None, :, None]
    labels = np.array([1.0, 1.0, 0.0, 0.0, 1.0])[None, :, None]
    each = [engine.cross_entropy(logits[:, i : i + 1], labels[:, i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(each, [np.log(2), 0, 0, 1000, np.log(4 / 3)], rtol=1e-15, atol=1e-300)
    assert engine.cross_entropy(logits, labels)[0] == pytest.approx(np.mean(each))


def test_float32_stays_float32() -> None:
    parameters = pack_of([CONFIG])
    parameters = engine.Parameters(
        [w.astype(np.float32) for w in parameters.weights], [b.astype(np.float32) for b in parameters.biases]
    )
    x, y = (array.astype(np.float32) for array in batch(1))
    trace = engine.train(parameters, x, y, np.full((1, 1, 1), 0.1, dtype=np.float32), 3)
    assert trace.losses.dtype == trace.grad_norm.dtype == np.float32
    assert {array.dtype for array in (*parameters.weights, *parameters.biases)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("library", [array_api_strict, torch])
def test_the_engine_needs_nothing_beyond_the_array_api_standard(library: Any) -> None:
    """The same source on array-api-strict, which refuses what the standard does not have; and on torch tensors."""
    parameters = pack_of([CONFIG.replace(seed=seed) for seed in range(2)])
    x, y = batch(2)
    lr = np.full((2, 1, 1), 0.1)
    strict = engine.Parameters(
        [library.asarray(w.copy()) for w in parameters.weights],
        [library.asarray(b.copy()) for b in parameters.biases],
    )
    trace = engine.train(strict, *(library.asarray(array) for array in (x, y, lr)), 5)
    expected = engine.train(parameters, x, y, lr, 5)
    np.testing.assert_allclose(np.asarray(trace.losses), expected.losses, rtol=1e-13)
    np.testing.assert_allclose(np.asarray(trace.grad_norm), expected.grad_norm, rtol=1e-13)
