"""Adam and AdamW."""

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


def init_adam(parameter: Array) -> ParameterState:
    """Return the state of `update_adam` before the first update: discounted sums and counts, all 0."""
    xp = array_namespace(parameter)
    shape = (parameter.shape[0], 1, 1)
    sums = {name: xp.zeros_like(parameter) for name in ("gradients", "squares")}
    counts = {
        name: xp.zeros(shape, dtype=parameter.dtype, device=parameter.device)
        for name in ("gradient_count", "square_count")
    }
    return {**sums, **counts}


def update_adam(
    parameter: Array, gradient: Array, state: ParameterState, lr: Any, beta1: Any, beta2: Any, eps: Any
) -> None:
    """Subtract lr m / (sqrt(v) + eps), with m and v the bias-corrected means of the gradient and of its square.

    Each mean is kept as a discounted sum and a discounted count of the updates: S <- beta S + G, N <- beta N + 1,
    m = S / N. This is Adam's mean over its bias correction, since N = (1 - beta^t) / (1 - beta). It takes fewer passes
    over the arrays and no powers, and S and N are rounded alike, so that m is accurate in float32 too.

    Args:
        parameter: (P, rows, columns), changed in place.
        gradient: of the same shape; overwritten.
        state: from `init_adam`.
        lr, beta1, beta2, eps: (P, 1, 1), or one value for all networks.
    """
    xp = array_namespace(parameter)
    gradients, squares = state["gradients"], state["squares"]
    gradient_count, square_count = state["gradient_count"], state["square_count"]
    gradients *= beta1
    gradients += gradient
    gradient *= gradient
    squares *= beta2
    squares += gradient
    gradient_count *= beta1
    gradient_count += 1
    square_count *= beta2
    square_count += 1
    # both sides of the fraction times sqrt(N2), which saves a pass over the array
    root = xp.sqrt(square_count)
    scale = xp.sqrt(squares)
    scale += eps * root
    step = gradients / scale
    step *= lr * root / gradient_count
    parameter -= step


def decay_weights(parameter: Array, lr: Any, weight_decay: float) -> None:
    """Multiply by 1 - lr weight_decay, in place: decoupled weight decay."""
    if weight_decay:
        parameter *= 1 - lr * weight_decay


@register("optimizer", "adam")
class Adam:
    """W <- W - lr m / (sqrt(v) + eps), m and v the bias-corrected running means of G and G^2, G = dW + weight_decay W.

    beta1 and beta2 are the shares of the old means in m and v.

    Source: D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; as `torch.optim.Adam`.
    """

    name: str
    hyper = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def init(self, parameter: Array, role: Role) -> ParameterState:
        """Return m and v before the first update."""
        return init_adam(parameter)

    def update(
        self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Any], role: Role
    ) -> None:
        """Add the weight decay to the gradient, and do the update."""
        add_weight_decay(gradient, parameter, hyper["weight_decay"])
        update_adam(parameter, gradient, state, hyper["lr"], hyper["beta1"], hyper["beta2"], hyper["eps"])

    def torch(self, network: nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        """Return `torch.optim.Adam`."""
        import torch

        betas = config.beta1, config.beta2
        return torch.optim.Adam(
            network.parameters(), lr=config.lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay
        )


@register("optimizer", "adamw")
class AdamW:
    """W <- W - lr (weight_decay W + m / (sqrt(v) + eps)), m and v the bias-corrected running means of dW and dW^2.

    beta1 and beta2 are the shares of the old means in m and v.

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019; as `torch.optim.AdamW`,
    whose weight decay is lr times that of the paper.
    """

    name: str
    hyper = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def init(self, parameter: Array, role: Role) -> ParameterState:
        """Return m and v before the first update."""
        return init_adam(parameter)

    def update(
        self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Any], role: Role
    ) -> None:
        """Shrink the parameters, and do the update."""
        decay_weights(parameter, hyper["lr"], hyper["weight_decay"])
        update_adam(parameter, gradient, state, hyper["lr"], hyper["beta1"], hyper["beta2"], hyper["eps"])

    def torch(self, network: nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        """Return `torch.optim.AdamW`."""
        import torch

        betas = config.beta1, config.beta2
        return torch.optim.AdamW(
            network.parameters(), lr=config.lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay
        )
