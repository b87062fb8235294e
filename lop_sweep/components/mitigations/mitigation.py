"""What all mitigations share: their interface, the networks that they change, and what they draw from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lop_sweep.array_api import Array
from lop_sweep.components.initializers import Initializer
from lop_sweep.config import CellConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

MitigationState = dict[str, list[Array]]
"""What a mitigation remembers, by name: lists of arrays, often one per layer, with the leading axis P."""


_NORMALS_AHEAD = 1024
"""Normal numbers drawn at once for a network, so that small arrays do not pay for a call each."""


class Draws:
    """What mitigations draw, for each network of a batch from random streams of its own.

    Normal numbers and initial weights come from two streams of each network, so that numbers can be drawn ahead.

    Args:
        generators: one for each of the P networks.
        init: draws initial weights.
        put: puts a NumPy array to where the networks are, in their precision.
        gain: `Activation.gain`.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        init: Initializer,
        put: Callable[[np.ndarray], Array],
        gain: float = 1.0,
    ) -> None:
        self.generators, self._init, self._put, self._gain = tuple(generators), init, put, gain
        self._normals: tuple[np.random.Generator, ...] = ()
        self._ahead, self._position = np.empty((len(self.generators), 0)), 0

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Return standard normal numbers for each network, (P, *shape)."""
        size = math.prod(shape)
        if self._position + size > self._ahead.shape[1]:
            self._draw_ahead(size)
        start, self._position = self._position, self._position + size
        return self._put(self._ahead[:, start : self._position].reshape(-1, *shape))

    def layer(
        self, fan_in: int, fan_out: int, wanted: np.ndarray | None = None, output: bool = False
    ) -> tuple[Array, Array]:
        """Return initial values of a layer: weights (P, fan_in, fan_out) and biases (P, 1, fan_out).

        Args:
            fan_in: units below.
            fan_out: units of the layer.
            wanted: (P,) which networks need them; the others' streams are not advanced, and their values are zero.
            output: whether it is the output layer, whose initial values have a gain of 1.
        """
        gain = 1.0 if output else self._gain
        weights = np.zeros((len(self.generators), fan_in, fan_out))
        biases = np.zeros((len(self.generators), 1, fan_out))
        for index, generator in enumerate(self.generators):
            if wanted is None or wanted[index]:
                weights[index], biases[index, 0] = self._init.draw(generator, fan_in, fan_out, gain)
        return self._put(weights), self._put(biases)

    def _draw_ahead(self, size: int) -> None:
        self._normals = self._normals or tuple(generator.spawn(1)[0] for generator in self.generators)
        left = self._ahead[:, self._position :]
        self._ahead = np.empty((len(left), left.shape[1] + max(size, _NORMALS_AHEAD)))
        self._ahead[:, : left.shape[1]] = left
        for generator, own in zip(self._normals, self._ahead, strict=True):
            generator.standard_normal(out=own[left.shape[1] :])
        self._position = 0


@dataclass
class Networks:
    """The networks of a batch as mitigations see and change them, in place.

    Attributes:
        weights: of each layer, hidden ones first, (P, fan_in, fan_out).
        biases: of each layer, (P, 1, fan_out).
        norms: of each hidden layer, the parameters of its normalisation by name, (P, 1, h).
        memory: of each layer, the optimizer's state of its weights, its biases and its normalisation's parameters.
        features: activations of each hidden layer, (P, n, features), of the points just trained on, before the update;
            after a task, of all its points.
        draws: what they draw from.
        expansion: features per unit, `Activation.expansion`.
    """

    weights: list[Array]
    biases: list[Array]
    norms: list[dict[str, Array]]
    memory: list[list[dict[str, Array]]]
    features: list[Array]
    draws: Draws
    expansion: int


@dataclass
class ParameterGradient:
    """One parameter array of a batch with its gradient, which mitigations change or replace.

    Attributes:
        layer: of the parameter, from 0.
        place: 0 for weights, 1 for biases, from 2 for the parameters of the normalisation.
        parameter: (P, rows, columns); not to be changed.
        gradient: of the same shape.
        draws: what to draw from.
    """

    layer: int
    place: int
    parameter: Array
    gradient: Array
    draws: Draws


class Mitigation(Protocol):
    """A change of gradients or networks against loss of plasticity.

    Attributes:
        name: what a configuration calls it.
        hyper: the configuration fields that it reads.
        graphable: whether it does the same operations at each step whatever the numbers are, and draws nothing there.
            Others keep a GPU from replaying recorded steps. What is done after a task does not count.
    """

    name: str
    hyper: tuple[str, ...]
    graphable: bool

    def init(self, weights: Sequence[Array], biases: Sequence[Array]) -> MitigationState:
        """Return the state before the first update of new networks, whose arrays it must not keep."""
        ...

    def on_gradient(self, at: ParameterGradient, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Change the gradient of one parameter array before its update: layers from the output down.

        Args:
            at: the parameter array with its gradient.
            state: from `init`.
            hyper: as in `Optimizer.update`.
        """
        ...

    def after_step(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Change networks and state in place after an update."""
        ...

    def after_task(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any], number: int) -> None:
        """Change networks and state in place after the sequence's `number`th task, from 1, has been measured."""
        ...

    def torch(self, network: nn.Module, config: CellConfig) -> ReferenceMitigation:
        """Return the reference's counterpart for a new network."""
        ...


class ReferenceMitigation:
    """A mitigation of one network in plain PyTorch. By default nothing happens."""

    def penalty(self) -> torch.Tensor | None:
        """Return what is added to the loss before its gradient is taken."""
        return None

    def before_step(self, draws: ReferenceDraws) -> None:
        """Change the network's gradients, or the network, before the optimizer's update."""

    def after_step(
        self, features: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer, draws: ReferenceDraws
    ) -> None:
        """Change the network after an update. `features` are those that the update's gradient was computed from."""

    def after_task(
        self, features: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer, draws: ReferenceDraws, number: int
    ) -> None:
        """Change the network after a task. `features` are those of all its points."""


class ReferenceDraws:
    """What the reference's mitigations draw, for one network, as tensors: the same numbers as `Draws`.

    Args:
        generator: the network's random stream.
        init: draws initial weights.
        as_tensor: `torch.from_numpy`.
        gain: `Activation.gain`.
    """

    def __init__(
        self,
        generator: np.random.Generator,
        init: Initializer,
        as_tensor: Callable[[np.ndarray], torch.Tensor],
        gain: float = 1.0,
    ) -> None:
        self._generator, self._init, self._as_tensor, self._gain = generator, init, as_tensor, gain
        (self._normals,) = generator.spawn(1)

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return standard normal numbers of this shape, drawn in the order of `Draws.normal`'s."""
        return self._as_tensor(self._normals.standard_normal(shape))

    def layer(self, fan_in: int, fan_out: int, output: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return initial weights (fan_out, fan_in) and biases (fan_out,), as `nn.Linear` has them."""
        weights, biases = self._init.draw(self._generator, fan_in, fan_out, 1.0 if output else self._gain)
        return self._as_tensor(np.ascontiguousarray(weights.T)), self._as_tensor(biases)


class BaseMitigation:
    """Base of mitigations: every hook does nothing."""

    name: str
    hyper: tuple[str, ...] = ()
    graphable = True

    def init(self, weights: Sequence[Array], biases: Sequence[Array]) -> MitigationState:
        """Return the empty state."""
        return {}

    def on_gradient(self, at: ParameterGradient, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Leave the gradient as it is."""

    def after_step(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Leave the networks as they are."""

    def after_task(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any], number: int) -> None:
        """Leave the networks as they are."""
