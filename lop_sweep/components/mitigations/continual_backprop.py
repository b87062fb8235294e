"""Continual backpropagation: a small share of units of low utility is replaced all the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    MitigationState,
    Networks,
    ReferenceDraws,
    ReferenceMitigation,
)
from lop_sweep.components.mitigations.replacement import (
    mean_over_points,
    outgoing,
    per_unit,
    replace_in_layers,
    replace_reference_units,
    to_host,
)
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch


@register("mitigation", "continual_backprop")
class ContinualBackprop(BaseMitigation):
    """Replace the units of lowest utility u <- d u + (1 - d) mean|h| sum|w_out|, with d = utility_decay, at each step.

    A unit is eligible once it is older than maturity_threshold steps. At each step replacement_rate times the number
    of eligible units accrues in each layer. The integer part of that is how many units are replaced: those of the
    lowest u / (1 - d^age), equal ones from the first unit on. The mean is over the points of the step, with
    activations from before the update and weights from after it. A unit with several features, as of `crelu`, has the
    sum of their contributions.

    Touches replaced units' incoming weights (freshly initialised), biases (0), parameters of a normalisation (as new)
    and outgoing weights (0), and what the optimizer remembers of all these (0). Age and utility start again at 0.

    Source: S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024. Their code has four details
    that differ. The sum over outgoing weights is a mean, which orders units alike. A weight between two units that are
    replaced at once is fresh, here 0. Unless its option `accumulate` is on, a unit is replaced with the probability
    that accrues here. It adds the mean contribution of a replaced unit to the biases above, but sets that mean to 0
    first, so nothing is added; nor is it here.
    """

    hyper = ("replacement_rate", "maturity_threshold", "utility_decay")
    graphable = False

    def init(self, weights: Sequence[Array], biases: Sequence[Array]) -> MitigationState:
        """Return age and utility of each unit, (P, layers, h), and what has accrued in each layer, (P, layers, 1)."""
        hidden = _zeros(biases)
        return {"age": [hidden], "utility": [_zeros(biases)], "accrued": [_zeros(biases)[:, :, :1]]}

    def after_step(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Update the utilities and replace units."""
        (age,), (utility,), (accrued,) = state["age"], state["utility"], state["accrued"]
        xp = array_namespace(age)
        decay = hyper["utility_decay"]
        age += 1
        utility *= decay
        utility += (1 - decay) * xp.concat(self._contributions(networks, state, hyper), axis=1)
        eligible = age > hyper["maturity_threshold"]
        accrued += hyper["replacement_rate"] * xp.sum(xp.astype(eligible, age.dtype), axis=-1, keepdims=True)
        if not to_host(xp.any(accrued >= 1)):
            return
        number = xp.floor(accrued)
        accrued -= number
        corrected = utility / (1 - decay**age)
        order = xp.argsort(xp.where(eligible, corrected, xp.full_like(corrected, xp.inf)), axis=-1, stable=True)
        rank = xp.astype(xp.argsort(order, axis=-1, stable=True), age.dtype)
        replaced = eligible & (rank < number)
        replace_in_layers(networks, [replaced[:, layer, :] for layer in range(replaced.shape[1])])
        self._forget(state, replaced)

    def _contributions(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> list[Array]:
        """Return what each layer's units contribute at this step, (P, 1, h) each."""
        found = []
        for features, biases, above in zip(networks.features, networks.biases, networks.weights[1:], strict=False):
            activity = mean_over_points(array_namespace(features).abs(features))
            found.append(per_unit(activity * outgoing(above), biases.shape[-1]))
        return found

    def _forget(self, state: MitigationState, replaced: Array) -> None:
        """Start again with units that were replaced, (P, layers, h)."""
        for name in ("age", "utility"):
            _clear(state[name][0], replaced)

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _ContinualBackpropReference(network, config)


@register("mitigation", "continual_backprop_adaptable")
class ContinualBackpropAdaptable(ContinualBackprop):
    """Continual backpropagation with the utility u <- d u + (1 - d) mean|h - m| mean|w_out| / mean|w_in|.

    m is the running mean of h with the decay d = utility_decay, divided by 1 - d^age. A unit without incoming weights
    contributes 0. Everything else is as in `continual_backprop`. m of a replaced unit starts again at 0.

    Source: as of `continual_backprop`. It is `adaptable_contribution` in their code and the default of their regression
    problem.
    """

    def init(self, weights: Sequence[Array], biases: Sequence[Array]) -> MitigationState:
        """Return in addition the running mean of each feature, (P, layers, features)."""
        repeats = weights[-1].shape[-2] // biases[0].shape[-1]
        means = array_namespace(weights[0]).concat([_zeros(biases)] * repeats, axis=-1)
        return {**super().init(weights, biases), "mean_activation": [means]}

    def _contributions(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> list[Array]:
        (age,), (means,) = state["age"], state["mean_activation"]
        xp = array_namespace(age)
        decay = hyper["utility_decay"]
        means *= decay
        now = [mean_over_points(features) for features in networks.features]
        means += (1 - decay) * xp.concat(now, axis=1)
        centres = means / xp.concat([1 - decay**age] * networks.expansion, axis=-1)
        found = []
        for layer, (features, weights) in enumerate(zip(networks.features, networks.weights, strict=False)):
            above = networks.weights[layer + 1]
            spread = features - centres[:, layer : layer + 1, :]
            spread = mean_over_points(xp.abs(spread)) * (outgoing(above) / above.shape[-1])
            contribution = per_unit(spread, weights.shape[-1])
            incoming = mean_over_points(xp.abs(weights))
            zero = xp.zeros_like(incoming)
            some = incoming > 0
            found.append(xp.where(some, contribution / xp.where(some, incoming, zero + 1), zero))
        return found

    def _forget(self, state: MitigationState, replaced: Array) -> None:
        super()._forget(state, replaced)
        (means,) = state["mean_activation"]
        repeats = means.shape[-1] // replaced.shape[-1]
        _clear(means, array_namespace(means).concat([replaced] * repeats, axis=-1))

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _AdaptableReference(network, config)


def _zeros(biases: Sequence[Array]) -> Array:
    """Return zeros for each unit of the hidden layers, (P, layers, h)."""
    xp = array_namespace(biases[0])
    return xp.zeros_like(xp.concat(list(biases[:-1]), axis=1))


def _clear(values: Array, where: Array) -> None:
    xp = array_namespace(values)
    values[...] = xp.where(where, xp.zeros_like(values), values)


class _ContinualBackpropReference(ReferenceMitigation):
    def __init__(self, network: Any, config: CellConfig) -> None:
        self._network, self._decay = network, config.utility_decay
        self._rate, self._maturity = config.replacement_rate, config.maturity_threshold
        self._age = [layer.bias.new_zeros(layer.out_features) for layer in network.hidden]
        self._utility = [age.clone() for age in self._age]
        self._accrued = [0.0 for _ in self._age]

    def after_step(
        self, features: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer, draws: ReferenceDraws
    ) -> None:
        replaced = [self._test_layer(number, activations) for number, activations in enumerate(features)]
        replace_reference_units(self._network, replaced, optimizer, draws)
        for number, units in enumerate(replaced):
            self._start_again(number, units)

    def _test_layer(self, number: int, activations: torch.Tensor) -> list[int]:
        """Update a layer's utilities and return the units to replace."""
        age, utility = self._age[number], self._utility[number]
        age += 1
        utility.lerp_(self._contribution(number, activations), 1 - self._decay)
        eligible = (age > self._maturity).nonzero().flatten()
        self._accrued[number] += self._rate * len(eligible)
        wanted = int(self._accrued[number])
        self._accrued[number] -= wanted
        corrected = utility / (1 - self._decay**age)
        lowest = corrected[eligible].argsort(stable=True)[:wanted]
        return eligible[lowest].tolist()

    def _contribution(self, number: int, activations: torch.Tensor) -> torch.Tensor:
        outgoing = self._network.layers()[number + 1].weight.abs().sum(dim=0)
        return self._by_unit(number, activations.abs().mean(dim=0) * outgoing)

    def _by_unit(self, number: int, features: torch.Tensor) -> torch.Tensor:
        return features.unflatten(0, (-1, self._network.hidden[number].out_features)).sum(dim=0)

    def _start_again(self, number: int, units: list[int]) -> None:
        self._age[number][units] = 0
        self._utility[number][units] = 0


class _AdaptableReference(_ContinualBackpropReference):
    def __init__(self, network: Any, config: CellConfig) -> None:
        super().__init__(network, config)
        self._means = [above.weight.new_zeros(above.in_features) for above in network.layers()[1:]]

    def _contribution(self, number: int, activations: torch.Tensor) -> torch.Tensor:
        layer, above = self._network.layers()[number : number + 2]
        mean = self._means[number]
        mean.lerp_(activations.mean(dim=0), 1 - self._decay)
        age = self._age[number].repeat(above.in_features // layer.out_features)
        spread = (activations - mean / (1 - self._decay**age)).abs().mean(dim=0)
        contribution = self._by_unit(number, spread * above.weight.abs().mean(dim=0))
        incoming = layer.weight.abs().mean(dim=1)
        return (contribution / incoming).where(incoming > 0, 0.0)

    def _start_again(self, number: int, units: list[int]) -> None:
        super()._start_again(number, units)
        width = self._network.hidden[number].out_features
        self._means[number].unflatten(0, (-1, width))[:, units] = 0
