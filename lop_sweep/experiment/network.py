"""The PyTorch MLP of the protocol, its initial weights, and the random stream that they are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from lop_sweep.components import Components, Purpose, layer_sizes, random_stream
from lop_sweep.config import CellConfig


class TorchRng:
    """A cell's own copy of PyTorch's CPU random stream.

    PyTorch's layer constructors draw from the process-wide generator. `active` puts this stream there for the length
    of a `with` block and restores the previous one afterwards. So cells never disturb each other or their surroundings.

    Args:
        seed: as for `torch.manual_seed`.
    """

    def __init__(self, seed: int) -> None:
        self.state: torch.Tensor = torch.Generator().manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this stream PyTorch's CPU generator, and keep its position at the end of the block."""
        with _undisturbed_generator():
            torch.set_rng_state(self.state)
            try:
                yield
            finally:
                self.state = torch.get_rng_state()


@contextmanager
def _undisturbed_generator() -> Iterator[None]:
    """Restore PyTorch's CPU generator at the end of the block."""
    outer = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(outer)


def control_rngs(config: CellConfig, number: int) -> tuple[TorchRng, np.random.Generator]:
    """Return what the control network of a cell's `number`th task is drawn from, and what its mitigations draw from."""
    rng = random_stream(config.seed, Purpose.CONTROL, number)
    return TorchRng(int(rng.integers(2**63))), rng


class MLP(nn.Module):
    """`depth` hidden layers of `width` units, each with its normalisation, and a linear output layer, in float64.

    The layers are made by their ordinary constructors, hidden ones first. A second pass in the same order initialises
    them, in float32. Then the network is cast. The order matters: each of these draws from PyTorch's CPU generator.
    """

    def __init__(self, config: CellConfig) -> None:
        super().__init__()
        components = Components.of(config)
        *hidden, output = layer_sizes(config).pairs()
        self.hidden = nn.ModuleList(nn.Linear(*sizes) for sizes in hidden)
        self.output = nn.Linear(*output)
        _initialise(components, self.layers())
        self.norms = nn.ModuleList(components.norm.torch(config.width, config) for _ in self.hidden)
        self.to(torch.float64)
        self.activation = components.activation.torch()

    def layers(self) -> list[nn.Linear]:
        """Return the hidden layers in order, then the output layer."""
        return [*self.hidden, self.output]

    def forward(self, points: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Return logits (n, k), and each hidden layer's normalised pre-activations and activations, (n, features)."""
        pre_activations: list[torch.Tensor] = []
        activations: list[torch.Tensor] = [points]
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            pre_activations.append(norm(layer(activations[-1])))
            activations.append(self.activation(pre_activations[-1]))
        return self.output(activations[-1]), pre_activations, activations[1:]


def build_network(config: CellConfig, rng: TorchRng) -> MLP:
    """Return the next network of a cell, drawn from `rng`, which is advanced."""
    with rng.active():
        return MLP(config)


def draw_networks(config: CellConfig, rngs: Sequence[TorchRng]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the initial values of the next network of each cell of a batch, in float64.

    They are the values of `MLP`, from the same draws. Layers are drawn anew in place rather than made for each cell.

    Args:
        config: of one of the cells; uses `width`, `depth`, the initialiser, the activation and the task stream's
            dimensions.
        rngs: the P cells' network streams; advanced.

    Returns:
        For each layer, hidden ones first: weights (P, fan_in, fan_out), and biases (P, 1, fan_out).
    """
    components = Components.of(config)
    layers = _reusable_layers(tuple(layer_sizes(config).pairs()))
    values = [
        (np.empty((len(rngs), layer.in_features, layer.out_features)), np.empty((len(rngs), 1, layer.out_features)))
        for layer in layers
    ]
    drawn = [(layer.weight.numpy().T, layer.bias.numpy()) for layer in layers]  # views
    with _undisturbed_generator():
        for cell, rng in enumerate(rngs):
            torch.set_rng_state(rng.state)
            for layer in layers:
                layer.reset_parameters()  # what the constructor draws
            _initialise(components, layers)
            rng.state = torch.get_rng_state()
            for (weights, biases), (weight, bias) in zip(values, drawn, strict=True):
                weights[cell], biases[cell, 0] = weight, bias
    return values


def initial_weights(config: CellConfig, rng: TorchRng) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `draw_networks` of a single cell, without the leading axis."""
    return [(weights[0], biases[0]) for weights, biases in draw_networks(config, [rng])]


def _initialise(components: Components, layers: Sequence[nn.Linear]) -> None:
    """Draw all layers' weights and biases. The output layer has a gain of 1."""
    *hidden, output = layers
    for layer in hidden:
        components.init.apply(layer, components.activation.gain)
    components.init.apply(output, 1.0)


@lru_cache(maxsize=1)
def _reusable_layers(sizes: tuple[tuple[int, int], ...]) -> list[nn.Linear]:
    with _undisturbed_generator():
        return [nn.Linear(fan_in, fan_out).requires_grad_(False) for fan_in, fan_out in sizes]
