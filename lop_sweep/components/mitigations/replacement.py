"""Reinitialising units of hidden layers, in the engine and in the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.mitigations.mitigation import Networks, ReferenceDraws
from lop_sweep.components.optimizers import ParameterState

if TYPE_CHECKING:
    import torch

COUNT = "count"
"""How the names of an optimizer's counts of updates end, (P, 1, 1). They belong to whole arrays. In a layer of one unit
their shape is that of the biases, so the shape does not tell."""


def fresh_norm(name: str, values: Array) -> Array:
    """Return what a new network's normalisation has for the parameter of this name: a scale is 1, all else is 0."""
    xp = array_namespace(values)
    return xp.ones_like(values) if name == "scale" else xp.zeros_like(values)


def replace_units(networks: Networks, layer: int, units: Array) -> None:
    """Reinitialise units of a hidden layer: fresh incoming weights, no outgoing ones, and no memory of either.

    The bias becomes 0, also where a new network's is not. Parameters of a normalisation become those of a new one. Of
    the optimizer's memory, what belongs to these parameters becomes 0; a count of updates belongs to the whole array.

    Args:
        networks: changed in place. Only networks with such units draw anything.
        layer: index of the hidden layer.
        units: (P, h) which units, as booleans.
    """
    xp = array_namespace(units)
    wanted = to_host(xp.any(units, axis=-1))
    if not wanted.any():
        return
    incoming = units[:, None, :]
    outgoing = xp.concat([units] * networks.expansion, axis=-1)[:, :, None]
    weights, biases = networks.weights[layer], networks.biases[layer]
    fan_in, fan_out = weights.shape[-2:]
    _assign(weights, incoming, networks.draws.layer(fan_in, fan_out, wanted)[0])
    _assign(biases, incoming, xp.zeros_like(biases))
    for name, values in networks.norms[layer].items():
        _assign(values, incoming, fresh_norm(name, values))
    _assign(networks.weights[layer + 1], outgoing, xp.zeros_like(networks.weights[layer + 1]))
    arrays = [weights, biases, *networks.norms[layer].values()]
    for array, state in zip(arrays, networks.memory[layer], strict=True):
        _forget(array, state, incoming)
    _forget(networks.weights[layer + 1], networks.memory[layer + 1][0], outgoing)


def replace_in_layers(networks: Networks, units: Sequence[Array]) -> None:
    """Reinitialise units of each hidden layer, (P, h) booleans each, from the last layer down.

    In this order a weight between two replaced units is 0: it is an outgoing one that was not there before.
    """
    for layer in range(len(units) - 1, -1, -1):
        replace_units(networks, layer, units[layer])


def to_host(flags: Array) -> np.ndarray:
    """Return booleans as NumPy's, wherever they are."""
    if not isinstance(flags, (np.ndarray, np.bool)) and hasattr(flags, "tolist"):
        flags = flags.tolist()  # of a tensor, which may be on a GPU
    return np.asarray(flags, dtype=bool)


def mean_over_points(values: Array) -> Array:
    """Return the means (P, 1, features) of values (P, n, features). A product sums in a third of the time."""
    points = values.shape[-2]
    if points == 1:
        return values
    xp = array_namespace(values)
    return xp.full((1, 1, points), 1 / points, dtype=values.dtype, device=values.device) @ values


def outgoing(weights: Array) -> Array:
    """Return the sums (P, 1, features) of the absolute weights (P, features, outputs) that each feature has."""
    xp = array_namespace(weights)
    sums = xp.abs(weights)
    if weights.shape[-1] > 1:
        sums = sums @ xp.ones((1, weights.shape[-1], 1), dtype=weights.dtype, device=weights.device)
    return xp.matrix_transpose(sums)


def per_unit(features: Array, units: int) -> Array:
    """Return the sum over each unit's features, (..., units) for (..., units * expansion)."""
    total = features[..., :units]
    for start in range(units, features.shape[-1], units):
        total = total + features[..., start : start + units]
    return total


def replace_reference_units(
    network: Any, units: Sequence[Sequence[int]], optimizer: torch.optim.Optimizer, draws: ReferenceDraws
) -> None:
    """Do to a `lop_sweep.experiment.network.MLP` what `replace_in_layers` does.

    Args:
        network: changed in place.
        units: of each hidden layer, the indices of its units.
        optimizer: whose memory of them is cleared.
        draws: what fresh weights are drawn from.
    """
    layers = network.layers()
    for number in reversed(range(len(units))):
        replaced = list(units[number])
        if not replaced:
            continue
        layer, above = layers[number], layers[number + 1]
        width = layer.out_features
        features = [unit + start for start in range(0, above.in_features, width) for unit in replaced]
        layer.weight[replaced] = draws.layer(layer.in_features, width)[0][replaced]
        layer.bias[replaced] = 0.0
        above.weight[:, features] = 0.0
        forgotten = [(layer.weight, replaced), (layer.bias, replaced), (above.weight, (slice(None), features))]
        for name, parameter in network.norms[number].named_parameters():
            parameter[replaced] = 1.0 if name == "weight" else 0.0
            forgotten.append((parameter, replaced))
        for parameter, index in forgotten:
            for memory in optimizer.state.get(parameter, {}).values():
                if getattr(memory, "shape", None) == parameter.shape:
                    memory[index] = 0.0


def _forget(parameter: Array, state: ParameterState, units: Array) -> None:
    for name, values in state.items():
        if not name.endswith(COUNT) and values.shape == parameter.shape:
            _assign(values, units, array_namespace(values).zeros_like(values))


def _assign(array: Array, mask: Array, values: Array) -> None:
    array[...] = array_namespace(array).where(mask, values, array)
