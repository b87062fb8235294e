"""Optimizers: the update of the engine, in place, and the optimizer of the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch

from lop_sweep.array_api import Array
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

ParameterState = dict[str, Array]
"""What an optimizer remembers of one parameter array, by name: arrays with the leading axis P. Empty without memory."""


class Optimizer(Protocol):
    """Gradient-based updates, one parameter array after the other, during the backward pass.

    A parameter array holds one layer's weights or biases of P networks, (P, rows, columns). Networks must not mix.

    Attributes:
        name: what a configuration calls it.
        hyper: the configuration fields that `update` reads.
    """

    name: str
    hyper: tuple[str, ...]

    def init(self, parameter: Array) -> ParameterState:
        """Return the state of a parameter array before its first update."""
        ...

    def update(self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Array]) -> None:
        """Change `parameter` and `state` in place.

        Args:
            parameter: (P, rows, columns).
            gradient: of the same shape; may be overwritten.
            state: from `init`.
            hyper: each field of `self.hyper`, (P, 1, 1).
        """
        ...

    def torch(self, parameters: Iterable[torch.nn.Parameter], config: CellConfig) -> torch.optim.Optimizer:
        """Return the optimizer of the reference."""
        ...


@register("optimizer", "sgd")
class GradientDescent:
    """Gradient descent without momentum: W <- W - lr dW."""

    name: str
    hyper = ("lr",)

    def init(self, parameter: Array) -> ParameterState:
        """Return the empty state."""
        return {}

    def update(self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Array]) -> None:
        """Subtract lr times the gradient."""
        gradient *= hyper["lr"]
        parameter -= gradient

    def torch(self, parameters: Iterable[torch.nn.Parameter], config: CellConfig) -> torch.optim.Optimizer:
        """Return `torch.optim.SGD`."""
        return torch.optim.SGD(parameters, lr=config.lr)
