"""Noise on gradients or on the network at each step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    MitigationState,
    Networks,
    ParameterGradient,
    ReferenceDraws,
    ReferenceMitigation,
)
from lop_sweep.config import CellConfig
from lop_sweep.registry import register


@register("mitigation", "gradient_noise")
class GradientNoise(BaseMitigation):
    """g <- g + gradient_noise_scale * xi, with xi ~ N(0, 1) for each number, at each step before the optimizer.

    Touches the gradients of all parameters: weights, biases and those of a normalisation.

    Source: A. Neelakantan et al., "Adding gradient noise improves learning for very deep networks", 2015. Theirs decays
    with the number of steps. This one is constant, since tasks do not end.
    """

    hyper = ("gradient_noise_scale",)
    graphable = False

    def on_gradient(self, at: ParameterGradient, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Add the noise."""
        noise = at.draws.normal(at.gradient.shape[1:])
        noise *= hyper["gradient_noise_scale"]
        at.gradient += noise

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart, which draws layer by layer from the output down."""
        return _GradientNoiseReference(network, config.gradient_noise_scale)


class _GradientNoiseReference(ReferenceMitigation):
    def __init__(self, network: Any, scale: float) -> None:
        self._network, self._scale = network, scale

    def before_step(self, draws: ReferenceDraws) -> None:
        for parameter in parameters_downwards(self._network):
            parameter.grad += self._scale * normal_like(parameter, draws)


@register("mitigation", "weight_noise")
class WeightNoise(BaseMitigation):
    """theta <- theta + weight_noise_scale * xi, with xi ~ N(0, 1) for each number, after each step.

    Touches all parameters: weights, biases and those of a normalisation. The optimizer's weight decay makes it shrink
    and perturb as Dohare et al. have it: see `shrink_perturb_gaussian`.

    Source: S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024, whose code calls the scale
    `perturb_scale`.
    """

    hyper = ("weight_noise_scale",)
    graphable = False

    def after_step(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Add the noise."""
        add_noise(networks, hyper["weight_noise_scale"])

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart, which draws layer by layer from the output down."""
        return WeightNoiseReference(network, config.weight_noise_scale)


class WeightNoiseReference(ReferenceMitigation):
    """Noise on all parameters of one network after each step."""

    def __init__(self, network: Any, scale: float) -> None:
        self._network, self._scale = network, scale

    def after_step(self, features: Any, optimizer: Any, draws: ReferenceDraws) -> None:
        """Add the noise."""
        for parameter in parameters_downwards(self._network):
            parameter += self._scale * normal_like(parameter, draws)


def add_noise(networks: Networks, scale: Array) -> None:
    """Add scale * N(0, 1) to all parameters, drawn at once for all layers from the output down."""
    arrays = []
    for layer in range(len(networks.weights) - 1, -1, -1):
        norm = networks.norms[layer].values() if layer < len(networks.norms) else ()
        arrays += [networks.weights[layer], networks.biases[layer], *norm]
    shapes = [array.shape[1:] for array in arrays]
    noise = networks.draws.normal((sum(math.prod(shape) for shape in shapes),))
    noise *= scale[:, :, 0]
    reshape, start = array_namespace(noise).reshape, 0
    for array, shape in zip(arrays, shapes, strict=True):
        stop = start + math.prod(shape)
        array += reshape(noise[:, start:stop], array.shape)
        start = stop


def parameters_downwards(network: Any) -> Iterable[Any]:
    """Return the parameters of a `lop_sweep.experiment.network.MLP` in the order in which the engine updates them."""
    for layer in reversed(range(len(network.layers()))):
        yield from network.layers()[layer].parameters()
        if layer < len(network.norms):
            yield from network.norms[layer].parameters()


def normal_like(parameter: Any, draws: ReferenceDraws) -> Any:
    """Return normal numbers in a parameter's shape, drawn in the engine's layout, (fan_in, fan_out) for weights."""
    noise = draws.normal(tuple(reversed(parameter.shape)))
    return noise.T if parameter.ndim == 2 else noise
