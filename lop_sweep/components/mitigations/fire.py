"""FIRE: weights are made orthogonal between tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    MitigationState,
    Networks,
    ReferenceDraws,
    ReferenceMitigation,
)
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch

ITERATIONS = 10
"""Of Newton and Schulz, as in the authors' code."""
EPSILON = 1e-12
"""Weights of a smaller norm are left as they are."""


@register("mitigation", "fire")
class Fire(BaseMitigation):
    """W <- sqrt(fan_out / fan_in) NS(W) after each task: X_0 = W / ||W||_F, ten times X <- 1.5 X - 0.5 X X^T X.

    Touches the weights of all layers, the output's included. Biases, parameters of a normalisation and the optimizer's
    memory are left alone.

    Source: the code of "FIRE" (`isaac7778/FIRE`), which resets the optimizer too: set `reset_optimizer`.
    """

    def after_task(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any], number: int) -> None:
        """Make the weights orthogonal."""
        for weights in networks.weights:
            _orthogonalise(weights)

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _FireReference(network)


def _orthogonalise(weights: Array) -> None:
    xp = array_namespace(weights)
    fan_in, fan_out = weights.shape[-2:]
    norm = xp.sqrt(xp.sum(xp.sum(weights * weights, axis=-1, keepdims=True), axis=-2, keepdims=True))
    small = norm <= EPSILON
    x = weights / xp.where(small, xp.ones_like(norm), norm)
    for _ in range(ITERATIONS):
        transposed = xp.matrix_transpose(x)
        product = (x @ transposed) @ x if fan_in < fan_out else x @ (transposed @ x)
        x = 1.5 * x - 0.5 * product
    weights[...] = xp.where(small, weights, math.sqrt(fan_out / fan_in) * x)


class _FireReference(ReferenceMitigation):
    def __init__(self, network: Any) -> None:
        self._network = network

    def after_task(self, features: Any, optimizer: Any, draws: ReferenceDraws, number: int) -> None:
        for layer in self._network.layers():
            weight: torch.Tensor = layer.weight
            if weight.norm() > EPSILON:
                x = weight / weight.norm()
                for _ in range(ITERATIONS):
                    x = 1.5 * x - 0.5 * x @ x.T @ x
                weight.copy_(math.sqrt(layer.out_features / layer.in_features) * x)
