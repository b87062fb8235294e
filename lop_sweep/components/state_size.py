"""How many bytes of a cell's state its components take: parameters, and what is remembered from step to step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lop_sweep.components.choice import Components, layer_sizes
from lop_sweep.components.optimizers import role_of
from lop_sweep.config import CellConfig

_LARGE_BYTES = 2**30


def component_bytes(config: CellConfig, dtype: str) -> int:
    """Return the bytes of the arrays that a cell's components keep from one task to the next.

    The components themselves make their states, so that those of a user's own count too. Parameters are stand-ins that
    take no memory. Of networks of more than a gibibyte, whose states may be too large to make, parameters alone count.
    What a task stream remembers of earlier tasks is left out: with `drift` or `cycle` some numbers per
    task that recurs.

    Args:
        config: the cell.
        dtype: precision of the network.

    Raises:
        ConfigError: no component has the name that the configuration gives.
    """
    chosen, pairs = Components.of(config), layer_sizes(config).pairs()
    zero = np.zeros((), dtype)
    parameters = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairs) * zero.itemsize
    if parameters > _LARGE_BYTES:
        return parameters
    weights = [np.broadcast_to(zero, (1, *pair)) for pair in pairs]
    biases = [np.broadcast_to(zero, (1, 1, fan_out)) for _, fan_out in pairs]
    total = _bytes([weights, biases])
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        output = layer == len(pairs) - 1
        norm = {} if output else chosen.norm.init(bias)
        total += _bytes([norm])
        for place, array in enumerate([weight, bias, *norm.values()]):
            total += _bytes([chosen.optimizer.init(array, role_of(place, output))])
    for mitigation in chosen.mitigations:
        total += _bytes([mitigation.init(weights, biases)])
    return total + _bytes([chosen.stream.init(config, np.random.default_rng(0))])


def _bytes(state: Iterable[Any]) -> int:
    """Return the bytes of all arrays in nested lists and dictionaries."""
    total = 0
    for part in state:
        if isinstance(part, np.ndarray):
            total += part.nbytes
        elif isinstance(part, (list, tuple, dict)):
            total += _bytes(part.values() if isinstance(part, dict) else part)
    return total
