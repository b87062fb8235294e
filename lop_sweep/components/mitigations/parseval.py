"""Parseval regularisation: the weights of each layer are kept close to orthogonal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import array_namespace
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


@register("mitigation", "parseval")
class Parseval(BaseMitigation):
    """loss + parseval_strength * sum over layers of ||W W^T - parseval_scale I||_F^2, with one row of W per unit.

    Touches the weights of all layers, the output's included, as in the code of "FIRE" (`isaac7778/FIRE`). Biases and
    parameters of a normalisation are left alone.

    Source: W. Chung et al., "Parseval regularization for continual reinforcement learning", NeurIPS 2024; the defaults
    are those of Plasticine (`RLE-Foundation/Plasticine`), which regularises the last hidden layer only.
    """

    hyper = ("parseval_strength", "parseval_scale")

    def on_gradient(self, at: ParameterGradient, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Add 4 parseval_strength V (V^T V - parseval_scale I), with V = W^T."""
        if at.place > 0:
            return
        xp = array_namespace(at.parameter)
        gram = xp.matrix_transpose(at.parameter) @ at.parameter
        gram -= hyper["parseval_scale"] * xp.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        gram *= 4 * hyper["parseval_strength"]
        at.gradient += at.parameter @ gram

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the penalty, differentiated by autograd."""
        return _ParsevalReference(network, config.parseval_strength, config.parseval_scale)


class _ParsevalReference(ReferenceMitigation):
    def __init__(self, network: Any, strength: float, scale: float) -> None:
        self._network, self._strength, self._scale = network, strength, scale

    def penalty(self) -> torch.Tensor:
        total: Any = 0.0
        for layer in self._network.layers():
            gram = layer.weight @ layer.weight.T
            total = total + (gram - self._scale * gram.new_ones(len(gram)).diag()).square().sum()
        return self._strength * total
