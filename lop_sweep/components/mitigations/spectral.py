"""Spectral regularisation: the largest singular value of each layer's weights is kept close to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    MitigationState,
    ParameterGradient,
    ReferenceMitigation,
)
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch

EPSILON = 1e-12
"""The least norm that a power iteration divides by."""


@register("mitigation", "spectral")
class Spectral(BaseMitigation):
    """loss + spectral_strength * sum over layers of (sigma^k - 1)^2 + (||b||^2)^k, with k = spectral_exponent.

    sigma = |u^T W v| estimates the largest singular value. At each step the vectors take one power iteration,
    u <- W v / ||W v||, then v <- W^T u / ||W^T u||, and count as constants in the gradient. v begins with equal
    entries.

    Touches weights and biases of all layers, not the parameters of a normalisation.

    Source: A. Lewandowski et al., "Learning continually by spectral regularization", ICLR 2025, with the conventions of
    `Felix-Zhenghao/rigorous-plasticity`, which begins with random vectors.
    """

    hyper = ("spectral_strength", "spectral_exponent")

    def init(self, weights: Sequence[Array], biases: Sequence[Array]) -> MitigationState:
        """Return v of each layer, (P, fan_in, 1)."""
        return {"right": [_unit(array_namespace(array).ones_like(array[:, :, :1])) for array in weights]}

    def on_gradient(self, at: ParameterGradient, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Add 2 k (sigma^k - 1) sigma^(k - 1) u v^T to the weights' gradient, 2 k ||b||^(2k - 2) b to the biases'."""
        xp = array_namespace(at.parameter)
        strength, k = hyper["spectral_strength"], hyper["spectral_exponent"]
        if at.place == 0:
            right = state["right"][at.layer]
            left = _unit(xp.matrix_transpose(at.parameter) @ right)
            right[...] = _unit(at.parameter @ left)
            sigma = xp.abs(xp.matrix_transpose(right) @ at.parameter @ left)
            factor = 2 * strength * k * (sigma**k - 1) * sigma ** (k - 1)
            at.gradient += right @ (factor * xp.matrix_transpose(left))
        elif at.place == 1:
            square = at.parameter @ xp.matrix_transpose(at.parameter)
            at.gradient += 2 * strength * k * square ** (k - 1) * at.parameter

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the penalty, differentiated by autograd."""
        return _SpectralReference(network, config.spectral_strength, config.spectral_exponent)


class _SpectralReference(ReferenceMitigation):
    def __init__(self, network: Any, strength: float, exponent: float) -> None:
        self._network, self._strength, self._exponent = network, strength, exponent
        self._right = [_normalised(layer.weight.new_ones(layer.in_features)) for layer in network.layers()]

    def penalty(self) -> torch.Tensor:
        total: Any = 0.0
        for number, layer in enumerate(self._network.layers()):
            weight = layer.weight.detach()
            left = _normalised(weight @ self._right[number])
            right = self._right[number] = _normalised(weight.T @ left)
            sigma = (left @ layer.weight @ right).abs()
            total = total + (sigma**self._exponent - 1).square() + layer.bias.square().sum() ** self._exponent
        return self._strength * total


def _normalised(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm().clamp(min=EPSILON)


def _unit(vectors: Array) -> Array:
    """Return (P, n, 1) vectors divided by their norms."""
    xp = array_namespace(vectors)
    norm = xp.sqrt(xp.matrix_transpose(vectors) @ vectors)
    return vectors / xp.where(norm < EPSILON, xp.full_like(norm, EPSILON), norm)
