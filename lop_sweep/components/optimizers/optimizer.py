"""What all optimizers share: the interface of an update, in place, and of the optimizer of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lop_sweep.array_api import Array
from lop_sweep.config import CellConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

Role = Literal["hidden", "output", "bias", "norm"]
"""What a parameter array is: weights of a hidden layer or of the output, biases, or a normalisation's parameters."""
ParameterState = dict[str, Array]
"""What an optimizer remembers of one parameter array, by name: arrays with the leading axis P. Empty without memory."""


def role_of(place: int, output: bool) -> Role:
    """Return the role of the array at this place of a layer's parameters: weights, biases, normalisation's."""
    if place == 0:
        return "output" if output else "hidden"
    return "bias" if place == 1 else "norm"


class Optimizer(Protocol):
    """Gradient-based updates, one parameter array after the other, during the backward pass.

    A parameter array holds one layer's weights or biases of P networks, (P, rows, columns). Networks must not mix.

    Attributes:
        name: what a configuration calls it.
        hyper: the configuration fields that `update` reads.
    """

    name: str
    hyper: tuple[str, ...]

    def init(self, parameter: Array, role: Role) -> ParameterState:
        """Return the state of a parameter array before its first update. It must not share memory with `parameter`."""
        ...

    def update(
        self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Any], role: Role
    ) -> None:
        """Change `parameter` and `state` in place.

        Args:
            parameter: (P, rows, columns).
            gradient: of the same shape; may be overwritten.
            state: from `init`.
            hyper: each field of `self.hyper`: (P, 1, 1) if the cells of a pack may differ in it, else its value.
            role: what the array is.
        """
        ...

    def torch(self, network: nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        """Return the optimizer of the reference for a network of `lop_sweep.experiment.network.MLP`."""
        ...
