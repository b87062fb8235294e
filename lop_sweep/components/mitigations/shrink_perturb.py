"""Shrink and perturb, in its three published forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array
from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    MitigationState,
    Networks,
    ParameterGradient,
    ReferenceDraws,
    ReferenceMitigation,
)
from lop_sweep.components.mitigations.noise import WeightNoiseReference, add_noise
from lop_sweep.components.mitigations.replacement import fresh_norm
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch


@register("mitigation", "shrink_perturb_per_task")
class ShrinkPerturbPerTask(BaseMitigation):
    """theta <- (1 - task_shrink) theta + task_perturb * theta', after each task, with a freshly initialised theta'.

    Touches all parameters: weights, biases and those of a normalisation, whose initial values are 1 and 0. The
    optimizer's memory stays as it is.

    Source: J. Ash and R. Adams, "On warm-starting neural network training", NeurIPS 2020. The defaults are the smallest
    step of the grid 0.2, 0.4, ... of the code of "FIRE" (`isaac7778/FIRE`), which mixes with the initial network.
    """

    hyper = ("task_shrink", "task_perturb")

    def after_task(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any], number: int) -> None:
        """Shrink and perturb."""
        shrink_and_perturb(networks, hyper["task_shrink"], hyper["task_perturb"])

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _PerTaskReference(network, config.task_shrink, config.task_perturb)


@register("mitigation", "shrink_perturb_per_step")
class ShrinkPerturbPerStep(BaseMitigation):
    """theta <- (1 - step_shrink) theta + step_perturb * theta', after each step, with a freshly initialised theta'.

    Touches all parameters: weights, biases and those of a normalisation, whose initial values are 1 and 0.

    Source: the code of S. Kumar, H. Marklund and B. Van Roy, "Maintaining plasticity in continual learning via
    regenerative regularization", 2023. They try 1e-2 to 1e-5 for both. The defaults are theirs for random-label MNIST.
    """

    hyper = ("step_shrink", "step_perturb")
    graphable = False

    def after_step(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Shrink and perturb."""
        shrink_and_perturb(networks, hyper["step_shrink"], hyper["step_perturb"])

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _PerStepReference(network, config.step_shrink, config.step_perturb)


@register("mitigation", "shrink_perturb_gaussian")
class ShrinkPerturbGaussian(BaseMitigation):
    """g <- g + perturb_decay * theta before each step, theta <- theta + weight_noise_scale * N(0, 1) after it.

    Touches all parameters: weights, biases and those of a normalisation. With `sgd` it is that optimizer's weight
    decay together with `weight_noise`. The optimizer's own `weight_decay` is added to it.

    Source: S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024. On permuted MNIST their code
    has a weight decay of 1e-4 and scales of 1e-4 to 1e-6. In the regression problem it has 1e-2 and 1e-1 to 1e-6.
    """

    hyper = ("perturb_decay", "weight_noise_scale")
    graphable = False

    def on_gradient(self, at: ParameterGradient, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Add the weight decay."""
        at.gradient += hyper["perturb_decay"] * at.parameter

    def after_step(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Add the noise."""
        add_noise(networks, hyper["weight_noise_scale"])

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _GaussianReference(network, config.perturb_decay, config.weight_noise_scale)


def shrink_and_perturb(networks: Networks, shrink: Array, perturb: Array) -> None:
    """Shrink all parameters and add a part of a freshly initialised network, drawn from the first layer up."""
    keep = 1 - shrink
    for layer, (weights, biases) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        fan_in, fan_out = weights.shape[-2:]
        fresh = networks.draws.layer(fan_in, fan_out, output=layer == len(networks.norms))
        norm = networks.norms[layer] if layer < len(networks.norms) else {}
        values = [*fresh, *(fresh_norm(name, own) for name, own in norm.items())]
        for array, new in zip([weights, biases, *norm.values()], values, strict=True):
            array *= keep
            new *= perturb
            array += new


class _ShrinkPerturbReference(ReferenceMitigation):
    def __init__(self, network: Any, shrink: float, perturb: float) -> None:
        self._network, self._shrink, self._perturb = network, shrink, perturb

    def _apply(self, draws: ReferenceDraws) -> None:
        for layer in self._network.layers():
            output = layer is self._network.output
            weight, bias = draws.layer(layer.in_features, layer.out_features, output)
            self._mix(layer.weight, weight)
            self._mix(layer.bias, bias)
        for norm in self._network.norms:
            for name, parameter in norm.named_parameters():
                self._mix(parameter, parameter.new_ones(()) if name == "weight" else parameter.new_zeros(()))

    def _mix(self, parameter: torch.Tensor, fresh: torch.Tensor) -> None:
        parameter.copy_((1 - self._shrink) * parameter + self._perturb * fresh)


class _PerTaskReference(_ShrinkPerturbReference):
    def after_task(self, features: Any, optimizer: Any, draws: ReferenceDraws, number: int) -> None:
        self._apply(draws)


class _PerStepReference(_ShrinkPerturbReference):
    def after_step(self, features: Any, optimizer: Any, draws: ReferenceDraws) -> None:
        self._apply(draws)


class _GaussianReference(WeightNoiseReference):
    def __init__(self, network: Any, decay: float, scale: float) -> None:
        super().__init__(network, scale)
        self._decay = decay

    def before_step(self, draws: ReferenceDraws) -> None:
        for parameter in self._network.parameters():
            parameter.grad += self._decay * parameter.detach()
