"""Gradient descent, plain and with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.optimizers.optimizer import ParameterState, Role
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch
    from torch import nn


def add_weight_decay(gradient: Array, parameter: Array, weight_decay: float) -> None:
    """Add the gradient of weight_decay/2 ||W||^2, in place: coupled weight decay."""
    if weight_decay:
        gradient += weight_decay * parameter


@register("optimizer", "sgd")
class GradientDescent:
    """Gradient descent: W <- W - lr (dW + weight_decay W)."""

    name: str
    hyper = ("lr", "weight_decay")

    def init(self, parameter: Array, role: Role) -> ParameterState:
        """Return the empty state."""
        return {}

    def update(
        self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Any], role: Role
    ) -> None:
        """Subtract lr times the gradient."""
        add_weight_decay(gradient, parameter, hyper["weight_decay"])
        gradient *= hyper["lr"]
        parameter -= gradient

    def torch(self, network: nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        """Return `torch.optim.SGD`."""
        import torch

        return torch.optim.SGD(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)


@register("optimizer", "momentum")
class Momentum:
    """v <- momentum v + G, W <- W - lr v, with G = dW + weight_decay W. Nesterov: W <- W - lr (G + momentum v).

    Source: I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013, in the form of `torch.optim.SGD`, where lr scales v and not G.
    """

    name: str
    hyper = ("lr", "momentum", "nesterov", "weight_decay")

    def check(self, config: CellConfig) -> None:
        """Refuse Nesterov's variant of no momentum.

        Raises:
            ConfigError: `nesterov` is set, and `momentum` is 0.
        """
        if config.nesterov and not config.momentum:
            raise ConfigError("nesterov = True: needs momentum > 0, got momentum = 0.0; the two are sgd otherwise")

    def init(self, parameter: Array, role: Role) -> ParameterState:
        """Return v = 0."""
        return {"velocity": array_namespace(parameter).zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Any], role: Role
    ) -> None:
        """Add the gradient to v, and subtract lr times v or Nesterov's sum."""
        velocity, momentum = state["velocity"], hyper["momentum"]
        add_weight_decay(gradient, parameter, hyper["weight_decay"])
        velocity *= momentum
        velocity += gradient
        if hyper["nesterov"]:
            gradient += momentum * velocity
            gradient *= hyper["lr"]
            parameter -= gradient
        else:
            parameter -= hyper["lr"] * velocity

    def torch(self, network: nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        """Return `torch.optim.SGD` with momentum."""
        import torch

        return torch.optim.SGD(
            network.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
