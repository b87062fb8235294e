"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.optimizers.gradient_descent import add_weight_decay
from lop_sweep.components.optimizers.optimizer import ParameterState, Role
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch
    from torch import nn


@register("optimizer", "rmsprop")
class RMSprop:
    """v <- alpha v + (1 - alpha) G^2, W <- W - lr G / (sqrt(v) + eps), with G = dW + weight_decay W.

    v begins at 0 and is not corrected for it, so the first updates are up to 1 / sqrt(1 - alpha) times as large.

    Source: G. Hinton's lecture notes; as `torch.optim.RMSprop`, without momentum and not centred.
    """

    name: str
    hyper = ("lr", "alpha", "eps", "weight_decay")

    def init(self, parameter: Array, role: Role) -> ParameterState:
        """Return v = 0."""
        return {"square": array_namespace(parameter).zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Any], role: Role
    ) -> None:
        """Update v, and subtract the scaled gradient."""
        xp = array_namespace(parameter)
        square, alpha = state["square"], hyper["alpha"]
        add_weight_decay(gradient, parameter, hyper["weight_decay"])
        new = gradient * gradient
        new *= 1 - alpha
        square *= alpha
        square += new
        scale = xp.sqrt(square)
        scale += hyper["eps"]
        gradient *= hyper["lr"]
        gradient /= scale
        parameter -= gradient

    def torch(self, network: nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        """Return `torch.optim.RMSprop`."""
        import torch

        return torch.optim.RMSprop(
            network.parameters(), lr=config.lr, alpha=config.alpha, eps=config.eps, weight_decay=config.weight_decay
        )
