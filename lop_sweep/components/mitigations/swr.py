"""Selective weight reinitialisation: single weights of low utility are drawn anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    MitigationState,
    Networks,
    ParameterGradient,
    ReferenceDraws,
    ReferenceMitigation,
)
from lop_sweep.components.mitigations.replacement import to_host
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch


@register("mitigation", "swr")
class SelectiveWeightReinitialization(BaseMitigation):
    """Redraw weights with |w dL/dw| <= swr_factor * mean|w dL/dw| of their tensor after every swr_steps-th step.

    The gradient is that of the step, with penalties and noise, and w the weight after it. Steps are counted through all
    tasks.

    Touches weights (drawn from the initialiser) and biases (0) of all layers, each layer's weights and biases being a
    tensor of their own. Parameters of a normalisation and the optimizer's memory are left alone.

    Source: the code of J. Hernandez-Garcia et al., "Reinitializing weights vs units for maintaining plasticity in
    neural networks", CoLLAs 2025: utility "gradient", pruning by "threshold", no moving average. Theirs includes the
    parameters of a normalisation.
    """

    hyper = ("swr_factor", "swr_steps")
    graphable = False

    def init(self, weights: Sequence[Array], biases: Sequence[Array]) -> MitigationState:
        """Return the steps until now, (P, 1, 1), and room for the gradients of one step."""
        first = biases[0]
        return {
            "steps": [array_namespace(first).zeros_like(first[:, :, :1])],
            "weight_gradients": [array_namespace(array).zeros_like(array) for array in weights],
            "bias_gradients": [array_namespace(array).zeros_like(array) for array in biases],
        }

    def on_gradient(self, at: ParameterGradient, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Keep the gradient if it is time after this step."""
        if at.place < 2 and to_host(state["steps"][0] + 1 >= hyper["swr_steps"]).any():
            state["bias_gradients" if at.place else "weight_gradients"][at.layer][...] = at.gradient

    def after_step(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Redraw weights if it is time."""
        steps = state["steps"][0]
        steps += 1
        due = steps >= hyper["swr_steps"]
        wanted = to_host(due)[:, 0, 0]
        if not wanted.any():
            return
        xp = array_namespace(steps)
        steps[...] = xp.where(due, xp.zeros_like(steps), steps)
        for layer, (weights, biases) in enumerate(zip(networks.weights, networks.biases, strict=True)):
            fan_in, fan_out = weights.shape[-2:]
            fresh, _ = networks.draws.layer(fan_in, fan_out, wanted, output=layer == len(networks.norms))
            for array, gradient, new in (
                (weights, state["weight_gradients"][layer], fresh),
                (biases, state["bias_gradients"][layer], xp.zeros_like(biases)),
            ):
                utility = xp.abs(array * gradient)
                mean = xp.mean(xp.mean(utility, axis=-1, keepdims=True), axis=-2, keepdims=True)
                array[...] = xp.where((utility <= hyper["swr_factor"] * mean) & due, new, array)

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _SwrReference(network, config.swr_factor, config.swr_steps)


class _SwrReference(ReferenceMitigation):
    def __init__(self, network: Any, factor: float, every: int) -> None:
        self._network, self._factor, self._every = network, factor, every
        self._steps = 0

    def after_step(self, features: Any, optimizer: Any, draws: ReferenceDraws) -> None:
        self._steps += 1
        if self._steps % self._every:
            return
        for layer in self._network.layers():
            weight, bias = draws.layer(layer.in_features, layer.out_features, layer is self._network.output)
            self._redraw(layer.weight, weight)
            self._redraw(layer.bias, bias.new_zeros(bias.shape))

    def _redraw(self, parameter: torch.Tensor, fresh: torch.Tensor) -> None:
        assert parameter.grad is not None
        utility = (parameter * parameter.grad).abs()
        low = utility <= self._factor * utility.mean()
        parameter[low] = fresh[low]
