"""Regenerative regularisation: weights are pulled towards their initial values."""

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


@register("mitigation", "l2_init")
class L2Init(BaseMitigation):
    """loss + l2_init_strength / 2 * ||theta - theta_0||^2, with the network's own initial values theta_0.

    Touches weights and biases of all layers, not the parameters of a normalisation. A unit that is replaced is pulled
    towards the initial values of the unit that was there first.

    Source: S. Kumar, H. Marklund and B. Van Roy, "Maintaining plasticity in continual learning via regenerative
    regularization", 2023. The factor 1/2 is that of their code. The equation in the paper has none.
    """

    hyper = ("l2_init_strength",)

    def init(self, weights: Sequence[Array], biases: Sequence[Array]) -> MitigationState:
        """Return copies of the initial weights and biases."""
        return {"initial_weights": _copies(weights), "initial_biases": _copies(biases)}

    def on_gradient(self, at: ParameterGradient, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Add l2_init_strength (theta - theta_0)."""
        if at.place > 1:
            return
        pull = at.parameter - state["initial_biases" if at.place else "initial_weights"][at.layer]
        pull *= hyper["l2_init_strength"]
        at.gradient += pull

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the penalty, differentiated by autograd."""
        return _L2InitReference(network, config.l2_init_strength)


class _L2InitReference(ReferenceMitigation):
    def __init__(self, network: Any, strength: float) -> None:
        self._strength = strength
        parameters = [parameter for layer in network.layers() for parameter in layer.parameters()]
        self._pairs = [(parameter, parameter.detach().clone()) for parameter in parameters]

    def penalty(self) -> torch.Tensor:
        distance: torch.Tensor = sum((now - initial).square().sum() for now, initial in self._pairs)
        return self._strength / 2 * distance


def _copies(arrays: Sequence[Array]) -> list[Array]:
    return [array_namespace(array).asarray(array, copy=True) for array in arrays]
